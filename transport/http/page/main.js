// Puts the page together: which part is shown, what the stream changes, and the keys.

import { isAllowed, takeToken } from "./api.js";
import { Charts } from "./charts.js";
import { byId } from "./dom.js";
import { Feed } from "./feed.js";
import { FlowPage } from "./flow.js";
import { Hosts } from "./hosts.js";
import { Lists } from "./lists.js";
import { allow } from "./orders.js";
import { Summary } from "./summary.js";
import { TaskPage } from "./task.js";
import { Tasks } from "./tasks.js";
import { Tree } from "./tree.js";

takeToken();

const summary = new Summary(), tree = new Tree(), hosts = new Hosts(), tasks = new Tasks(), page = new TaskPage(), flow = new FlowPage(), lists = new Lists();
let pool = null;

function draw() {
  if (!pool?.pool) {
    if (pool?.problem) summary.alerts.show([["problem", [pool.problem, "bad"]]]);
    return;
  }
  summary.show(pool);
  if (byId("overview").hidden) return;
  tree.show(pool);
  hosts.show(pool);
  lists.show(pool);
  tasks.draw();
}

const feed = new Feed((document) => {
  pool = document;
  summary.past(pool.pool ? null : "not known"); // the server is there, but what it knows of the pool is nothing
  draw();
  if (pool.tasks) tasks.show(pool);
}, (lost, refusal) => summary.linked(lost, refusal), () => summary.rest());

const askWhatIsAllowed = () => isAllowed().then(allow, () => allow(false));

/** The address says what is shown: `#/` the pool, `#/task/12` a task, `#/flow/12` a flow, `#/find/video` the tasks of a type. */
function route() {
  if (takeToken()) askWhatIsAllowed();
  const [, what, which] = /^#\/(task|flow|find)\/(.+)$/.exec(location.hash) ?? [];
  const one = what !== "find" && /^\d{1,18}$/.test(which ?? "") ? what : null;
  byId("overview").hidden = one !== null;
  for (const [name, shown] of [["task", page], ["flow", flow]]) {
    byId(name).hidden = one !== name;
    if (one === name) shown.open(which);
    else shown.close();
  }
  if (one !== null) return scrollTo(0, 0);
  draw();
  if (what === "find") tasks.find(decoded(which));
  else tasks.renew();
}

function decoded(written) {
  try {
    return decodeURIComponent(written);
  } catch {
    return written; // by hand: `100%`
  }
}

document.addEventListener("keydown", (event) => {
  if (byId("ask").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (writing) event.target.blur();
    else location.hash = "#/";
  } else if (!writing && event.key === "/") {
    event.preventDefault();
    if (byId("overview").hidden) location.hash = "#/";
    byId("overview").hidden = false;
    byId("search").focus();
  } else if (!writing && event.key === "j") tasks.move(1);
  else if (!writing && event.key === "k") tasks.move(-1);
});

addEventListener("hashchange", route);
setInterval(() => { if (!document.hidden && feed.isCurrent) draw(); }, 1000); // times go on though nothing changes
askWhatIsAllowed();
route();
feed.run();
new Charts().run();
lists.run();
