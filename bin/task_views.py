"""What `ls`, `show` and `why` say to a person, as lines of text. Reads replies, asks nothing."""

from __future__ import annotations

from typing import Any, Final

from ..config.sizes import size_text
from ..workers.errors import plain
from . import documents
from .tables import ago, count, percent, span, table, wrapped

TEXT_MAX = 2000
OUTPUT_LINES_MAX = 20
"""Of what an attempt wrote; `tail` has the rest."""
_STORY_INDENT = 13
_NAMES_MAX = 10
"""Hosts that are named one by one where many say the same."""


def tasks(found: list[dict[str, Any]], now: float) -> list[str]:
    """A table of tasks. A column that says nothing (all of the usual priority, none on a host) is left out."""
    columns = {
        "ID": [task["id"] for task in found],
        "TYPE": [task["type"] for task in found],
        "STATE": [task["state"] for task in found],
        "PRIO": [task["priority"] for task in found],
        "TRY": [task["attempt"] for task in found],
        "AGE": [span(ago(task.get("sent_at"), now)) for task in found],
        "HOST": [task.get("host") or "" for task in found],
        "NOTE": [task.get("error") or percent(_fraction(task)) for task in found],
    }
    shown = [name for name, values in columns.items() if set(values) != _SAYS_NOTHING.get(name)]
    return table(shown, list(zip(*(columns[name] for name in shown), strict=True)))


_SAYS_NOTHING: Final = {"PRIO": {5}, "HOST": {""}, "NOTE": {""}}


def task(document: dict[str, Any]) -> list[str]:
    """One task in full."""
    lines = [f"task {document['id']}  {document['type']}  {document['state']}"]
    lines.append(
        f"priority {document['priority']}, attempt {document['attempt']}, {document['failures']} failures, "
        f"{document['crashes']} crashes, {document.get('losses', 0)} hosts lost, {document.get('releases', 0)} releases"
    )
    plain_names = [
        name for name in ("tenant", "key", "sent_at", "due", "started_at", "ended_at", "host") if document.get(name)
    ]
    lines += [f"{name.removesuffix('_at'):9} {document[name]}" for name in plain_names]
    if "unique_until" in document:
        until = document["unique_until"] or "it has ended"
        lines.append(f"unique    {'as long as the pool keeps it' if until == 'kept' else f'until {until}'}")
    if document.get("answers"):
        lines.append("cached    its result answers for tasks with the same params")
    lines += [f"after     {_edge(edge)}" for edge in document.get("after") or ()]
    codes = dict.fromkeys(item["code"] for item in document["attempts"] if item.get("code"))
    lines += [f"code      {next(iter(codes))}"] if len(codes) == 1 else []
    json_names = [name for name in ("requires", "options", "params", "result") if document.get(name) not in (None, {})]
    lines += [f"{name:9} {plain(documents.line(document[name]), TEXT_MAX)}" for name in json_names]
    progress = document.get("progress")
    if progress:
        lines.append(f"progress  {percent(progress['fraction'])} {plain(progress['note'], 200)}".rstrip())
    lines += _attempts(document, with_code=len(codes) > 1)
    if left_out := document.get("attempts_left_out"):
        lines.append(f"{count(left_out, 'attempt')} left out, between the first and the latest")
    for item in document["attempts"]:
        lines += _last_words(item)
    error = document.get("error")
    if error:
        lines += ["", *_failure(error)]
    return lines


def _edge(edge: dict[str, Any]) -> str:
    """A task that another comes after, and what becomes of that one if it ends badly."""
    state = edge["state"] or "not kept any more"
    then = "" if edge["met"] else f"; if it does not complete: {edge['on_failure']}"
    return f"{edge['id']} ({state}{then})"


