// What a person orders: each is asked about first, and its end is said. Without a token nothing can be ordered.

import { post } from "./api.js";
import { byId, h, text } from "./dom.js";
import { count } from "./words.js";

const WHY_NOT = "Only to look at: open the address with the token that `workerhost up` printed to change things";

let allowed = false;

/** From now on orders are possible, or not. */
export function allow(is) {
  allowed = is;
  for (const button of document.querySelectorAll("button.order")) gate(button);
  text(byId("access"), is ? "" : `${WHY_NOT}.`);
}

/** A button for an order. `order` is `{path, body, ask, yes, done}`, or a function that gives one when it is pressed; without one nothing happens. */
export function button(label, order, { name = label, strong = false } = {}) {
  const made = h("button", { type: "button", class: strong ? "order strong" : "order", "aria-label": name }, label);
  made.addEventListener("click", () => pressed(order));
  gate(made);
  return made;
}

function gate(element) {
  element.disabled = !allowed;
  element.title = allowed ? "" : WHY_NOT;
}

let underWay = false;

/** One order at a time, from the press to its end: two would ask in the same dialog, and one answer would be for both. */
async function pressed(order) {
  if (underWay) return say("That was not done: the order before it is still under way.", true);
  underWay = true;
  try {
    const found = await (typeof order === "function" ? order() : order);
    if (found) await carryOut(found);
  } catch (error) {
    say(error.message, true);
  } finally {
    underWay = false;
  }
}

async function carryOut({ path, body, ask, yes, done }) {
  if (!(await confirmed(ask, yes))) return;
  try {
    const answer = await post(path, body);
    say(typeof done === "function" ? done(answer) : done);
    document.dispatchEvent(new Event("ordered"));
  } catch (error) {
    say(error.message, true);
    if (error.status === 401) allow(false);
  }
}

function confirmed(ask, yes) {
  const dialog = byId("ask");
  text(byId("ask-what"), ask);
  text(byId("ask-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

let fading;

/** Tell the person something, for a while. */
export function say(what, bad = false) {
  const place = byId("said");
  text(place, what);
  place.className = bad ? "bad shown" : "shown";
  clearTimeout(fading);
  fading = setTimeout(() => { place.className = ""; }, 6000);
}

export const cancel = (task) => ({
  path: `/tasks/${task.id}/cancel`,
  ask: `Cancel task ${task.id} (${task.type})? ${task.state === "running" ? "It is stopped at once, its work so far is lost." : "It will not run."}`,
  yes: "Cancel the task",
  done: `Task ${task.id} is cancelled.`,
});

export const retry = (task) => ({
  path: `/tasks/${task.id}/retry`,
  ask: `Run task ${task.id} (${task.type}) again? It is queued anew, with all its counters at zero.`,
  yes: "Run it again",
  done: `Task ${task.id} is queued again.`,
});

const MANY = {
  cancel: ["cancelled", "Cancel", "Those that run are stopped at once, their work so far is lost.", "Cancel them"],
  retry: ["retried", "Run again", "They are queued anew, with all their counters at zero.", "Run them again"],
  delete: ["deleted", "Forget", "Their params, results and attempts are gone then.", "Forget them"],
};

/** An order over all tasks that filters name: how many those are is asked first. */
export async function overTasks(word, filters) {
  const [done, verb, means, yes] = MANY[word], path = `/tasks/${word}`;
  const meant = (await post(path, { ...filters, dry_run: true }))[done].length;
  const tasks = (number) => (number === 1 ? "1 task" : `${count(number)} tasks`);
  if (!meant) return say(`No task that is like this can be ${done}.`);
  return { path, body: filters, ask: `${verb} ${tasks(meant)}? ${means}`, yes, done: (answer) => `${tasks(answer[done].length)}: ${done}.` };
}

export const pause = (type, paused) => ({
  path: `/types/${encodeURIComponent(type)}/${paused ? "resume" : "pause"}`,
  ask: paused ? `Let ${type} go on?` : `Pause ${type} and all below it? What runs goes on; nothing more starts.`,
  yes: paused ? "Go on" : "Pause",
  done: paused ? `${type} goes on.` : `${type} is paused.`,
});

export const drain = (host, undo) => ({
  path: `/hosts/${encodeURIComponent(host.name)}/drain`,
  body: { undo },
  ask: undo ? `Let ${host.name} stay after all?` : `Drain ${host.name}? It takes nothing new, finishes ${host.running} running, and leaves.`,
  yes: undo ? "Let it stay" : "Drain it",
  done: undo ? `${host.name} stays.` : `${host.name} finishes what it has and leaves.`,
});

export const unblock = (task) => ({
  path: `/tasks/${task.id}/unblock`,
  ask: `Let task ${task.id} (${task.type}) run without waiting for the others? A result of theirs that it takes has to be there.`,
  yes: "Let it run",
  done: `Task ${task.id} waits no longer.`,
});

export const cancelFlow = (flow) => ({
  path: `/flows/${flow.id}/cancel`,
  ask: `Cancel flow ${flow.id}${flow.name ? ` (${flow.name})` : ""}? All of its tasks that have not ended end now, those that run lose their work so far.`,
  yes: "Cancel the flow",
  done: `Flow ${flow.id} is cancelled.`,
});

export const retryFlow = (flow) => ({
  path: `/flows/${flow.id}/retry`,
  ask: `Go on with flow ${flow.id}${flow.name ? ` (${flow.name})` : ""} from where it failed? What failed runs again, and what was cancelled waits for it.`,
  yes: "Go on",
  done: `Flow ${flow.id} goes on.`,
});

export const pauseSchedule = (name, paused) => ({
  path: `/schedules/${name}/${paused ? "resume" : "pause"}`,
  ask: paused ? `Let schedule ${name} send again?` : `Pause schedule ${name}? What falls into the pause is not made up for.`,
  yes: paused ? "Go on" : "Pause",
  done: paused ? `Schedule ${name} goes on.` : `Schedule ${name} is paused.`,
});

export const runSchedule = (name) => ({
  path: `/schedules/${name}/run`,
  ask: `Send a task of schedule ${name} now, beside its own times?`,
  yes: "Send it now",
  done: `Schedule ${name} has sent a task.`,
});
