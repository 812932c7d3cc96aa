// Three small charts of the last hour: how much ended, how long it took, how much waited. Drawn from columns of numbers.

import { get } from "./api.js";
import { byId, h, s, text } from "./dom.js";
import { clock, count, span } from "./words.js";

const WIDTH = 600, HEIGHT = 64, EVERY = 5_000, SECONDS = 3600;

const CHARTS = [
  { title: "ended per minute", lines: [["completed", "good", true], ["failed", "bad", false]], read: (v) => count(v * 60) },
  { title: "takes, 95 of 100 less", lines: [["duration_p95", "accent", false]], read: span },
  { title: "queued", lines: [["queued", "accent", true]], read: count },
];

export class Charts {
  constructor() {
    this.drawn = CHARTS.map((chart) => new Chart(chart));
    byId("charts").append(...this.drawn.map((chart) => chart.element));
  }

  async run() {
    for (;;) {
      if (!document.hidden) {
        try {
          this.show(await get(`/history?seconds=${SECONDS}`));
        } catch {
          // the feed says that the server is away
        }
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  }

  show(columns) {
    const at = columns.at ?? [];
    text(byId("span"), at.length > 1 ? `the last ${span((Date.parse(at.at(-1)) - Date.parse(at[0])) / 1000)}` : "");
    for (const chart of this.drawn) chart.show(columns);
  }
}

class Chart {
  constructor({ title, lines, read }) {
    Object.assign(this, { lines, read, columns: null });
    this.now = h("output");
    this.paths = lines.map(([name, kind, filled]) => s("path", { class: `${kind}${filled ? " filled" : ""}`, "data-line": name }));
    this.mark = s("line", { class: "mark", y1: 0, y2: HEIGHT, x1: -1, x2: -1 });
    this.picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...this.paths, this.mark);
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.say(null));
    this.element = h("figure", {}, h("figcaption", {}, h("span", {}, title), this.now), this.picture);
  }

  show(columns) {
    this.columns = columns;
    const all = this.lines.flatMap(([name]) => (columns[name] ?? []).filter((value) => value !== null));
    const top = Math.max(1e-9, ...all) * 1.08;
    this.lines.forEach(([name, , filled], index) => this.paths[index].setAttribute("d", path(columns[name] ?? [], top, filled)));
    this.say(null);
  }

  point(event) {
    const size = this.columns?.at?.length ?? 0;
    if (!size) return;
    const box = this.picture.getBoundingClientRect();
    this.say(Math.min(size - 1, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * (size - 1)))));
  }

  say(index) {
    const size = this.columns?.at?.length ?? 0;
    const place = index ?? size - 1;
    const x = index === null ? -1 : size > 1 ? (place / (size - 1)) * WIDTH : 0;
    this.mark.setAttribute("x1", x);
    this.mark.setAttribute("x2", x);
    const said = this.lines.map(([name]) => {
      const value = this.columns?.[name]?.[place];
      if (value === undefined || value === null) return this.lines.length > 1 ? "" : "–";
      return this.lines.length > 1 ? `${this.read(value)} ${name}` : this.read(value);
    }).filter(Boolean);
    text(this.now, size ? `${said.join(", ")}${index === null ? "" : ` at ${clock(this.columns.at[place])}`}` : "nothing yet");
  }
}

/** A line through the values, with gaps where there are none; closed to the bottom where it is filled. */
function path(values, top, filled) {
  const step = values.length > 1 ? WIDTH / (values.length - 1) : WIDTH;
  const runs = [];
  let run = null;
  values.forEach((value, index) => {
    if (value === null) {
      run = null;
      return;
    }
    if (run === null) runs.push((run = []));
    run.push([(index * step).toFixed(1), (HEIGHT - (value / top) * (HEIGHT - 2) - 1).toFixed(1)]);
  });
  return runs.map((points) => {
    if (points.length === 1) points.push([Number(points[0][0]) + 1, points[0][1]]);
    const line = points.map(([x, y]) => `${x} ${y}`).join("L");
    return filled ? `M${points[0][0]} ${HEIGHT}L${line}L${points.at(-1)[0]} ${HEIGHT}Z` : `M${line}`;
  }).join("");
}
