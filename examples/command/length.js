#!/usr/bin/env node
// A worker in Node.js (nothing to install): one task on stdin, one result on stdout, logs on stderr.
// Types: text.length {"text": TEXT} -> how many characters; text.upper {"text": TEXT} -> the text in capitals.
"use strict";

class Invalid extends Error {} // the task can never succeed

const types = {
  "text.length": (params) => [...textOf(params)].length,
  "text.upper": (params) => textOf(params).toUpperCase(),
};

function textOf({ text = "" }) {
  if (typeof text !== "string") throw new Invalid("params.text is no text");
  return text;
}

function run(document) {
  let task;
  try {
    task = JSON.parse(document);
  } catch (error) {
    throw new Invalid(`the task is not JSON: ${error.message}`);
  }
  if (!Number.isInteger(task?.id)) throw new Invalid("the task has no id");
  if (typeof task.type !== "string") throw new Invalid("the task has no type");
  if (typeof task.params !== "object" || task.params === null) throw new Invalid("the task has no params");
  if (!Object.hasOwn(types, task.type)) throw new Invalid(`no such type here: ${task.type}`);
  console.error(`running ${task.type}`); // stdout is for the result alone
  return types[task.type](task.params);
}

function answer(document, code) {
  process.exitCode = code; // not process.exit(): it would cut off what is still being written
  process.stdout.write(JSON.stringify(document) + "\n");
}

process.on("SIGTERM", () => process.exit(130));
let document = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (piece) => (document += piece));
process.stdin.on("end", () => {
  try {
    answer({ success: true, result: run(document) }, 0);
  } catch (error) {
    const again = !(error instanceof Invalid);
    const said = { type: error.constructor.name, message: error.message, traceback: error.stack, retry_possible: again };
    answer({ success: false, error: said }, again ? 1 : 2);
  }
});
