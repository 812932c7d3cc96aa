// The list of tasks, newest first: found by number, or by what `search.js` reads; renewed when the pool's counts change.

import { get } from "./api.js";
import { byId, h, Keyed, text } from "./dom.js";
import { button, overTasks } from "./orders.js";
import { filters } from "./search.js";
import { clock, count, media, percent, since, span } from "./words.js";

const STATES = ["running", "queued", "scheduled", "waiting", "completed", "failed", "quarantined", "cancelled"];
const SHOWN = 15, SHOWN_MAX = 1000, RENEW = 1_000, PATIENCE = 5_000;
const PAGES = 4; // that are asked for before a person is: the pool looks at some thousand tasks for each

const NOT_UNDERSTOOD = "Not understood: a number, a type, #tag, key:a, error:\"not found\", older:2h, flow:12 and tenant:ann find tasks.";

const NUMBER = /^\d{1,15}$/;

export class Tasks {
  constructor() {
    Object.assign(this, { limit: SHOWN, pages: PAGES, found: [], next: null, key: "" }); // how much is wanted, what was found, and for what
    Object.assign(this, { asked: 0, pause: RENEW, due: null, asks: false, stale: false, further: false, turn: 0, counts: "" });
    this.rows = new Keyed(byId("rows"), row, change);
    byId("state").append(h("option", { value: "" }, "every state"), ...STATES.map((state) => h("option", { value: state }, state)));
    byId("many").append(...["cancel", "retry", "delete"].map((word) => button(`${word} these`, () => overTasks(word, this.wanted()), { name: `${word} all tasks that are like this` })));
    byId("filters").addEventListener("submit", (event) => { event.preventDefault(); this.go(); });
    byId("search").addEventListener("input", () => this.again());
    byId("state").addEventListener("change", () => this.again());
    byId("more").addEventListener("click", () => this.more());
  }

  /** The pool has changed: look again if that could have changed the list. */
  show(pool) {
    for (const option of byId("state").options) {
      if (option.value) text(option, `${option.value} ${count(pool.tasks[option.value] ?? 0)}`);
    }
    const counts = JSON.stringify(pool.tasks);
    if (counts !== this.counts || pool.tasks.running) this.renew();
    this.counts = counts;
  }

  /** Something else is looked for. */
  again() {
    Object.assign(this, { limit: SHOWN, pages: PAGES, further: false, asked: 0 });
    this.turn += 1;
    this.renew();
  }

  /** More of the same, older ones: on from where the last look ended. */
  more() {
    if (this.found.length >= this.limit) this.limit = Math.min(SHOWN_MAX, this.limit * 3);
    else this.pages += PAGES;
    Object.assign(this, { further: true, asked: 0 });
    this.renew();
  }

  /** Show only tasks that are like that. */
  find(wanted) {
    byId("search").value = wanted;
    this.again();
    byId("tasks").scrollIntoView({ block: "start" });
  }

  go() {
    const wanted = byId("search").value.trim();
    if (NUMBER.test(wanted)) location.hash = `#/task/${wanted}`;
    else this.again();
  }

  /** Look, at most once a second; where that takes many pages, after as many seconds. */
  renew() {
    this.stale = true;
    if (this.asks || byId("overview").hidden) return;
    clearTimeout(this.due);
    this.due = setTimeout(() => this.look(), Math.max(0, this.asked + this.pause - Date.now()));
  }

  async look() {
    Object.assign(this, { asks: true, stale: false, asked: Date.now() });
    try {
      await this.ask();
    } finally {
      this.asks = false;
      if (this.stale) this.renew(); // something was wanted meanwhile
    }
  }

  /** Ask for page after page, until there are enough, or no more, or a person is to say whether to go on. */
  async ask() {
    const written = byId("search").value.trim(), exact = NUMBER.test(written);
    const wanted = exact ? { before: Number(written) + 1 } : this.wanted(); // it comes first, if it is there
    byId("many").hidden = exact || !wanted || !Object.keys(wanted).length;
    const key = JSON.stringify(wanted), turn = this.turn, known = key === this.key ? this.found : [];
    if (!wanted) return this.list(key, [], null, NOT_UNDERSTOOD);
    const further = this.further && this.next !== null, pages = further ? PAGES : this.pages;
    this.further = false;
    let found = further ? known.filter((task) => task.id >= this.next) : [], next = further ? this.next : null, page = 0;
    try {
      do {
        const before = next ? { before: next } : {};
        const answer = await get(`/tasks?${new URLSearchParams({ ...wanted, ...before, limit: this.limit - found.length })}`);
        if (turn !== this.turn) return;
        found = [...found, ...(exact ? answer.tasks.filter((task) => String(task.id) === written) : answer.tasks)];
        next = exact ? null : answer.next ?? null;
        page += 1;
        const older = next === null ? [] : known.filter((task) => task.id < next); // of an earlier look that went further
        this.list(key, [...found, ...older].slice(0, this.limit), next);
      } while (next !== null && found.length < this.limit && page < pages);
      this.pause = RENEW * page;
    } catch (error) {
      if (turn !== this.turn) return;
      const [rows, from] = key === this.key ? [this.found, this.next] : [[], null];
      this.list(key, rows, from, `Not answered${rows.length ? ", these are from before" : ""}: ${error.message}`);
      Object.assign(this, { pause: PATIENCE, stale: true });
    }
  }

  /** What is looked for, as the API takes it; null where a word means nothing. */
  wanted() {
    const found = filters(byId("search").value), state = byId("state").value;
    return found && state ? { ...found, state } : found;
  }

  /** Show what was found for `key`, and from where there may be more of it; `said` instead of what else is said when there is none. */
  list(key, found, next, said = "") {
    Object.assign(this, { key, found, next });
    this.draw();
    const none = next === null ? "No task is like that." : `None among the newest, down to task ${next}: "Older ones" looks further.`;
    text(byId("no-tasks"), said || none);
    byId("no-tasks").hidden = found.length > 0 && !said;
    byId("more").hidden = next === null || found.length >= SHOWN_MAX;
  }

  /** Show anew what was found: how long ago that was has changed. */
  draw() {
    this.rows.show(this.found.map((task) => [task.id, task]));
  }

  /** Move the focus along the list. */
  move(by) {
    const links = [...byId("rows").querySelectorAll("a")];
    const here = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, here + by))]?.focus();
  }
}

function row(id) {
  const made = { type: h("td"), state: h("span"), attempt: h("td", { class: "n wide" }), sent: h("td", { class: "n wide" }), host: h("td", { class: "wide" }), note: h("td", { class: "note" }) };
  made.element = h("tr", { "data-task": id },
    h("td", { class: "n" }, h("a", { href: `#/task/${id}` }, String(id))), made.type, h("td", {}, made.state), made.attempt, made.sent, made.host, made.note);
  return made;
}

function change(made, task) {
  text(made.type, task.type);
  made.type.className = `type ${media(task.type)}`;
  text(made.state, task.state);
  made.state.className = `state ${task.state}`;
  text(made.attempt, task.attempt || "");
  text(made.sent, `${span(Math.max(0, since(task.sent_at) ?? 0))} ago`);
  made.sent.title = clock(task.sent_at);
  text(made.host, task.host ?? "");
  text(made.note, noteOf(task));
}

function noteOf(task) {
  if (task.error) return typeof task.error === "string" ? task.error : task.error.message ?? task.error.reason ?? task.error.cause ?? "";
  if (task.progress) return `${percent(task.progress.fraction, 0)} ${task.progress.note ?? ""}`;
  return "";
}
