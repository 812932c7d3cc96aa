// One flow: how far it is, its tasks as a picture (or, when they are too many, by type), what can be done with it.

import { get } from "./api.js";
import { attribute, byId, h, Keyed, text } from "./dom.js";
import { Drawing } from "./drawing.js";
import { button, cancelFlow, retryFlow } from "./orders.js";
import { bar, ended, shares } from "./shares.js";
import { clock, count, media, span } from "./words.js";

const EVERY = 1_000;
const COUNTED_A_SECOND = 20_000; // tasks of a large flow that may be counted anew for this page
const OVER = new Set(["completed", "failed", "given up"]);

export class FlowPage {
  constructor() {
    Object.assign(this, { id: null, turn: 0, timer: null, counted: 0, parts: null });
  }

  /** Show a flow until another page is wanted. */
  open(id) {
    this.close();
    this.id = id;
    byId("flow").replaceChildren(h("p", { class: "empty" }, `flow ${id} …`));
    this.look();
  }

  close() {
    clearTimeout(this.timer);
    this.turn += 1; // whoever still waits for an answer was asking for another page, though it may be of the same flow
    Object.assign(this, { id: null, parts: null, counted: 0 });
  }

  async look() {
    const { id, turn } = this;
    let pause = EVERY;
    try {
      const graph = await get(`/flows/${id}/graph`);
      const wait = 1000 * (graph.flow.total / COUNTED_A_SECOND);
      const types = graph.tasks === null && Date.now() - this.counted > wait ? await get(`/flows/${id}`) : null;
      if (this.turn !== turn) return;
      if (types) this.counted = Date.now();
      this.show(graph, types);
    } catch (error) {
      if (this.turn !== turn) return;
      const unknown = error.status === 404;
      if (unknown) pause = 5 * EVERY;
      if (unknown || !this.parts) {
        byId("flow").replaceChildren(h("section", { class: "panel head" }, back(), h("h2", {}, unknown ? "No such flow" : `Flow ${id}`), h("p", {}, error.message)));
        this.parts = null;
      }
    }
    this.timer = setTimeout(() => this.look(), pause);
  }

  show(graph, types) {
    if (!this.parts) {
      this.parts = parts(this.id);
      byId("flow").replaceChildren(this.parts.head, this.parts.panel);
    }
    const { flow } = graph, made = this.parts;
    text(made.name, flow.name);
    text(made.state, flow.state);
    attribute(made.state, "class", `state ${flow.state.replace(" ", "-")}`);
    const counts = graph.tasks ? counted(graph.tasks) : types?.counts;
    if (counts) shares(made.bar, counts, flow.total);
    text(made.facts, [ended(flow), `sent ${clock(flow.sent_at)}`, flow.ended_at ? `ended ${clock(flow.ended_at)} after ${span((Date.parse(flow.ended_at) - Date.parse(flow.sent_at)) / 1000)}` : ""].filter(Boolean).join(" · "));
    const bad = flow.failed + flow.cancelled + flow.quarantined;
    made.cancel.hidden = OVER.has(flow.state);
    made.retry.hidden = !bad;
    made.flow = flow;
    text(made.title, graph.tasks ? "What comes after what" : "Its tasks, type by type");
    made.drawing.element.hidden = graph.tasks === null;
    made.table.hidden = graph.tasks !== null;
    if (graph.tasks) made.drawing.show(graph);
    else if (types) made.types.show(Object.entries(types.types));
  }
}

const back = () => h("a", { class: "back", href: "#/" }, "← the pool");

function parts(id) {
  const made = { name: h("span", { class: "type" }), state: h("span", { class: "state" }), title: h("span"), bar: bar(`flow ${id}`), facts: h("small"), drawing: new Drawing() };
  made.cancel = button("cancel", () => cancelFlow(made.flow), { name: `cancel flow ${id}`, strong: true });
  made.retry = button("go on from where it failed", () => retryFlow(made.flow), { name: `retry flow ${id}`, strong: true });
  made.head = h("section", { class: "panel head" }, back(),
    h("h2", {}, `Flow ${id} `, made.name, " ", made.state, h("div", { class: "orders" }, made.cancel, " ", made.retry)),
    made.bar.element, made.facts);
  const rows = h("tbody");
  made.table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "type"), h("th", { scope: "col", class: "n" }, "tasks"), h("th", { scope: "col" }, "how far"))), rows);
  made.types = new Keyed(rows, (type) => typeRow(id, type), showType);
  made.panel = h("section", { class: "panel whole", "aria-label": "Its tasks" },
    h("h2", {}, made.title, " ", h("small", {}, h("a", { href: `#/find/flow:${id}` }, "as a list"))), made.drawing.element, made.table);
  return made;
}

function counted(tasks) {
  const counts = {};
  for (const task of tasks) counts[task.state] = (counts[task.state] ?? 0) + 1;
  return counts;
}

function typeRow(id, type) {
  const made = { total: h("td", { class: "n" }), bar: bar(type) };
  made.element = h("tr", { "data-type": type }, h("td", { class: `type ${media(type)}` }, h("a", { href: `#/find/flow:${id} ${type}` }, type)), made.total, h("td", { class: "far" }, made.bar.element));
  return made;
}

function showType(made, counts) {
  const total = Object.values(counts).reduce((sum, one) => sum + one, 0);
  text(made.total, count(total));
  shares(made.bar, counts, total);
}
