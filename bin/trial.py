"""`try`: one task at this very terminal, so that a debugger works and a traceback is whole: in this process, or in the
interpreter that the configuration names for its type. There Python 3.9 and the standard library suffice.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..workers import registry, values
from ..workers.code_place import search_paths, split_code
from ..workers.errors import ConfigError, Release
from ..workers.json_value import json_value
from ..workers.runner import run as run_task
from ..workers.task import Task
from . import documents, progress
from .exits import FAILED, OK, UsageError, report, say


def run(code: str, params: Any, type: str | None, bar_of: Callable[[str, float], progress.Bar] = progress.bar) -> int:
    """Run a worker of CODE once. Its value goes to stdout as JSON, its traceback to stderr.

    Raises:
        ConfigError: CODE cannot be loaded.
        UsageError: It is not clear which worker is meant.
        InvalidTask: The params cannot travel.
    """
    worker = _worker(code, type)
    task = Task(id=1, type=type or registry.type_of(worker) or "try", params=params)
    if inspect.isclass(worker) and registry.says_itself(worker) and not type and not registry.type_of(worker):
        say("this worker names no type, so the task's is `try`; say --type TYPE if it matters")
    with bar_of(task.type, 1.0) as bar:
        try:
            end = run_task(worker, task, on_progress=bar.update, reraise=True)
        except Release as release:
            say(
                f"released: {release.reason or 'no reason given'}"
                + (f" (after {release.after:g} s)" if release.after else "")
            )
            return FAILED
        except Exception as error:
            _show(error)
            return FAILED
    if end.outcome != 0:
        detail = end.detail or {}
        say(f"failed: {detail.get('message') or detail.get('cause') or end.note}")
        return FAILED
    documents.show(json_value(values.unpack(end.body)))
    return OK


def run_asked(asked: dict[str, Any]) -> int:
    """The same in a process of its own, whose exit code this is; `asked`: `code`, `params` and `type`."""
    try:
        return run(asked["code"], asked["params"], asked["type"], _plain_bar)
    except BaseException as error:
        return report(error)


def _plain_bar(what: str, total: float) -> progress.Bar:
    return progress.PlainBar(what, total, sys.stderr)


def _worker(code: str, type: str | None) -> Any:
    paths = search_paths([code], os.environ, os.curdir)
    offer = registry.load(code, paths)
    for reason in offer.failed.values():
        raise ConfigError(reason)
    if type is not None and offer.candidates(type):
        return offer.candidates(type)[0][0]
    workers = [*dict.fromkeys([*offer.types.values(), *offer.any])]
    if len(workers) == 1:
        return workers[0]
    place, _ = split_code(code)
    names = ", ".join(f"{place}:{worker.__qualname__}" for worker in workers)
    message = f"{code} has {len(workers)} workers; name one of {names}"
    raise UsageError(message)


def _show(error: BaseException) -> None:
    """The traceback from the worker's first line on; none if it was raised before that line."""
    ours = str(Path(__file__).parents[1]) + os.sep
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace, file=sys.stderr)
