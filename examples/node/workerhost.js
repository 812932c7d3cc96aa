// A client of WorkerHost, written from docs/protocol.md: it sends tasks, hears how they end, and cancels them.
// It stays one session over reconnects, so that nothing is sent twice and no end is missed.
//
// Values are those of JSON, Uint8Array (bytes), Date (an instant, to the millisecond) and BigInt. A whole number below
// 2^53 travels as an integer, one above as a float: send a BigInt there. Results bring such integers as BigInt.
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer } from "zeromq";

const HELLO = 1, WELCOME = 2, REFUSED = 3, HEARTBEAT = 4, ALIVE = 5, BYE = 6;
const SUBMIT = 20, ACCEPTED = 21, REJECTED = 22, WATCH = 23, EVENTS = 24, CANCEL = 25, QUERY = 26, REPLY = 28;
const STATES = ["waiting", "scheduled", "queued", "running", "completed", "failed", "cancelled", "quarantined"];
const UNKNOWN = -1; // stands for a state: the pool knows no such task
const PARAMS_BYTES = 1024 * 1024;
const QUESTION_BYTES = PARAMS_BYTES + 256 * 1024; // params and options, or what a request asks
const ITEMS = 10000; // ids in one message, or whatever else is listed there
const DEPTH = 100;
const WINDOW = 8; // questions under way: enough to keep the pool busy
const WINDOW_BYTES = 6 * 1024 * 1024; // and no more after so many bytes: of submissions and requests it keeps 16 MiB
const CREDIT = 10000;
const RESTORED = 8192; // an epoch that grows so far at once is that of a pool put back from a backup
const FATAL = ["version", "forbidden"];
const REST = 5000; // milliseconds after which a pool that has no room for this session is asked again

const failure = (reason, more) => Object.assign(new Error(reason), more);
const taken = (map, key) => { const value = map.get(key); map.delete(key); return value; };
const isPlain = (value) => [Object.prototype, null].includes(Object.getPrototypeOf(value));

/** A copy of a value as `encode` wants it. What a pool could not read is refused: it would drop any repetition, too. */
function sayable(value, inMessage, depth = 1) {
  if (depth > DEPTH) throw new TypeError(`nested deeper than ${DEPTH} levels, or inside itself`);
  const inside = (item) => sayable(item, inMessage, depth + 1);
  if (value === null || value === undefined || typeof value === "boolean" || value instanceof Uint8Array) return value;
  if (typeof value === "number") {
    if (Number.isNaN(value)) throw new TypeError("NaN cannot travel: use null");
    // `encode` with BigInt makes floats of whole numbers that take more than 32 bits.
    return Number.isSafeInteger(value) && (value < -(2 ** 31) || value >= 2 ** 32) ? BigInt(value) : value;
  }
  if (typeof value === "bigint") {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw new TypeError(`${value} does not fit into 64 bits: use text`);
    return value >= -(2n ** 31n) && value < 2n ** 32n ? Number(value) : value; // in the shortest form: equal bytes
  }
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new TypeError("text with half a character (a lone surrogate) cannot travel");
    return value;
  }
  if (value instanceof Date && !inMessage && !Number.isNaN(value.getTime())) return value;
  if (!Array.isArray(value) && !(typeof value === "object" && isPlain(value))) {
    const name = value?.constructor?.name ?? typeof value;
    throw new TypeError(`${name} cannot travel${value instanceof Date ? " there: use seconds since 1970" : ""}`);
  }
  const items = Array.isArray(value) ? value : Object.entries(value);
  if (inMessage && items.length > ITEMS) throw new TypeError(`${items.length} items at once, of at most ${ITEMS}`);
  return items === value ? items.map(inside) : Object.fromEntries(items.map((entry) => entry.map(inside)));
}
const pack = (value, inMessage) => encode(sayable(value, inMessage), { sortKeys: true, useBigInt64: true });

