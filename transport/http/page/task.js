// One task: its attempts on a line of time, how far it is, what it wrote, what it got and gave, and why it is where it is.

import { get } from "./api.js";
import { byId, h } from "./dom.js";
import { button, cancel, retry, unblock } from "./orders.js";
import { clock, media, percent, plural, span } from "./words.js";

const EVERY = 1_000;
const ENDED = new Set(["completed", "failed", "cancelled", "quarantined"]);
const AGAIN = new Set(["failed", "cancelled", "quarantined"]);
const WORDS = { completed: "good", failed: "bad", timeout: "bad", crashed: "bad", cancelled: "still", running: "accent" };

export class TaskPage {
  constructor() {
    Object.assign(this, { id: null, turn: 0, timer: null, shown: "" });
  }

  /** Show a task until another page is wanted. */
  open(id) {
    this.close();
    this.id = id;
    byId("task").replaceChildren(h("p", { class: "empty" }, `task ${id} …`));
    this.look();
  }

  close() {
    clearTimeout(this.timer);
    this.turn += 1; // whoever still waits for an answer was asking for another page, though it may be of the same task
    Object.assign(this, { id: null, shown: "" });
  }

  async look() {
    const { id, turn } = this;
    let ended = false;
    try {
      const [task, why, output] = await Promise.all(["", "/why", "/output"].map((part) => get(`/tasks/${id}${part}`)));
      if (this.turn !== turn) return;
      ended = ENDED.has(task.state);
      this.show(task, why, output);
    } catch (error) {
      if (this.turn !== turn) return;
      if (error.status === 404) byId("task").replaceChildren(panel("No such task", h("p", {}, error.message), back()));
      ended = error.status === 404;
    }
    this.timer = setTimeout(() => this.look(), ended ? 5 * EVERY : EVERY);
  }

  show(task, why, output) {
    const key = JSON.stringify([task, why, output]);
    if (key === this.shown && task.state !== "running") return;
    this.shown = key;
    const page = byId("task"), scrolled = page.querySelector("pre.output")?.scrollTop, held = document.activeElement?.getAttribute("aria-label");
    page.replaceChildren(head(task), timeline(task), words(task, why), written(output), values(task));
    const lines = page.querySelector("pre.output");
    if (lines) lines.scrollTop = scrolled === undefined ? lines.scrollHeight : Math.max(scrolled, 0);
    if (held) [...page.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === held)?.focus();
  }
}

const panel = (title, ...inside) => h("section", { class: "panel" }, h("h2", {}, title), ...inside);
const back = () => h("a", { class: "back", href: "#/" }, "← the pool");