def _attempts(document: dict[str, Any], *, with_code: bool) -> list[str]:
    """A table of attempts. When they began is told from when the task was sent."""
    sent, attempts = document.get("sent_at"), document["attempts"]
    rows = [
        [
            item["attempt"], item.get("outcome"), item.get("host"), item.get("slot"),
            *([item.get("code")] if with_code else []),
            _between(sent, item.get("started_at")), _took(item), _why(item.get("detail")),
        ]
        for item in attempts
    ]  # fmt: skip
    code = ["CODE"] if with_code else []
    return ["", *table(["TRY", "OUTCOME", "HOST", "SLOT", *code, "BEGAN", "TOOK", "WHY"], rows)] if rows else []


def why(document: dict[str, Any]) -> list[str]:
    """Why a task does not run, what each host says to it, and what it went through."""
    lines = [f"task {document['id']}  {document['type']}  {document['state']}"]
    for reason in document["reasons"]:
        until = f" (until {reason['until']})" if reason.get("until") else ""
        lines += wrapped("", f"{plain(reason['text'], TEXT_MAX)}{until}", indent=0)
    if document["state"] == "queued" and not document["reasons"]:
        lines.append("nothing keeps it: the next claim takes it")
    if document.get("ahead"):
        stand = "stands" if document["ahead"] == 1 else "stand"
        lines.append(f"{count(document['ahead'], 'task')} {stand} before it")
    said: dict[str, list[str]] = {}
    for host in document["hosts"]:
        said.setdefault(host["says"], []).append(host["name"])
    if said:
        # A hundred hosts mostly say the same: each answer once, with who gives it.
        lines.append("")
        for text, names in said.items():
            more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
            lines += wrapped("", f"{text}: {', '.join(names[:_NAMES_MAX])}{more}", indent=0)
    return [*lines, "", *_story(document["story"])]


def _story(events: list[dict[str, Any]]) -> list[str]:
    """What a task went through: the day and time of the first event, and how long after it the others came."""
    first = next((event["at"] for event in events if event["at"]), None)
    lines = [f"{first}"] if first else []
    for event in events:
        lines += wrapped(f"{_between(first, event['at']):>11}", event["text"], indent=_STORY_INDENT)
    return lines


def _last_words(attempt: dict[str, Any]) -> list[str]:
    """What is left of an attempt that did not end well: what its process used at the most, and its last lines."""
    detail: dict[str, Any] = attempt.get("detail") or {}
    output = str(detail.get("output") or "").splitlines()[-OUTPUT_LINES_MAX:]
    facts = [f"peak memory {size_text(detail['memory'])}"] if detail.get("memory") else []
    facts += ["the last that it wrote:"] if output else []
    if attempt.get("outcome") == "completed" or not facts:
        return []
    return ["", f"attempt {attempt['attempt']}: {', '.join(facts)}", *(f"  {plain(line, 500)}" for line in output)]


def _failure(error: dict[str, Any]) -> list[str]:
    trace = str(error.get("traceback") or "")
    if trace:
        return [plain(line, 500) for line in trace.rstrip().splitlines()]
    return [f"error: {plain(_why(error), TEXT_MAX)}"]


def _why(detail: dict[str, Any] | None) -> str:
    if not detail:
        return ""
    said = str(detail.get("message") or detail.get("reason") or detail.get("cause") or "")
    parts = [str(detail["error_type"])] if detail.get("error_type") else []
    parts += [said] if said else []
    for name in ("signal", "exit_code", "kind"):
        if detail.get(name) is not None and (words := f"{name.replace('_', ' ')} {detail[name]}") not in said:
            parts.append(words)
    return ": ".join(parts)


def _took(attempt: dict[str, Any]) -> str:
    started, ended = attempt.get("started_at"), attempt.get("ended_at")
    return span(documents.instant(ended) - documents.instant(started)) if started and ended else "-"


def _between(first: str | None, then: str | None) -> str:
    """`+1.2s`: how long after another instant."""
    return f"+{span(documents.instant(then) - documents.instant(first))}" if first and then else "-"


def _fraction(task: dict[str, Any]) -> float | None:
    progress = task.get("progress")
    return progress[0] if progress else None
