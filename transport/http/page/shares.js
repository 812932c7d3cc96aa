// A bar with a piece for each state that tasks are in, and the same in words beside it.

import { attribute, h, Keyed, text } from "./dom.js";
import { count } from "./words.js";

const ORDER = ["completed", "running", "queued", "scheduled", "waiting", "cancelled", "failed", "quarantined"];

export function bar(name) {
  const made = { name, track: h("span", { class: "shares", role: "img" }), words: h("small", { class: "legend" }) };
  made.pieces = new Keyed(made.track, (state) => h("i", { class: state }), (piece, share) => { piece.style.width = `${share}%`; });
  made.legend = new Keyed(made.words, (state) => h("span", { class: `state ${state}` }), (word, said) => text(word, said));
  made.element = h("span", { class: "far" }, made.track, made.words);
  return made;
}

/** Show how many of `total` are in each state. */
export function shares(made, counts, total) {
  const found = ORDER.filter((state) => counts[state]);
  made.pieces.show(found.map((state) => [state, (100 * counts[state]) / Math.max(1, total)]));
  made.legend.show(found.map((state) => [state, `${count(counts[state])} ${state}`]));
  attribute(made.track, "aria-label", `${made.name}: ${found.map((state) => `${counts[state]} ${state}`).join(", ")}`);
}

/** `7 of 10 ended, 1 badly`. */
export function ended(flow) {
  const bad = flow.failed + flow.cancelled + flow.quarantined;
  return `${count(flow.completed + bad)} of ${count(flow.total)} ended${bad ? `, ${count(bad)} badly` : ""}`;
}

/** The counts that a flow's row tells: what has not ended is all one. */
export const countsOf = ({ total, completed, failed, cancelled, quarantined }) => ({ completed, failed, cancelled, quarantined, waiting: total - completed - failed - cancelled - quarantined });
