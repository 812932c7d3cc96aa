// The tree of types: what waits at each node, what runs, how it goes, and in words why nothing more starts.

import { attribute, byId, h, Keyed, text } from "./dom.js";
import { button, pause } from "./orders.js";
import { clock, count, media, percent, plural, since, span } from "./words.js";

const WORDS = {
  paused: "still", asleep: "warn", quota: "warn", rate: "busy", breaker: "bad", max_concurrent: "busy", per_host: "busy",
}; // how loud a reason is

const FAILING = 0.05; // the share of failures from which on it is shown as bad

export class Tree {
  constructor() {
    this.rows = new Keyed(byId("nodes"), row, change);
  }

  show(pool) {
    const names = Object.keys(pool.nodes).sort(byPath);
    const figures = pool.windows["1h"]?.nodes ?? {};
    const minute = pool.windows["1m"]?.nodes ?? {};
    const most = Math.max(1, ...names.map((name) => pool.nodes[name].queued));
    this.rows.show(names.map((name) => {
      const node = pool.nodes[name];
      return [name, { name, node, hour: figures[name] ?? {}, minute: minute[name] ?? {}, most, reasons: reasons(name, node, pool.nodes, figures[name]) }];
    }));
    const more = pool.nodes_left_out; // of very many the pool tells of those with most to do
    text(byId("more-nodes"), more ? `and ${plural(more, "type")} more: workerhost types` : "");
    byId("no-nodes").hidden = names.length > 0;
  }
}

// `a.b` stands right below `a`, whatever other names sort between them.
const byPath = (a, b) => {
  const left = a.split("."), right = b.split(".");
  for (let part = 0; part < Math.min(left.length, right.length); part += 1) {
    if (left[part] !== right[part]) return left[part] < right[part] ? -1 : 1;
  }
  return left.length - right.length;
};

/** Why tasks of a node wait, and how many did not have to: [loudness, text]. */
function reasons(name, node, nodes, hour) {
  const found = (node.blocks ?? []).map((block) => [WORDS[block.code] ?? "warn", blockText(name, block)]);
  if (node.queued && !node.hosts) found.push(["bad", "no host serves it"]);
  if (!found.length && node.queued) {
    const above = parents(name).find((parent) => (nodes[parent]?.blocks ?? []).length);
    if (above) found.push(["quiet", `waits for ${above.split(".").at(-1)}`]);
  }
  if (!found.length && node.limits?.breaker === "probing") found.push(["warn", "breaker: trying one"]);
  if (node.scheduled) found.push(["quiet", `${count(node.scheduled)} scheduled`]);
  if (node.waiting) found.push(["quiet", `${count(node.waiting)} wait for others`]);
  if (hour?.hits) found.push(["quiet", `${count(hour.hits)} from the cache`]);
  return found;
}

function blockText(name, block) {
  if (block.code === "max_concurrent") return "as many as it may";
  const said = block.text.startsWith(`${name} `) ? block.text.slice(name.length + 1).replace(/^(is|has) /, "") : block.text;
  const left = block.until ? -since(block.until) : 0;
  return left > 0 && left < 3600 && !said.includes("until") ? `${said} · ${span(left)} left` : said;
}

const parents = (name) => {
  const parts = name.split(".");
  return parts.slice(1).map((_, index) => parts.slice(0, parts.length - 1 - index).join("."));
};

function row(name) {
  const parts = name.split(".");
  const cells = {
    reasons: h("span", { class: "reasons" }), queued: h("span"), bar: h("i"), running: h("span"), limit: h("small"),
    rate: h("td", { class: "n wide" }), takes: h("td", { class: "n wide" }), failed: h("td", { class: "n" }),
    limits: h("small", { class: "limits" }), order: h("span", { class: "orders" }),
  };
  const link = h("a", { class: "name", href: `#/find/${name}`, title: `Tasks of ${name}` }, parts.at(-1));
  cells.element = h(
    "tr", { "data-depth": parts.length, class: media(name), "data-type": name },
    h("th", { scope: "row" }, h("i", { class: "dot", "aria-hidden": "true" }), link, cells.limits, " ", cells.reasons, cells.order),
    h("td", { class: "n depth" }, cells.queued, h("span", { class: "bar", "aria-hidden": "true" }, cells.bar)),
    h("td", { class: "n" }, cells.running, cells.limit), cells.rate, cells.takes, cells.failed,
  );
  cells.pausing = null;
  return cells;
}

function change(cells, { name, node, hour, minute, most, reasons: why }) {
  text(cells.queued, count(node.queued));
  cells.bar.style.width = `${node.queued ? 4 + (96 * Math.log1p(node.queued)) / Math.log1p(most) : 0}%`;
  attribute(cells.queued, "title", node.oldest && node.queued ? `the oldest waits since ${clock(node.oldest)}` : null);
  text(cells.running, count(node.running));
  const limits = node.limits ?? {};
  text(cells.limit, limits.max_concurrent ? `/${count(limits.max_concurrent)}` : "");
  text(cells.limits, limitText(limits));
  text(cells.rate, minute.per_second ? rate(minute.per_second) : "");
  const bound = hour.duration_p95 ?? null, takes = bound ?? hour.duration ?? null; // what is not known is null, or not there
  text(cells.takes, span(takes));
  attribute(cells.takes, "title", takes === null ? null : bound === null ? "on average, over an hour" : "95 of 100 tasks take less, over an hour");
  const share = failures(hour);
  text(cells.failed, percent(share));
  cells.failed.classList.toggle("bad", (share ?? 0) >= FAILING);
  chips(cells.reasons, why);
  const paused = Boolean(limits.paused);
  if (cells.pausing !== paused) {
    cells.pausing = paused;
    cells.order.replaceChildren(button(paused ? "resume" : "pause", () => pause(name, paused), { name: `${paused ? "resume" : "pause"} ${name}` }));
  }
}

const failures = (figures) => {
  const ends = (figures.completed ?? 0) + (figures.failed ?? 0);
  return ends ? figures.failed / ends : null;
};

const rate = (perSecond) => {
  const minute = perSecond * 60;
  return minute < 10 ? minute.toFixed(1) : count(minute);
};

function limitText(limits) {
  const said = [];
  if (limits.rate) said.push(limits.rate);
  if (limits.quota) said.push(`${count(limits.quota_used ?? 0)} of ${limits.quota}`);
  if (limits.per_host) said.push(`${limits.per_host} a host`);
  return said.join(" · ");
}

/** Short words with a colour. */
export function chips(place, found) {
  const key = found.map((one) => one.join("\t")).join("\n");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...found.map(([loudness, said]) => h("span", { class: `chip ${loudness}` }, said)));
}
