"""What `status`, `hosts`, `types`, `ls` and `show` say to a person, as lines of text. Reads replies, asks nothing."""

from __future__ import annotations

from typing import Any

from ..config.sizes import size_text
from ..workers.errors import plain
from . import documents
from .tables import cut, span, table, width

TEXT_MAX = 2000
OUTPUT_LINES_MAX = 20
"""Of what an attempt wrote; `tail` has the rest."""


def status(reply: dict[str, Any], now: float) -> list[str]:
    """The pool at a glance."""
    about, queue = reply["supervisor"], reply.get("queue", {})
    durable = f"durable: {about.get('durability')}" if about.get("durable") else "NOT durable"
    high = ", higher than it should be" if queue.get("depth_warning") else ""
    facts = {
        "supervisor": "  ".join(
            [
                f"{about.get('address')}",
                f"up {span(about.get('uptime'))}",
                f"pid {about.get('pid')}",
                f"{about.get('version')}",
            ]
        ),
        "queue": f"{durable}  {about.get('database') or 'memory'}",
        "tasks": counts(reply["tasks"]),
        "unfinished": f"{queue.get('unfinished')} of at most {queue.get('max_size')}{high}",
    }
    lines = [cut(f"{name:10}  {plain(text, 500)}") for name, text in facts.items()]
    lines += ["", *(hosts(reply["hosts"], now) or ["no host has joined: workerhost host --join ADDRESS CODE"])]
    notes = [plain(note, 200) for note in reply.get("notes", [])]
    return lines + ([""] + [f"note: {note}" for note in notes] if notes else [])


def counts(tasks: dict[str, int]) -> str:
    """`2 running, 5 queued`: the states that are not empty."""
    return ", ".join(f"{count} {state}" for state, count in tasks.items() if count) or "none"


def hosts(found: list[dict[str, Any]], now: float) -> list[str]:
    """A table of hosts."""
    rows = [
        [
            host["name"], host["state"], host["slots"], host["running"], span(_ago(host.get("since"), now)),
            ", ".join(host.get("types") or host.get("serve") or []) or "all",
        ]
        for host in found
    ]  # fmt: skip
    last = "TYPES" if any("types" in host for host in found) else "SERVES"
    return table(["HOST", "STATE", "SLOTS", "RUNNING", "SINCE", last], rows)


def host_details(found: list[dict[str, Any]]) -> list[str]:
    """What hosts run, and what is wrong with them."""
    lines: list[str] = []
    rows = [
        [host["name"], task["id"], task["type"], _percent(task.get("fraction")), task.get("note") or ""]
        for host in found
        for task in host.get("tasks", [])
    ]
    if rows:
        lines += ["", *table(["HOST", "TASK", "TYPE", "DONE", "NOTE"], rows)]
    levels = [
        [host["name"], type, state, note]
        for host in found
        for type, (state, note) in sorted(host.get("levels", {}).items())
    ]
    if levels:
        lines += ["", *table(["HOST", "LEVEL", "STATE", "NOTE"], levels)]
    for host in found:
        lines += [
            f"{host['name']} cannot run {code}: {plain(why, 300)}" for code, why in host.get("failed", {}).items()
        ]
    return lines


def types(found: list[dict[str, Any]]) -> list[str]:
    """A table of types."""
    rows = [
        [
            item["type"] + (" (paused)" if item.get("paused") else ""),
            item["queued"], item["running"], item["completed"], item["failed"], ", ".join(item.get("hosts", [])),
        ]
        for item in found
    ]  # fmt: skip
    broken = [
        f"{host} cannot run {item['type']}: {plain(why, 300)}"
        for item in found
        for host, why in item.get("broken", {}).items()
    ]
    apart = [
        f"{item['type']} is served from different code: "
        + "; ".join(f"{code} on {', '.join(names)}" for code, names in item["code"].items())
        for item in found
        if len(item.get("code", {})) > 1
    ]
    return table(["TYPE", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "HOSTS"], rows) + broken + apart


def tasks(found: list[dict[str, Any]], now: float) -> list[str]:
    """A table of tasks."""
    rows = [
        [
            task["id"], task["type"], task["state"], task["priority"], task["attempt"],
            span(_ago(task.get("sent_at"), now)), task.get("host"), task.get("error") or _percent(_fraction(task)),
        ]
        for task in found
    ]  # fmt: skip
    return table(["ID", "TYPE", "STATE", "PRIO", "TRY", "AGE", "HOST", "NOTE"], rows)


def task(document: dict[str, Any]) -> list[str]:
    """One task in full."""
    lines = [f"task {document['id']}  {document['type']}  {document['state']}"]
    lines.append(
        f"priority {document['priority']}, attempt {document['attempt']}, {document['failures']} failures, "
        f"{document['crashes']} crashes, {document.get('losses', 0)} hosts lost, {document.get('releases', 0)} releases"
    )
    plain_names = [name for name in ("sent_at", "due", "started_at", "ended_at", "host") if document.get(name)]
    lines += [f"{name.removesuffix('_at'):9} {document[name]}" for name in plain_names]
    json_names = [name for name in ("options", "params", "result") if document.get(name) not in (None, {})]
    lines += [f"{name:9} {plain(documents.line(document[name]), TEXT_MAX)}" for name in json_names]
    progress = document.get("progress")
    if progress:
        lines.append(f"progress  {_percent(progress['fraction'])} {plain(progress['note'], 200)}".rstrip())
    attempts = [
        [
            item["attempt"], item.get("outcome"), item.get("host"), item.get("slot"), item.get("code"),
            item.get("started_at"), span(_duration(item)), _why(item.get("detail")),
        ]
        for item in document["attempts"]
    ]  # fmt: skip
    if attempts:
        lines += [
            "",
            *table(["TRY", "OUTCOME", "HOST", "SLOT", "CODE", "STARTED", "TOOK", "WHY"], attempts, max(width(), 100)),
        ]
    for item in document["attempts"]:
        lines += _last_words(item)
    error = document.get("error")
    if error:
        lines += ["", *_failure(error)]
    return lines


def why(document: dict[str, Any]) -> list[str]:
    """Why a task does not run, what each host says to it, and what it went through."""
    lines = [f"task {document['id']}  {document['type']}  {document['state']}"]
    for reason in document["reasons"]:
        until = f" (until {reason['until']})" if reason.get("until") else ""
        lines.append(f"{plain(reason['text'], TEXT_MAX)}{until}")
    if document["state"] == "queued" and not document["reasons"]:
        lines.append("nothing keeps it: the next claim takes it")
    if document.get("ahead"):
        lines.append(f"{document['ahead']} tasks stand before it")
    rows = [[host["name"], host["says"]] for host in document["hosts"]]
    if rows:
        lines += ["", *table(["HOST", "SAYS"], rows, max(width(), 100))]
    story = [f"{event['at'] or '-':24}  {plain(event['text'], TEXT_MAX)}" for event in document["story"]]
    return [*lines, "", *story]


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


def _duration(attempt: dict[str, Any]) -> float | None:
    started, ended = attempt.get("started_at"), attempt.get("ended_at")
    return documents.instant(ended) - documents.instant(started) if started and ended else None


def _fraction(task: dict[str, Any]) -> float | None:
    progress = task.get("progress")
    return progress[0] if progress else None


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.0%}"


def _ago(instant: float | None, now: float) -> float | None:
    return None if instant is None else max(0.0, now - instant)