function head(task) {
  const facts = [
    ["priority", task.priority], ["attempt", task.attempt], ["failures", task.failures], ["crashes", task.crashes],
    ["hosts lost", task.losses], ["given back", task.releases], ["sent", clock(task.sent_at)], ["due", clock(task.due)],
    ["flow", task.flow && h("a", { href: `#/flow/${task.flow}` }, String(task.flow))], ["after", afters(task.after)],
    ["tenant", task.tenant], ["requires", Object.entries(task.requires ?? {}).map(([name, value]) => `${name}=${value}`).join(", ")],
    ["key", task.key], ["tags", (task.options?.tags ?? []).join(", ")],
  ].filter(([name, value]) => value || name === "priority");
  const orders = h("div", { class: "orders" },
    task.state === "waiting" ? button("let it run", unblock(task), { name: `unblock task ${task.id}`, strong: true }) : null, " ",
    ENDED.has(task.state) ? null : button("cancel", cancel(task), { name: `cancel task ${task.id}`, strong: true }),
    AGAIN.has(task.state) ? button("run again", retry(task), { name: `run task ${task.id} again`, strong: true }) : null);
  return h("section", { class: `panel head ${media(task.type)}` }, back(),
    h("h2", {}, h("i", { class: "dot", "aria-hidden": "true" }), `Task ${task.id} `, h("span", { class: "type" }, task.type), " ", h("span", { class: `state ${task.state}` }, task.state), orders),
    progress(task), h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

const AFTERS = 20;

/** The tasks that it comes after, each a link. */
function afters(edges) {
  if (!edges?.length) return null;
  const links = edges.slice(0, AFTERS).flatMap((edge) => [h("a", { href: `#/task/${edge.id}` }, String(edge.id)), ` ${edge.state ?? "(not kept)"} `]);
  return h("span", {}, ...links, edges.length > AFTERS ? `and ${edges.length - AFTERS} more` : null);
}

function progress(task) {
  if (!task.progress || task.state !== "running") return null;
  const bar = h("i");
  bar.style.width = `${100 * task.progress.fraction}%`;
  return h("div", { class: "progress" }, h("span", { class: "bar", role: "progressbar", "aria-valuenow": Math.round(100 * task.progress.fraction), "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "progress" }, bar),
    h("span", {}, `${percent(task.progress.fraction, 0)} ${task.progress.note ?? ""}`));
}

function timeline(task) {
  const attempts = task.attempts ?? [];
  if (!attempts.length) return panel("Attempts", h("p", { class: "empty" }, "It has not begun yet."));
  const end = (attempt) => Date.parse(attempt.ended_at ?? "") || Date.now();
  const from = Date.parse(task.sent_at), to = Math.max(from + 1, ...attempts.map(end)), width = to - from;
  const rows = attempts.map((attempt) => {
    const start = Date.parse(attempt.started_at ?? "") || from, stop = end(attempt);
    const outcome = attempt.outcome ?? (attempt.ended_at ? "ended" : "running");
    const bar = h("span", { class: `time ${WORDS[outcome] ?? "warn"}` });
    bar.style.left = `${(100 * (start - from)) / width}%`;
    bar.style.width = `${Math.max(0.5, (100 * (stop - start)) / width)}%`;
    const why = attempt.detail?.message || attempt.detail?.cause || attempt.detail?.note || "";
    const said = `${outcome}${why && outcome !== "completed" ? `: ${why}` : ""} · ${span((stop - start) / 1000)}`;
    return h("li", { class: "attempt" },
      h("span", { class: "who" }, `${attempt.attempt} · ${attempt.host ?? "?"}${attempt.slot === null || attempt.slot === undefined ? "" : `, slot ${attempt.slot}`}`),
      h("span", { class: "track", "aria-hidden": "true" }, bar), h("span", { class: "said" }, said));
  });
  const scale = h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, `sent ${clock(task.sent_at)}`), h("span", {}, clock(to)));
  return panel(plural(attempts.length, "attempt"), h("ol", { class: "attempts" }, ...rows), scale);
}

function words(task, why) {
  const parts = [];
  if (why.reasons.length) {
    parts.push(h("h3", {}, task.state === "running" ? "Where it is" : "It does not run because"), h("ul", { class: "why" }, ...why.reasons.map((reason) => h("li", {}, `${reason.text}${reason.until ? ` (until ${clock(reason.until)})` : ""}`))));
  } else if (task.state === "queued") {
    parts.push(h("p", {}, "Nothing keeps it: the next claim takes it."));
  }
  if (why.ahead) parts.push(h("p", {}, `${plural(why.ahead, "task")} stand before it.`));
  if (why.hosts.length) parts.push(h("h3", {}, "What each host says"), h("ul", { class: "why" }, ...why.hosts.map((one) => h("li", {}, h("b", {}, one.name), ` ${one.says}`))));
  if (why.story.length) parts.push(h("h3", {}, "What it went through"), h("ol", { class: "story" }, ...why.story.map((one) => h("li", {}, h("time", {}, clock(one.at)), ` ${one.text}`))));
  if (task.error) parts.push(h("h3", {}, "Its error"), h("pre", { class: "error" }, task.error.traceback || [task.error.error_type, task.error.message ?? task.error.reason ?? task.error.cause].filter(Boolean).join(": ")));
  return panel("Why", ...parts);
}

function written(output) {
  if (!output.lines.length) return panel("Output", h("p", { class: "empty" }, "It wrote nothing."));
  let last = output.lines[0].attempt;
  const lines = output.lines.map((line) => {
    const before = line.attempt === last ? "" : `── attempt ${line.attempt} ──\n`;
    last = line.attempt;
    return `${before}${line.at ? `${clock(line.at)}  ` : ""}${line.text}`;
  });
  return panel("Output", h("pre", { class: "output", tabindex: 0, "aria-label": "output" }, lines.join("\n")));
}

function values(task) {
  const shown = (value) => h("pre", { tabindex: 0 }, JSON.stringify(value, null, 1) ?? "");
  return panel("Params and result", h("h3", {}, "params"), shown(task.params), task.state === "completed" ? h("h3", {}, "result") : null, task.state === "completed" ? shown(task.result) : null);
}
