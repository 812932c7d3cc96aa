// The list of tasks, newest first: found by number, or by what `search.js` reads; renewed when the pool's counts change.

import { get } from "./api.js";
import { byId, h, Keyed, text } from "./dom.js";
import { button, overTasks } from "./orders.js";
import { filters } from "./search.js";
import { clock, count, media, percent, since, span } from "./words.js";

const STATES = ["running", "queued", "scheduled", "waiting", "completed", "failed", "quarantined", "cancelled"];
const SHOWN = 15, RENEW = 1_000;

export class Tasks {
  constructor() {
    Object.assign(this, { limit: SHOWN, asked: 0, due: null, stale: false, counts: "" });
    this.rows = new Keyed(byId("rows"), row, change);
    byId("state").append(h("option", { value: "" }, "every state"), ...STATES.map((state) => h("option", { value: state }, state)));
    byId("many").append(...["cancel", "retry", "delete"].map((word) => button(`${word} these`, () => overTasks(word, this.wanted()), { name: `${word} all tasks that are like this` })));
    byId("filters").addEventListener("submit", (event) => { event.preventDefault(); this.go(); });
    byId("search").addEventListener("input", () => this.again());
    byId("state").addEventListener("change", () => this.again());
    byId("more").addEventListener("click", () => { this.limit = Math.min(1000, this.limit * 3); this.renew(); });
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

  again() {
    this.limit = SHOWN;
    this.asked = 0;
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
    if (/^\d+$/.test(wanted)) location.hash = `#/task/${wanted}`;
    else this.again();
  }

  /** Ask, at most once a second. */
  renew() {
    this.stale = true;
    if (this.due !== null || byId("overview").hidden) return;
    const wait = Math.max(0, this.asked + RENEW - Date.now());
    this.due = setTimeout(async () => {
      this.asked = Date.now();
      this.stale = false;
      try {
        await this.ask();
      } finally {
        this.due = null;
        if (this.stale) this.renew(); // something was wanted meanwhile
      }
    }, wait);
  }

  async ask() {
    const text = byId("search").value.trim(), exact = /^\d+$/.test(text);
    const wanted = exact ? { before: Number(text) + 1 } : this.wanted(); // it comes first, if it is there
    byId("many").hidden = exact || !wanted || !Object.keys(wanted).length;
    byId("no-tasks").textContent = wanted ? "No task is like that." : "Not understood: a number, a type, #tag, key:a, error:\"not found\", older:2h, flow:12 and tenant:ann find tasks.";
    if (!wanted) return this.list([], null);
    const query = new URLSearchParams({ ...wanted, limit: this.limit });
    const found = await get(`/tasks?${query}`).catch(() => ({ tasks: [], next: null }));
    this.list(exact ? found.tasks.filter((task) => String(task.id) === text) : found.tasks, exact ? null : found.next);
  }

  /** What is looked for, as the API takes it; null where a word means nothing. */
  wanted() {
    const found = filters(byId("search").value), state = byId("state").value;
    return found && state ? { ...found, state } : found;
  }

  list(found, next) {
    this.rows.show(found.map((task) => [task.id, task]));
    byId("no-tasks").hidden = found.length > 0;
    byId("more").hidden = next === null || next === undefined || this.limit >= 1000;
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
