// Flows, schedules and tenants on the page of the pool; each is there only where the pool has any.

import { get } from "./api.js";
import { attribute, byId, h, Keyed, text } from "./dom.js";
import { button, pauseSchedule, runSchedule } from "./orders.js";
import { bar, countsOf, ended, shares } from "./shares.js";
import { chips } from "./tree.js";
import { brief, clock, count, media, since, span } from "./words.js";

const FLOWS = 8, SCHEDULES = 10, EVERY = 1_000;
const SCHEDULES_A_SECOND = 100; // that are asked for anew for this page

export class Lists {
  constructor() {
    this.flows = new Keyed(byId("flow-rows"), flowRow, showFlow);
    this.schedules = new Keyed(byId("schedule-rows"), scheduleRow, showSchedule);
    this.tenants = new Keyed(byId("tenant-rows"), tenantRow, showTenant);
  }

  /** The pool has changed. */
  show(pool) {
    const tenants = pool.tenants ?? [];
    byId("tenants").hidden = !tenants.length;
    this.tenants.show(tenants.map((one) => [one.tenant, one]));
  }

  run() {
    again(async () => {
      const { flows } = await get(`/flows?limit=${FLOWS}`);
      byId("flows").hidden = !flows.length;
      this.flows.show(flows.map((one) => [one.id, one]));
      return EVERY;
    });
    again(async () => {
      const { schedules, next } = await get("/schedules");
      const sorted = schedules.sort((a, b) => (a.next === null) - (b.next === null) || ((a.next ?? a.name) < (b.next ?? b.name) ? -1 : 1));
      byId("schedules").hidden = !sorted.length;
      text(byId("more-schedules"), sorted.length > SCHEDULES ? `${count(sorted.length - SCHEDULES)}${next ? " and more" : ""} come later: workerhost schedules` : "");
      this.schedules.show(sorted.slice(0, SCHEDULES).map((one) => [one.name, one]));
      return EVERY * (1 + sorted.length / SCHEDULES_A_SECOND);
    });
  }
}

/** Look, and again after the pause that `look` gives, or when something was ordered. */
async function again(look) {
  for (;;) {
    let pause = EVERY;
    if (!document.hidden && !byId("overview").hidden) pause = await look().catch(() => EVERY); // the feed says that the server is away
    await new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        document.removeEventListener("ordered", go); // or one more would stay for each second that the page is open
        resolve();
      };
      const timer = setTimeout(go, pause);
      document.addEventListener("ordered", go);
    });
  }
}

function flowRow(id) {
  const made = { name: h("span"), state: h("span"), bar: bar(`flow ${id}`), ended: h("small"), age: h("td", { class: "n wide" }) };
  made.bar.words.hidden = true;
  made.element = h("tr", { "data-flow": id }, h("th", { scope: "row" }, h("a", { href: `#/flow/${id}` }, String(id)), " ", made.name),
    h("td", {}, made.state), h("td", { class: "far" }, made.bar.element, made.ended), made.age);
  return made;
}

function showFlow(made, flow) {
  text(made.name, flow.name);
  text(made.state, flow.state);
  attribute(made.state, "class", `state ${flow.state.replace(" ", "-")}`);
  shares(made.bar, countsOf(flow), flow.total);
  text(made.ended, ended(flow));
  text(made.age, `${span(Math.max(0, since(flow.sent_at) ?? 0))} ago`);
}

function scheduleRow(name) {
  const made = { type: h("td", { class: "wide" }), when: h("td", { class: "wide" }), next: h("span"), then: h("small", { class: "then" }), task: h("td", { class: "n" }), orders: h("td", { class: "orders" }), paused: null };
  made.element = h("tr", { "data-schedule": name }, h("th", { scope: "row" }, name), made.type, made.when, h("td", {}, made.next, " ", made.then), made.task, made.orders);
  return made;
}

function showSchedule(made, one) {
  text(made.type, one.type);
  attribute(made.type, "class", `type wide ${media(one.type)}`);
  text(made.when, one.every === null ? `${one.cron}${one.zone === "UTC" ? "" : ` ${one.zone}`}` : `every ${span(one.every)}`);
  const left = one.next ? -since(one.next) : null;
  text(made.next, one.paused ? "paused" : left === null ? "never" : left > 0 ? `in ${span(left)}` : "now");
  attribute(made.next, "title", one.next ? clock(one.next) : null);
  const later = one.coming.slice(1);
  text(made.then, later.length ? `then ${later.map((instant) => brief(Math.max(0, -since(instant)))).join(", ")}` : "");
  attribute(made.then, "title", later.map(clock).join("\n") || null);
  if (made.sent !== one.task) made.task.replaceChildren(...(one.task ? [h("a", { href: `#/task/${one.task}`, title: "the latest task of it" }, String(one.task))] : []));
  made.sent = one.task;
  if (made.paused === one.paused) return;
  made.paused = one.paused;
  made.orders.replaceChildren(button("run", () => runSchedule(one.name), { name: `run ${one.name} now` }), " ",
    button(one.paused ? "resume" : "pause", () => pauseSchedule(one.name, one.paused), { name: `${one.paused ? "resume" : "pause"} schedule ${one.name}` }));
}

function tenantRow(name) {
  const made = { queued: h("td", { class: "n" }), running: h("td", { class: "n" }), limits: h("td", { class: "wide" }), why: h("span", { class: "reasons" }) };
  made.element = h("tr", { "data-tenant": name }, h("th", { scope: "row" }, name ? h("a", { href: `#/find/tenant:${name}` }, name) : "no tenant"), made.queued, made.running, made.limits, h("td", {}, made.why));
  return made;
}

function showTenant(made, one) {
  text(made.queued, count(one.queued));
  text(made.running, one.max_concurrent ? `${count(one.running)}/${count(one.max_concurrent)}` : count(one.running));
  text(made.limits, one.rate ?? "");
  chips(made.why, (one.blocks ?? []).map((block) => ["busy", block.code === "max_concurrent" ? "as many as it may" : block.text]));
}