/** A value as it was sent; only integers that no number holds exactly stay BigInt. */
function unpack(body) {
  const exact = (value) => {
    if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    if (Array.isArray(value)) return value.map(exact);
    if (typeof value !== "object" || value === null || !isPlain(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, exact(item)]));
  };
  return body.length ? exact(decode(body, { useBigInt64: true })) : null;
}

/** Numbered questions. Some are under way, the others wait in their order; after a reconnect they are said again. */
class Questions {
  #open = new Map(); #last = 0; #next = 1; #underWay = 0; #bytes = 0; // bytes: of those under way
  below = 1; // all with smaller numbers are answered
  said = 0; // the highest number that was ever said

  add(question) { this.#open.set(++this.#last, question); }
  again() { [this.#next, this.#underWay, this.#bytes] = [this.below, 0, 0]; }
  /** What may be said now: [number, question] each. */
  *due() {
    while (this.#underWay < WINDOW && this.#bytes < WINDOW_BYTES && this.#next <= this.#last) {
      const number = this.#next++, question = this.#open.get(number);
      if (!question) continue; // answered before the connection broke
      this.#underWay++;
      this.#bytes += question.size;
      this.said = Math.max(this.said, number);
      yield [number, question];
    }
  }
  answered(number) {
    const question = taken(this.#open, number);
    if (question) this.#underWay--, this.#bytes -= question.size;
    while (this.below <= this.said && !this.#open.has(this.below)) this.below++;
    return question;
  }
  /** All that are not answered; they are given up. */
  drop() {
    const questions = [...this.#open.values()];
    this.#open.clear();
    return questions;
  }
}

/**
 * One session. Emits
 *   "progress" (id, fraction, note) and
 *   "end" (id, state, value or detail) of tasks that it sent, at least once (who tries one again has it end again);
 *   "trouble" (error) when a connection broke for a reason that somebody should know; it is opened again by itself.
 */
export class Client extends EventEmitter {
  #session = randomBytes(16); #submissions = new Questions(); #requests = new Questions();
  #open = new Set(); // tasks that were sent and whose end was not heard
  #waiting = new Map(); // whoever waits for results: [{resolve, reject}] by the task's id
  #unasked = []; // ids of these about which the pool is asked next
  #after = 0; #unseen = 0; // the last end of our own that was seen, and how many since that was said
  #joined = false; #watching = false; #repeated = 0; #epoch = 0;
  #sent = 0; #heard = 0; #pause = 0; #line = Promise.resolve();
  #over = null; // why nothing is said any more

  constructor(address = process.env.WORKERHOST_ADDRESS ?? "tcp://127.0.0.1:7470") {
    super();
    this.address = address;
    this.#run().catch((error) => this.#finish(error));
  }

  /**
   * Resolves with the task's id when it is on disk: of a task that was there before, if `key` or `cache` have it stand
   * for that one. Options: see "Sending tasks" in docs/protocol.md. Rejects with an Error (code, path, retryAfter).
   */
  async send(type, params = null, { priority = 5, ...options } = {}) {
    const packed = pack(params);
    if (packed.length > PARAMS_BYTES) throw tooLarge(packed.length, PARAMS_BYTES);
    return this.#ask(this.#submissions, [[type, priority, Object.keys(options).length ? options : null, [packed]]]);
  }

  /**
   * Resolves with the value of a task, whoever sent it; rejects with an Error (id, state, detail) if it ended without
   * one, or the pool knows no such task (state "unknown"). Values are not kept here: it is the pool that is asked.
   */
  async result(id) {
    checkId(id);
    return new Promise((resolve, reject) => {
      if (this.#over) throw this.#over;
      const waiters = this.#waiting.get(id) ?? [];
      this.#waiting.set(id, [...waiters, { resolve, reject }]);
      if (waiters.length) return;
      if (this.#unasked.push(id) === 1) setImmediate(() => this.#watch(this.#unasked.splice(0)));
    });
  }

  /** Ends tasks; resolves with the ids of those that had not ended before. */
  async cancel(...ids) {
    ids.forEach(checkId);
    return (await this.#ask(this.#requests, [CANCEL, ids])).cancelled;
  }
  async query(what, args = {}) { return this.#ask(this.#requests, [QUERY, what, args]); }

  /** Ends the session; tasks go on. Whatever still waits for an answer or a result is rejected. */
  async close() {
    this.#finish(failure("the client was closed"));
    await this.#say(BYE, "done");
    this.socket.close();
  }

  // What is asked, and said.

  #ask(questions, question) {
    return new Promise((resolve, reject) => {
      if (this.#over) throw this.#over;
      const body = sayable(question, true, 2); // a copy, because it may be repeated; level 1 is the message
      const size = pack(body, true).length;
      if (size > QUESTION_BYTES) throw tooLarge(size, QUESTION_BYTES);
      questions.add({ body, size, resolve, reject });
      this.#goOn();
    });
  }
  #goOn() {
    if (!this.#joined) return;
    for (const [number, { body }] of this.#submissions.due()) {
      this.#say(SUBMIT, number, this.#submissions.below, body, {});
    }
    for (const [number, { body: [kind, ...rest] }] of this.#requests.due()) this.#say(kind, number, ...rest);
    if (!this.#watching && this.#submissions.below > this.#repeated) { // first the answers to what was repeated
      this.#watching = true;
      this.#watch([...new Set([...this.#open, ...this.#waiting.keys()])]);
    }
  }
  #watch(ids = []) {
    if (!this.#watching) return; // all are named when it begins
    this.#unseen = 0;
    for (let at = 0; at === 0 || at < ids.length; at += ITEMS) {
      this.#say(WATCH, this.#after, CREDIT, ids.slice(at, at + ITEMS));
    }
  }

  // A socket sends one message at a time, so each waits for the last. What cannot be said yet is said after WELCOME.
  #say(kind, ...fields) { return this.#joined ? this.#write(kind, ++this.#sent, fields) : null; }
  #write(kind, number, fields) {
    const socket = this.socket, frame = pack([kind, number, ...fields], true);
    return (this.#line = this.#line.then(() => socket.send(frame)).catch(() => {}));
  }
  // Later, so that an error of whoever listens is not taken for one of the connection.
  #tell(event, ...what) { process.nextTick(() => this.emit(event, ...what)); }

  // The connection.

  async #run() {
    while (!this.#over) {
      const socket = (this.socket = new Dealer({ linger: 500 })), { said } = this.#submissions;
      socket.connect(this.address);
      this.#line = Promise.resolve();
      const past = said ? { submitted: said, away: (Date.now() - this.#heard) / 1000 } : {};
      this.#write(HELLO, 0, ["client", [1, 1], this.#session, "", { name: "node", ...past }]);
      let timer = setTimeout(() => socket.close(), 2000), expected = 1;
      try {
        for await (const [frame] of socket) {
          const [kind, number, ...fields] = decode(frame);
          this.#heard = Date.now();
          if (kind === WELCOME) {
            const [, , epoch, heartbeat, lostAfter, settings] = fields;
            clearTimeout(timer);
            timer = setInterval(() => {
              if (Date.now() - this.#heard > 1000 * lostAfter) socket.close();
              else this.#say(HEARTBEAT, expected - 1, {});
            }, 1000 * heartbeat);
            this.#welcome(epoch, settings?.forgotten === true, settings?.durable !== false);
          } else if (kind === REFUSED) {
            this.#refused(...fields);
            break;
          } else if (number !== expected++ || kind === BYE) break; // something was lost: begin again, the same session
          else if (kind === ALIVE) this.#pause = 0; // it lasts
          else this.#hear(kind, fields);
        }
      } catch (error) { if (!this.#over) this.#tell("trouble", error); }
      clearTimeout(timer);
      this.#joined = this.#watching = false;
      socket.close();
      if (!this.#over) await sleep(this.#pause * (0.75 + Math.random() / 2));
      this.#pause = Math.min(1000, 2 * this.#pause + 50);
    }
  }
  #welcome(epoch, forgotten, durable) {
    const known = this.#epoch, another = epoch < known || (known && epoch !== known && !durable);
    if (known && (another || epoch - known >= RESTORED || forgotten)) this.#after = 0;
    if (another) { // another queue, which gives the numbers of our tasks to others
      for (const id of new Set([...this.#open, ...this.#waiting.keys()])) this.#lost(id);
    }
    [this.#epoch, this.#joined, this.#sent, this.#repeated] = [epoch, true, 0, this.#submissions.said];
    this.#submissions.again();
    this.#requests.again();
    this.#goOn();
  }
  #refused(code, reason) {
    const error = failure(`the pool refused this client: ${reason}`, { code });
    if (FATAL.includes(code)) this.#finish(error);
    else if (code === "quota") this.#tell("trouble", error), (this.#pause = REST);
  }
  #finish(error) {
    this.#over ??= error;
    const waiting = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const { reject } of [...this.#submissions.drop(), ...this.#requests.drop(), ...waiting]) reject(this.#over);
  }

  // What is heard.

  #hear(kind, fields) {
    if (kind === ACCEPTED) {
      const [number, first, , others = []] = fields, id = others[0]?.[1] ?? first;
      const asked = this.#submissions.answered(number);
      if (asked) this.#open.add(id), asked.resolve(id);
    } else if (kind === REJECTED) {
      const [number, code, reason, path, retryAfter] = fields;
      this.#submissions.answered(number)?.reject(failure(reason, { code, path, retryAfter }));
    } else if (kind === REPLY) {
      const [number, ok, value] = fields, asked = this.#requests.answered(number);
      if (ok) asked?.resolve(value);
      else asked?.reject(failure(value.reason, value));
    } else if (kind === EVENTS) {
      const [finished, progress = [], states = []] = fields;
      for (const [id, finish, code, body, detail] of finished) this.#end(id, finish, STATES[code], body, detail);
      for (const [id, fraction, note] of progress) this.#tell("progress", id, fraction, note);
      for (const [id, code] of states) if (code === UNKNOWN) this.#lost(id);
      if (this.#unseen >= CREDIT / 2) this.#watch();
    }
    this.#goOn();
  }

  #end(id, finish, state, body, detail) {
    let value = null, error = null;
    const because = (reason) => failure(`task ${id} ${state}: ${reason}`, { id, state, detail });
    if (state !== "completed") error = because(detail?.message ?? detail?.reason ?? detail?.cause ?? "");
    else try { value = unpack(body); } catch (cause) { error = because(`its result cannot be read: ${cause.message}`); }
    if (finish > 0) { // one of our own; those that were asked for by id have 0
      this.#after = Math.max(this.#after, finish);
      this.#unseen += 1;
    }
    const said = state === "completed" ? error ?? value : detail;
    if (this.#open.delete(id) || finish > 0) this.#tell("end", id, state, said);
    for (const { resolve, reject } of taken(this.#waiting, id) ?? []) error ? reject(error) : resolve(value);
  }
  #lost(id) {
    const error = failure(`task ${id}: the pool does not know it, or not any more`, { id, state: "unknown" });
    if (this.#open.delete(id)) this.#tell("end", id, "unknown", null);
    for (const { reject } of taken(this.#waiting, id) ?? []) reject(error);
  }
}

function checkId(id) {
  if (!Number.isSafeInteger(id)) throw new TypeError(`${id} is no task's id: that is a whole number`);
}
function tooLarge(size, most) {
  const reason = `${size} bytes in one message, of at most ${most}: store the data, and send where it is`;
  return failure(reason, { code: "too_large" });
}
