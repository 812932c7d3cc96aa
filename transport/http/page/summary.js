// The head of the page: is all well, how much is done, what waits; objectives, alerts, and what the pool itself notes.

import { attribute, byId, h, Keyed, text } from "./dom.js";
import { slotsOf } from "./hosts.js";
import { clock, count, percent, since, span } from "./words.js";

const LOCKED = "Only with the token: open the address that `workerhost up` printed, or put # and what is in http.token behind this one";

export class Summary {
  constructor() {
    this.isPast = false;
    this.figures = new Keyed(byId("figures"), figure, (made, [value, label]) => { text(made.value, value); text(made.label, label); });
    this.alerts = new Keyed(byId("alerts"), () => h("li"), (made, [said, kind]) => { text(made, said); attribute(made, "class", `banner ${kind}`); });
    this.objectives = new Keyed(byId("objectives"), objective, showObjective);
  }

  show(pool) {
    text(byId("pool"), pool.supervisor.name && pool.supervisor.name !== "workerhost" ? pool.supervisor.name : pool.supervisor.address);
    document.title = `${count(pool.pool.queued)} queued, ${count(pool.pool.running)} running · WorkerHost`;
    const minute = pool.windows["1m"]?.pool ?? {}, hour = pool.windows["1h"]?.pool ?? {};
    const slots = slotsOf(pool);
    const oldest = since(pool.pool.oldest);
    this.figures.show([
      ["rate", [(minute.per_second ?? null) === null ? "–" : `${count(minute.per_second * 60)}/min`, "ended"]],
      ["queued", [count(pool.pool.queued), pool.empty_in && pool.pool.queued ? `queued · empty in about ${span(roughly(pool.empty_in))}` : "queued"]],
      ["oldest", [pool.pool.queued && oldest !== null ? span(Math.max(0, oldest)) : "–", "oldest waiting"]],
      ["slots", [slots.slots ? `${slots.running} of ${slots.slots}` : "–", `slots busy · ${slots.said}`]],
      ["success", [(hour.success ?? null) === null ? "–" : percent(hour.success), "succeeded, 1 h"]],
    ]);
    const alerts = (pool.alerts ?? []).map((one) => [`alert ${one.name} ${one.node}`, [`${one.text ?? one.metric}${one.since ? ` · since ${clock(one.since)}` : ""}`, "bad"]]);
    const notes = (pool.notes ?? []).map((note) => [`note ${note}`, [note, "warn"]]);
    const problem = pool.problem ? [["problem", [pool.problem, "bad"]]] : [];
    this.alerts.show([...problem, ...alerts, ...notes].slice(0, 20));
    this.objectives.show((pool.objectives ?? []).map((one) => [one.name ?? one.text, one]));
    this.well(pool, alerts.length + problem.length);
  }

  /** What is shown is of the past, for a reason in two words; null: it is of now. */
  past(why, kind = "bad") {
    this.isPast = why !== null;
    document.body.classList.toggle("away", this.isPast);
    if (this.isPast) set(byId("link"), kind, why);
  }

  /** Nobody looks, and nothing is read: what was read says nothing of now. */
  rest() {
    document.title = "WorkerHost";
    this.past("connecting", "still");
  }

  well(pool, bad) {
    if (this.isPast) return;
    const missed = (pool.objectives ?? []).filter((one) => one.met === false).length;
    const chip = byId("link");
    if (bad) set(chip, "bad", bad === 1 ? "1 alert" : `${bad} alerts`);
    else if (missed) set(chip, "warn", missed === 1 ? "1 objective missed" : `${missed} objectives missed`);
    else if ((pool.notes ?? []).length) set(chip, "warn", "with notes");
    else set(chip, "good", "healthy");
  }

  /** The server is heard (null), or not since then; `refusal` is the status with which it refused. */
  linked(lost, refusal) {
    const banner = byId("away");
    banner.hidden = lost === null;
    if (lost === null) return;
    text(banner, refusal === 401 ? LOCKED : `Not connected since ${clock(lost)}: what you see is from then. Trying again …`);
    this.past("not connected");
  }
}

function set(chip, kind, said) {
  attribute(chip, "class", `chip ${kind}`);
  text(chip, said);
}

function figure() {
  const made = { value: h("dd"), label: h("dt") };
  made.element = h("div", {}, made.value, made.label);
  return made;
}

const objective = () => h("li", { class: "chip" });

function showObjective(made, one) {
  const kind = one.met === false ? "bad" : one.met ? "good" : "still";
  attribute(made, "class", `chip ${kind}`);
  text(made, `${one.met === false ? "missed" : one.met ? "met" : "not known yet"}: ${one.text ?? one.name}`);
}

/** As exact as an estimate can be. */
const roughly = (seconds) => (seconds < 90 ? Math.ceil(seconds / 5) * 5 : seconds < 5400 ? Math.round(seconds / 60) * 60 : Math.round(seconds / 3600) * 3600);
