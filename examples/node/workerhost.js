// A client of WorkerHost, written from docs/protocol.md: it sends tasks, hears how they end, and cancels them.
// It stays one session over reconnects, so that nothing is sent twice and no end is missed.
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer } from "zeromq";

const HELLO = 1, WELCOME = 2, REFUSED = 3, HEARTBEAT = 4, ALIVE = 5, BYE = 6;
const SUBMIT = 20, ACCEPTED = 21, REJECTED = 22, WATCH = 23, EVENTS = 24, CANCEL = 25, QUERY = 26, REPLY = 28;
const STATES = ["waiting", "scheduled", "queued", "running", "completed", "failed", "cancelled", "quarantined"];
const CREDIT = 10000;
const FATAL = ["version", "forbidden"];

const taken = (map, key) => { const value = map.get(key); map.delete(key); return value; };
const pack = (value) => Buffer.from(encode(value, { sortKeys: true }));

/** One session. Emits "progress" (id, fraction, note) and "end" (id, state, value or detail). */
export class Client extends EventEmitter {
  #session = randomBytes(16); #submissions = new Map(); #last = 0; #requests = new Map(); #request = 0;
  #ends = new Map(); #waiting = new Map(); #after = 0; #unseen = 0; #heard = 0; #joined = false; #closed = false;
  #epoch = 0; #pause = 0; #sent = 0; #line = Promise.resolve();

  constructor(address = process.env.WORKERHOST_ADDRESS ?? "tcp://127.0.0.1:7470") {
    super();
    this.address = address;
    this.#run();
  }

  /** Resolves with the task's id when it is on disk. Options: see "Sending tasks" in docs/protocol.md. */
  async send(type, params = null, { priority = 5, ...options } = {}) {
    const groups = [[type, priority, Object.keys(options).length ? options : null, [pack(params)]]];
    return new Promise((resolve, reject) => {
      this.#submissions.set(++this.#last, { groups, resolve, reject });
      this.#submit(this.#last);
    });
  }

  /** Resolves with the value of a task that this client has sent; rejects with an Error (state, detail) if it has none. */
  result(id) {
    if (this.#ends.has(id)) return this.#ends.get(id)();
    const others = this.#waiting.get(id) ?? [];
    return new Promise((resolve, reject) => this.#waiting.set(id, [...others, { resolve, reject }]));
  }

  /** Ends tasks; resolves with the ids of those that had not ended before. */
  cancel(...ids) { return this.#ask([CANCEL, ids]).then((value) => value.cancelled); }
  query(what, args = {}) { return this.#ask([QUERY, what, args]); }
  async close() {
    this.#closed = true;
    await this.#say(BYE, "done");
    this.socket.close();
  }

  #ask(question) {
    return new Promise((resolve, reject) => {
      this.#requests.set(++this.#request, { question, resolve, reject });
      this.#put(this.#request);
    });
  }
  #put(number) { const [kind, ...rest] = this.#requests.get(number).question; this.#say(kind, number, ...rest); }
  #submit(number) {
    const below = Math.min(...this.#submissions.keys());
    this.#say(SUBMIT, number, below, this.#submissions.get(number).groups, {});
  }

  // A socket sends one message at a time, so each waits for the last. What cannot be said yet is said after WELCOME.
  #say(kind, ...fields) { return this.#joined ? this.#write(kind, ++this.#sent, fields) : null; }
  #write(kind, number, fields) {
    const socket = this.socket, frame = Buffer.from(encode([kind, number, ...fields]));
    return (this.#line = this.#line.then(() => socket.send(frame)).catch(() => {}));
  }

  async #run() {
    while (!this.#closed) {
      this.socket = new Dealer({ linger: 500 });
      this.socket.connect(this.address);
      this.#line = Promise.resolve();
      const away = (Date.now() - this.#heard) / 1000;
      const offer = { name: "node", ...(this.#last && this.#heard ? { submitted: this.#last, away } : {}) };
      this.#write(HELLO, 0, ["client", [1, 1], this.#session, "", offer]);
      let timer = setTimeout(() => this.socket.close(), 2000), expected = 1;
      try {
        for await (const [frame] of this.socket) {
          const [kind, number, ...fields] = decode(frame);
          this.#heard = Date.now();
          if (kind === WELCOME) {
            clearTimeout(timer), (this.#pause = 0);
            const lost = fields[4] * 1000, socket = this.socket;
            timer = setInterval(() => {
              if (Date.now() - this.#heard > lost) socket.close();
              else this.#say(HEARTBEAT, expected - 1, {});
            }, fields[3] * 1000);
            this.#welcome(fields[2]);
          } else if (kind === REFUSED) {
            if (FATAL.includes(fields[0])) this.#give_up(new Error(`refused: ${fields[1]}`));
            break;
          } else if (number !== expected++) break;  // something was lost: begin again, as the same session
          else if (kind !== ALIVE) this.#hear(kind, fields);
        }
      } catch (error) { if (!this.#closed) this.emit("trouble", error); }
      clearTimeout(timer), (this.#joined = false);
      this.socket.close();
      this.#pause = Math.min(1000, 2 * this.#pause + 50);
      if (!this.#closed) await new Promise((go) => setTimeout(go, this.#pause * (0.75 + Math.random() / 2)));
    }
  }
  #welcome(epoch) {
    if (epoch < this.#epoch || epoch - this.#epoch >= 8192) this.#after = 0;  // another database, or a restored one
    [this.#epoch, this.#joined, this.#sent, this.#unseen] = [epoch, true, 0, 0];
    for (const number of this.#submissions.keys()) this.#submit(number);
    for (const number of this.#requests.keys()) this.#put(number);
    this.#say(WATCH, this.#after, CREDIT, []);
  }
  #give_up(error) {
    this.#closed = true;
    const waiting = [...this.#waiting.values()].flat();
    for (const { reject } of [...this.#submissions.values(), ...this.#requests.values(), ...waiting]) reject(error);
  }

  #hear(kind, fields) {
    if (kind === ACCEPTED || kind === REJECTED) {
      const asked = taken(this.#submissions, fields[0]);
      if (kind === ACCEPTED) asked?.resolve(fields[1]);
      else asked?.reject(Object.assign(new Error(fields[2]), { code: fields[1], retryAfter: fields[4] }));
    } else if (kind === REPLY) {
      const asked = taken(this.#requests, fields[0]);
      if (fields[1]) asked?.resolve(fields[2]);
      else asked?.reject(Object.assign(new Error(fields[2].reason), fields[2]));
    } else if (kind === EVENTS) {
      for (const [id, finish, code, body, detail] of fields[0]) this.#end(id, finish, STATES[code], body, detail);
      for (const [id, fraction, note] of fields[1] ?? []) this.emit("progress", id, fraction, note);
      if (this.#unseen >= CREDIT / 2) this.#say(WATCH, this.#after, CREDIT, []), (this.#unseen = 0);
    }
  }

  #end(id, finish, state, body, detail) {
    this.#after = Math.max(this.#after, finish);
    this.#unseen += 1;
    const value = state === "completed" && body.length ? decode(body) : null;
    const why = `task ${id} ${state}: ${detail?.message ?? detail?.reason ?? detail?.cause ?? ""}`;
    const told = async () => {
      if (state === "completed") return value;
      throw Object.assign(new Error(why), { id, state, detail });
    };
    this.#ends.set(id, told);
    for (const { resolve, reject } of taken(this.#waiting, id) ?? []) told().then(resolve, reject);
    this.emit("end", id, state, state === "completed" ? value : detail);
  }
}
