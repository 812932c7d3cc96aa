#!/usr/bin/env python3
"""A worker in plain Python (3.6 or newer, nothing to install): one task on stdin, one result on stdout.

Types: text.length {"text": TEXT} -> how many characters; text.words {"text": TEXT} -> how many words.
"""

import json
import signal
import sys


class Invalid(Exception):
    """The task can never succeed."""


def length(params):
    return len(text_of(params))


def words(params):
    print("counting words", file=sys.stderr)  # stdout is for the result alone
    return len(text_of(params).split())


def text_of(params):
    text = params.get("text", "")
    if not isinstance(text, str):
        raise Invalid("params.text is no text")
    return text


TYPES = {"text.length": length, "text.words": words}


def run(document):
    try:
        task = json.loads(document.decode("utf-8"))
    except ValueError as error:
        raise Invalid(f"the task is not JSON: {error}") from None
    if not isinstance(task, dict):
        raise Invalid("the task is no JSON object")
    for name, kind in (("id", int), ("type", str), ("params", dict)):
        if not isinstance(task.get(name), kind):
            raise Invalid(f"the task has no {name}")
    if task["type"] not in TYPES:
        raise Invalid(f"no such type here: {task['type']}")
    return TYPES[task["type"]](task["params"])


def answer(document, code):
    print(json.dumps(document))
    sys.exit(code)


def failed(error, code, again):
    answer(
        {"success": False, "error": {"type": type(error).__name__, "message": str(error), "retry_possible": again}},
        code,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(130))
    try:
        result = run(sys.stdin.buffer.read())
    except Invalid as error:
        failed(error, 2, False)
    except Exception as error:
        failed(error, 1, True)
    else:
        answer({"success": True, "result": result}, 0)
