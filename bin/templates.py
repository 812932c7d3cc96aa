"""What `new` writes: workers of each level, functions, programs in three languages, their tests, a project.

Texts alone; `new` fills in the names. Braces that stay are doubled.
"""

from __future__ import annotations

from typing import Final

MEDIA: Final = '''\
"""Runs the tasks of type {type}, and of types below it that nobody else takes."""

from pathlib import Path

from workerhost import BaseWorker, Fail, Result, Task


class {name}(BaseWorker):
    type = "{type}"

    def can_handle(self, task: Task) -> bool:
        return isinstance(task.params, dict)

    def execute(self, task: Task) -> Result:
        url = task.params.get("url")
        if not url:
            raise Fail("params.url is missing", kind="permanent")  # trying again would not help
        copy = Path(self.workdir) / "copy"  # a folder of this attempt's own, removed when it ends
        copy.write_text(url)
        self.report_progress(0.5, "half way")
        return Result(success=True, data={{"url": copy.read_text()}})
'''
PLATFORM: Final = '''\
"""Runs the tasks of type {type}: one client of the service for all tasks of a slot."""

from workerhost import BaseWorker, Fail, Result, Task


class {name}(BaseWorker):
    type = "{type}"

    def initialize(self) -> None:
        self.client = dict  # make the service's client here: once per slot

    def health_check(self) -> bool:
        return self.client is not None  # False takes the type off this host

    def execute(self, task: Task) -> Result:
        url = task.params.get("url")
        if not url:
            raise Fail("params.url is missing", kind="permanent")
        # What the service says decides: kind="transient" is tried again, "quota" puts all of {type} to sleep,
        # "auth" pauses it until somebody resumes it.
        return Result(success=True, data=self.client(url=url))
'''
ENDPOINT: Final = '''\
"""Runs the tasks of type {type}."""

from workerhost import BaseWorker, Fail, Result, Task


class {name}(BaseWorker):
    type = "{type}"

    def execute(self, task: Task) -> Result:
        url = task.params.get("url")
        if not url:
            raise Fail("params.url is missing")  # trying again would not help
        self.report_progress(0.5, "half way")
        return Result(success=True, data={{"url": url}})
'''
FUNCTION: Final = '''\
"""Runs the tasks of type {type}: a function whose arguments are the params."""

from workerhost import Fail, worker


@worker("{type}")
def {function}(url: str = "") -> dict[str, str]:
    if not url:
        raise Fail("params.url is missing")  # trying again would not help
    return {{"url": url}}
'''
PYTHON: Final = '''\
"""Runs the tasks of type {type} as a program: one task on stdin, one result on stdout, logs on stderr."""

import json
import sys


def failed(message: str) -> None:
    error = {{"type": "Invalid", "message": message, "retry_possible": False}}
    print(json.dumps({{"success": False, "error": error}}))
    sys.exit(2)  # 1: try again


try:
    task = json.loads(sys.stdin.readline())
    kind, params = task["type"], task["params"]
    task["id"]
except (ValueError, KeyError, TypeError) as wrong:
    failed(f"no such task: {{wrong!r}}")
if kind != "{type}" or not params.get("url"):
    failed("params.url is missing")
print("running", file=sys.stderr)
print(json.dumps({{"success": True, "result": {{"url": params["url"]}}}}))
'''
NODE: Final = """\
// Runs the tasks of type {type} as a program: one task on stdin, one result on stdout, logs on stderr.
"use strict";

function answer(document, code) {{
  process.exitCode = code; // not process.exit(): it would cut off what is still being written
  process.stdout.write(JSON.stringify(document) + "\\n");
}}

function failed(message) {{
  answer({{ success: false, error: {{ type: "Invalid", message, retry_possible: false }} }}, 2); // 1: try again
}}

let text = "";
process.on("SIGTERM", () => process.exit(130));
process.stdin.setEncoding("utf8");
process.stdin.on("data", (piece) => (text += piece));
process.stdin.on("end", () => {{
  let task;
  try {{
    task = JSON.parse(text);
  }} catch (wrong) {{
    return failed(`the task is not JSON: ${{wrong.message}}`);
  }}
  if (task?.type !== "{type}" || !Number.isInteger(task.id)) return failed("no such task");
  if (!task.params?.url) return failed("params.url is missing");
  console.error("running");
  answer({{ success: true, result: {{ url: task.params.url }} }}, 0);
}});
"""
BASH: Final = """\
#!/usr/bin/env bash
# Runs the tasks of type {type} as a program (needs jq): one task on stdin, one result on stdout, logs on stderr.

failed() {{ # trying again would not help; with exit code 1 and retry_possible true it is tried again
    jq -nc --arg message "$1" '{{success: false, error: {{type: "Invalid", message: $message, retry_possible: false}}}}'
    exit 2
}}

IFS= read -r task
known='(.id | type) == "number" and .type == "{type}"'
url=$(jq -r "if $known then (.params.url // \\"\\") else error end" <<<"$task" 2>/dev/null) || failed "no such task"
[[ -n $url ]] || failed "params.url is missing"
echo running >&2
jq -nc --arg url "$url" '{{success: true, result: {{url: $url}}}}'
"""
TEST: Final = '''\
"""Tests of the worker for {type}: python -m pytest {test}"""

import pytest
from {module} import {called}

from workerhost import TaskFailed, WorkerHost


@pytest.fixture(scope="module")
def pool():
    with WorkerHost(workers=[{called}]) as running:
        yield running


def test_a_task_is_done(pool):
    handle = pool.client.send("{type}", {{"url": "https://example.org/1"}})
    assert handle.result(timeout=30) == {{"url": "https://example.org/1"}}


def test_a_task_without_a_url_fails_at_once(pool):
    with pytest.raises(TaskFailed, match="params.url is missing") as failed:
        pool.client.send("{type}", {{}}).result(timeout=30)
    assert failed.value.attempts == 1
'''
TEST_OF_PROGRAM: Final = '''\
"""Tests of the program for {type}: python -m pytest {test}"""

from pathlib import Path

import pytest

from workerhost import TaskFailed, WorkerHost


@pytest.fixture(scope="module")
def pool():
    with WorkerHost(Path(__file__).parent / "workerhost.yaml") as running:
        yield running


def test_a_task_is_done(pool):
    handle = pool.client.send("{type}", {{"url": "https://example.org/1"}})
    assert handle.result(timeout=30) == {{"url": "https://example.org/1"}}


def test_a_task_without_a_url_fails_at_once(pool):
    with pytest.raises(TaskFailed, match="params.url is missing") as failed:
        pool.client.send("{type}", {{}}).result(timeout=30)
    assert failed.value.attempts == 1
'''
PROJECT: Final = {
    "tasks.py": '''\
"""The workers of this project."""

from workerhost import BaseWorker, Fail, Result, Task, worker


@worker("page.title")
def title(html: str) -> str:
    start, end = html.find("<title>"), html.find("</title>")
    if start < 0 or end < start:
        raise Fail("there is no title", kind="permanent")
    return html[start + len("<title>") : end].strip()


class Count(BaseWorker):
    type = "page.words"

    def execute(self, task: Task) -> Result:
        words = task.params["text"].split()
        self.report_progress(1, f"{len(words)} words")
        return Result(success=True, data={"words": len(words)})
''',
    "test_tasks.py": '''\
"""python -m pytest"""

import pytest
from tasks import Count, title

from workerhost import TaskFailed, WorkerHost


@pytest.fixture(scope="module")
def pool():
    with WorkerHost(workers=[title, Count]) as running:
        yield running


def test_a_title(pool):
    assert pool.client.send("page.title", {"html": "<title> A </title>"}).result(timeout=30) == "A"
    with pytest.raises(TaskFailed, match="there is no title"):
        pool.client.send("page.title", {"html": ""}).result(timeout=30)


def test_words(pool):
    assert pool.client.send("page.words", {"text": "one two"}).result(timeout=30) == {"words": 2}
''',
    "workerhost.yaml": """\
# One file for both machines: the supervisor reads the tree, each host its own entry.
queue: { database: tasks.db }
defaults: { timeout: 5m, retry: { max_attempts: 3, backoff: exponential } }
workers:
  page: { max_concurrent: 20 } # in the whole pool
  page.title: { class: "tasks:title", timeout: 30s }
  page.words: { class: "tasks:Count", per_host: 4 }
hosts: # by name or pattern
  second: { slots: 2, serve: [page.words] }
""",
    "README.md": """\
# Two machines

On the first, in this folder:

    workerhost up --network
    workerhost invite

On the second, in a copy of this folder, the line that `invite` printed, with a name:

    workerhost host --join workerhost-invite:... --name second -c workerhost.yaml

On the first:

    workerhost send page.title html='<title>Hello</title>' --wait
    workerhost status
    workerhost why 1

A host's invitation lets a machine run tasks, not send them. To send from the second too, type there what this prints on
the first (`export WORKERHOST_ADDRESS=...`):

    workerhost invite --role client

`python -m pytest` runs the tests, without a pool (`pip install pytest` where workerhost is installed).
""",
}
