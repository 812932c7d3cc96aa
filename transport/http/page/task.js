// One task: its attempts on a line of time, how far it is, what it wrote, what it got and gave, and why it is where it is.

import { get } from "./api.js";
import { attribute, byId, h, text } from "./dom.js";
import { button, cancel, retry, unblock } from "./orders.js";
import { clock, media, percent, plural, span } from "./words.js";

const EVERY = 1_000;
const ENDED = new Set(["completed", "failed", "cancelled", "quarantined"]);
const AGAIN = new Set(["failed", "cancelled", "quarantined"]);
const WORDS = { completed: "good", failed: "bad", timeout: "bad", crashed: "bad", cancelled: "still", running: "accent" };

export class TaskPage {
  constructor() {
    Object.assign(this, { id: null, turn: 0, timer: null, parts: new Map() });
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
    this.id = null;
    this.parts.clear();
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
      ended = error.status === 404;
      if (ended || !this.parts.size) {
        byId("task").replaceChildren(panel(ended ? "No such task" : `Task ${id}`, h("p", {}, error.message), back()));
        this.parts.clear();
      }
    }
    this.timer = setTimeout(() => this.look(), ended ? 5 * EVERY : EVERY);
  }

  show(task, why, output) {
    const page = byId("task"), { params, result, attempts, progress, error, ...facts } = task;
    if (!this.parts.size) page.replaceChildren();
    this.part("head", facts, () => head(task));
    this.part("attempts", [attempts, task.attempts_left_out, task.sent_at, task.state === "running" ? Date.now() : 0], () => timeline(task));
    this.part("why", [task.state, error, why], () => words(task, why));
    this.part("output", output, () => written(output));
    this.part("values", [task.state, params, result], () => values(task));
    far(page.querySelector(".progress"), task.state === "running" ? progress : null);
  }

  /** A part of the page: made anew only when what it tells has changed, so that a person can read, scroll and select the others. */
  part(name, told, make) {
    const key = JSON.stringify(told), old = this.parts.get(name);
    if (old?.key === key) return;
    const element = make();
    this.parts.set(name, { key, element });
    if (old) renew(old.element, element);
    else byId("task").append(element);
    const lines = element.querySelector("pre.output");
    if (lines && !old?.element.querySelector("pre.output")) lines.scrollTop = lines.scrollHeight; // the latest first
  }
}

const named = (part) => new Map([...part.querySelectorAll("[aria-label]")].map((one) => [one.getAttribute("aria-label"), one]));

/** A newer part in the place of an older one: what has a name stays scrolled as it was, and keeps the focus. */
function renew(old, made) {
  const kept = [...named(old)].map(([name, one]) => [name, one.scrollTop, one === document.activeElement]);
  old.replaceWith(made);
  const now = named(made);
  for (const [name, scrolled, held] of kept) {
    const one = now.get(name);
    if (one && scrolled) one.scrollTop = scrolled;
    if (one && held) one.focus({ preventScroll: true });
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
    nowhere(), h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

const AFTERS = 20;

/** The tasks that it comes after, each a link. */
function afters(edges) {
  if (!edges?.length) return null;
  const links = edges.slice(0, AFTERS).flatMap((edge) => [h("a", { href: `#/task/${edge.id}` }, String(edge.id)), ` ${edge.state ?? "(not kept)"} `]);
  return h("span", {}, ...links, edges.length > AFTERS ? `and ${edges.length - AFTERS} more` : null);
}

/** A bar of how far a task is, that says nothing yet. */
const nowhere = () => h("div", { class: "progress", hidden: true },
  h("span", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "progress" }, h("i")), h("span"));

function far(made, progress) {
  made.hidden = !progress;
  if (!progress) return;
  const [bar, said] = made.children;
  attribute(bar, "aria-valuenow", Math.round(100 * progress.fraction));
  bar.firstChild.style.width = `${100 * progress.fraction}%`;
  text(said, `${percent(progress.fraction, 0)} ${progress.note ?? ""}`);
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
  const more = task.attempts_left_out ?? 0;
  const unseen = more ? h("p", { class: "empty" }, `${plural(more, "attempt")} left out, between the first and the latest`) : null;
  return panel(plural(attempts.length + more, "attempt"), h("ol", { class: "attempts" }, ...rows), scale, unseen);
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
  if (task.error) parts.push(h("h3", {}, "Its error"), h("pre", { class: "error", tabindex: 0, "aria-label": "error" }, task.error.traceback || [task.error.error_type, task.error.message ?? task.error.reason ?? task.error.cause].filter(Boolean).join(": ")));
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
  const shown = (name, value) => [h("h3", {}, name), h("pre", { tabindex: 0, "aria-label": name }, JSON.stringify(value, null, 1) ?? "")];
  return panel("Params and result", ...shown("params", task.params), ...(task.state === "completed" ? shown("result", task.result) : []));
}
