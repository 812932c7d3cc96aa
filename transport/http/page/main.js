// Puts the page together: which part is shown, what the stream changes, and the keys.

import { isAllowed, takeToken } from "./api.js";
import { Charts } from "./charts.js";
import { byId } from "./dom.js";
import { Feed } from "./feed.js";
import { Hosts } from "./hosts.js";
import { allow } from "./orders.js";
import { Summary } from "./summary.js";
import { TaskPage } from "./task.js";
import { Tasks } from "./tasks.js";
import { Tree } from "./tree.js";

takeToken();

const summary = new Summary(), tree = new Tree(), hosts = new Hosts(), tasks = new Tasks(), page = new TaskPage();
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
}

const feed = new Feed((document) => {
  pool = document;
  draw();
  if (pool.tasks) tasks.show(pool);
}, (lost) => summary.linked(lost));

/** The address says what is shown: `#/` the pool, `#/task/12` a task, `#/type/video` the tasks of a type. */
function route() {
  takeToken();
  const [, what, which] = /^#\/(task|type)\/(.+)$/.exec(location.hash) ?? [];
  const one = what === "task" && /^\d{1,18}$/.test(which);
  byId("overview").hidden = one;
  byId("task").hidden = !one;
  if (one) {
    page.open(which);
    scrollTo(0, 0);
  } else {
    page.close();
    draw();
    if (what === "type") tasks.of(which);
    else tasks.renew();
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
setInterval(() => { if (!document.hidden && feed.lost === null) draw(); }, 1000); // times go on though nothing changes
isAllowed().then(allow, () => allow(false));
route();
feed.run();
new Charts().run();
