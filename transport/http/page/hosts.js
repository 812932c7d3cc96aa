// The hosts: a square for each slot, filled as far as its task is. A task keeps its square as long as it runs.

import { attribute, byId, h, Keyed, text } from "./dom.js";
import { button, drain } from "./orders.js";
import { chips } from "./tree.js";
import { brief, media, percent, plural, since, span } from "./words.js";

const SQUARES_MAX = 128;
const GONE = new Set(["lost", "left", "gone"]);

export class Hosts {
  constructor() {
    this.all = new Keyed(byId("hosts"), host, change);
  }

  show(pool) {
    const found = Object.values(pool.hosts).sort((a, b) => GONE.has(a.state) - GONE.has(b.state) || (a.name < b.name ? -1 : 1));
    this.all.show(found.map((one) => [one.name, one]));
    byId("no-hosts").hidden = found.length > 0;
  }
}

function host(name) {
  const made = {
    state: h("span", { class: "reasons" }), serves: h("small"), squares: h("div", { class: "squares" }), order: h("span", { class: "orders" }),
    places: [], draining: null,
  };
  made.element = h("article", { class: "host", "aria-label": `host ${name}`, "data-host": name },
    h("h3", {}, h("span", { class: "name" }, name), " ", made.serves, " ", made.state, made.order), made.squares);
  made.slots = new Keyed(made.squares, square, fill);
  return made;
}

function change(made, one) {
  const gone = GONE.has(one.state);
  text(made.serves, [(one.serve ?? []).join(" "), one.isolation && one.isolation !== "process" ? one.isolation : "", `${one.running} of ${one.slots}`].filter(Boolean).join(" · "));
  const trouble = Object.entries(one.troubled ?? {}).map(([type, why]) => ["bad", `${type}: ${why.join(" ")}`.slice(0, 120)]);
  chips(made.state, [...stateChips(one), ...trouble]);
  made.element.classList.toggle("gone", gone);
  const draining = one.state === "draining";
  if (made.draining !== draining || made.owner !== one.owner) {
    Object.assign(made, { draining, owner: one.owner });
    made.order.replaceChildren(button(draining ? "stay" : "drain", () => drain(one, draining), { name: `${draining ? "undo the drain of" : "drain"} ${one.name}` }));
  }
  made.order.hidden = gone;
  made.slots.show(places(made, one).map((place, index) => [index, { ...place, gone }]));
}

function stateChips(one) {
  if (one.state === "draining") return [["warn", `draining · ${one.running} left`]];
  if (one.state === "joined" || one.state === "idle") return one.silent > 3 ? [["warn", `silent for ${span(one.silent)}`]] : [];
  return [[one.state === "lost" ? "bad" : "warn", one.silent > 3 ? `${one.state} · silent for ${span(one.silent)}` : one.state]];
}

/** Which task is in which square: the pool does not say, so a task keeps the first one that was free. Of many that run it names a part. */
function places(made, one) {
  const tasks = one.tasks ?? {};
  const size = Math.min(SQUARES_MAX, Math.max(one.slots, Object.keys(tasks).length));
  const kept = Array.from({ length: size }, (_, index) => (made.places[index] in tasks ? made.places[index] : null));
  const placed = new Set(kept);
  for (const id of Object.keys(tasks)) {
    if (placed.has(id)) continue;
    const free = kept.indexOf(null);
    if (free < 0) break;
    kept[free] = id;
  }
  made.places = kept;
  let unnamed = Math.min(size, one.running) - Object.keys(tasks).length;
  return kept.map((id) => (id === null ? { task: null, busy: unnamed-- > 0 } : { task: tasks[id] }));
}

function square() {
  const made = { level: h("i", { "aria-hidden": "true" }), label: h("span") };
  made.element = h("a", { class: "slot" }, made.level, made.label);
  return made;
}

function fill(made, { task, busy, gone }) {
  const element = made.element;
  if (!task) {
    attribute(element, "href", null);
    attribute(element, "class", busy ? "slot unknown" : "slot empty");
    attribute(element, "aria-label", null);
    attribute(element, "data-task", null);
    attribute(element, "title", gone ? null : busy ? "busy" : "a free slot");
    text(made.label, "");
    made.level.style.height = busy ? "100%" : "0";
    return;
  }
  const runs = since(task.since) ?? 0;
  attribute(element, "href", `#/task/${task.id}`);
  attribute(element, "class", `slot ${media(task.type)}${task.fraction === null || task.fraction === undefined ? " unknown" : ""}${task.stopping ? " stopping" : ""}`);
  const said = `task ${task.id}, ${task.type}, ${task.fraction ? `${percent(task.fraction, 0)}, ` : ""}runs for ${span(Math.max(0, runs))}${task.note ? `: ${task.note}` : ""}`;
  attribute(element, "aria-label", said);
  attribute(element, "title", said);
  attribute(element, "data-task", task.id);
  text(made.label, brief(runs));
  made.level.style.height = `${100 * (task.fraction ?? 1)}%`;
}

export const slotsOf = (pool) => {
  const alive = Object.values(pool.hosts).filter((one) => !GONE.has(one.state));
  const slots = alive.reduce((sum, one) => sum + one.slots, 0);
  const running = alive.reduce((sum, one) => sum + Math.min(one.running, one.slots), 0);
  return { hosts: alive.length, slots, running, said: plural(alive.length, "host") };
};
