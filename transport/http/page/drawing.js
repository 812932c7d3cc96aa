// A flow as a picture: a mark for each task, boxes in layers, lines from each box to what comes after it.

import { attribute, h, s, text } from "./dom.js";
import { arranged } from "./graph.js";
import { count, media, percent, span } from "./words.js";

export const MARKS = { waiting: "…", scheduled: "◷", queued: "·", running: "▸", completed: "✓", failed: "✕", quarantined: "!", cancelled: "–" };
const BADLY = new Set(["failed", "cancelled", "quarantined"]);

export class Drawing {
  constructor() {
    this.lines = s("svg", { class: "lines", "aria-hidden": "true" });
    this.layers = h("ol", { class: "layers" });
    this.element = h("div", { class: "graph", keydown: (event) => this.walk(event) }, this.lines, this.layers);
    this.form = "";
    new ResizeObserver(() => this.place()).observe(this.layers);
  }

  /** `graph` as `/api/flows/ID/graph` tells it. */
  show({ tasks, edges, others }) {
    const form = JSON.stringify([tasks.map((task) => task.id), edges.map((edge) => edge.slice(0, 3)), others.map(([id]) => id)]);
    if (form !== this.form) this.build(tasks, edges, others);
    this.form = form;
    this.states = new Map([...others, ...tasks.map((task) => [task.id, task.state])]);
    for (const task of tasks) mark(this.steps.get(task.id), task);
    for (const [id, state] of others) mark(this.steps.get(id), { id, state: state ?? "gone", type: "another task" });
    const met = new Map(edges.map(([task, after, , is]) => [`${task} ${after}`, is]));
    for (const { link, path } of this.paths) attribute(path, "class", this.kind(link, met));
  }

  build(tasks, edges, others) {
    const { layers, links } = arranged(tasks, edges, others);
    this.steps = new Map();
    this.boxes = new Map();
    const roomy = tasks.length <= 60;
    this.layers.replaceChildren(...layers.map((layer) => h("li", { class: "layer" }, ...layer.map((one) => this.box(one, roomy, tasks)))));
    this.paths = links.map((link) => ({ link, path: s("path") }));
    this.lines.replaceChildren(...this.paths.map(({ path }) => path));
    this.place();
  }

  box({ key, kind, type, ids }, roomy, tasks) {
    const types = new Map(tasks.map((task) => [task.id, task.type]));
    const several = kind === "alike" || kind === "row" || (kind === "other" && ids.length > 1);
    const names = kind === "row" && ids.length <= 12 && roomy;
    const steps = ids.map((id) => {
      const name = kind === "other" ? `task ${id}` : several && !names ? "" : (types.get(id) ?? "").split(".").at(-1);
      const step = { mark: h("b", { "aria-hidden": "true" }), level: h("i", { "aria-hidden": "true" }) };
      step.element = h("a", { class: "step", href: `#/task/${id}`, "data-task": id }, step.level, step.mark, name ? h("span", {}, name) : null);
      this.steps.set(id, step);
      return step.element;
    });
    const said = kind === "other" ? "from outside" : kind === "alike" ? `${count(ids.length)} × ${type}` : kind === "row" ? `${count(ids.length)} in a row` : "";
    const element = h("div", { class: `box ${kind} ${type ? media(type) : "m7"}`, role: several ? "group" : null, "aria-label": several ? said : null },
      said ? h("small", {}, said) : null, h("div", { class: "steps" }, ...steps));
    this.boxes.set(key, element);
    return element;
  }

  kind({ from, edges }, met) {
    const done = edges.every(([task, after]) => met.get(`${task} ${after}`));
    const broken = !done && from.ids.some((id) => BADLY.has(this.states.get(id)));
    const words = new Set(edges.map((edge) => edge[2]));
    return `${done ? "done" : broken ? "broken" : "open"}${words.has("cancel") ? "" : words.has("run") ? " run" : " wait"}`;
  }

  /** Draw the lines anew where the boxes are now. */
  place() {
    const ground = this.layers.getBoundingClientRect();
    if (!this.paths || !ground.width) return;
    attribute(this.lines, "width", ground.width);
    attribute(this.lines, "height", ground.height);
    for (const { link, path } of this.paths) {
      const from = this.boxes.get(link.from.key).getBoundingClientRect(), to = this.boxes.get(link.to.key).getBoundingClientRect();
      const x1 = from.left + from.width / 2 - ground.left, x2 = to.left + to.width / 2 - ground.left;
      const y1 = from.bottom - ground.top, y2 = to.top - ground.top, half = Math.max(12, (y2 - y1) / 2);
      path.setAttribute("d", `M${x1} ${y1}C${x1} ${y1 + half} ${x2} ${y2 - half} ${x2} ${y2}`);
    }
  }

  /** Arrow keys go to the nearest mark in that direction. */
  walk(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const here = document.activeElement;
    if (!way || !here?.classList.contains("step")) return;
    event.preventDefault();
    const [x, y] = centre(here);
    let best = null, least = Infinity;
    for (const { element } of this.steps.values()) {
      const [dx, dy] = centre(element).map((value, index) => value - [x, y][index]);
      const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      const far = along + (way[0] ? 3 : 0.4) * aside; // beside: in the same row; below: in the next one
      if (element !== here && along > 4 && far < least) [best, least] = [element, far];
    }
    best?.focus();
  }
}

function centre(element) {
  const box = element.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}

function mark(step, task) {
  attribute(step.element, "class", `step ${task.state}`);
  text(step.mark, MARKS[task.state] ?? "?");
  const fraction = task.state === "running" ? task.progress?.fraction ?? 0 : 0;
  step.level.style.width = `${100 * fraction}%`;
  const took = task.started_at && task.ended_at ? ` after ${span((Date.parse(task.ended_at) - Date.parse(task.started_at)) / 1000)}` : "";
  const more = task.error ? `: ${task.error}` : task.progress && task.state === "running" ? `, ${percent(fraction, 0)} ${task.progress.note ?? ""}` : "";
  const said = `task ${task.id}, ${task.type}, ${task.state}${took}${more}`.trim();
  attribute(step.element, "aria-label", said);
  attribute(step.element, "title", said);
}
