"""`demo`: the main job, for people to see. A pool works through a folder of media, and a host is killed on the way.

A supervisor and two hosts run as processes of their own; the tasks are those of the media workers; what the killed host
ran is rescued and done by the other; at the end stands a report in one HTML file.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ..workers.errors import ConfigError, WorkerHostError, plain
from . import documents, progress, tables
from .demo_media import MediaFound, look_at, media_below, tasks_of
from .demo_pool import DemoPool
from .demo_report import duration_text, write_report
from .demo_run import LOST, Attempt, Killed, Line, Run
from .demo_screen import HostView, Screen, screen
from .exits import FAILED, OK, UsageError, say

if TYPE_CHECKING:
    from ..transport.handle import Batch

PLACE: Final = Path("workerhost-demo")
"""Below the current folder: the clips that are made, and the report."""

HOSTS: Final = ("host-1", "host-2")
VICTIM: Final = "host-2"
SLOTS_MAX: Final = 4

GLANCE_SECONDS: Final = 0.04
"""Between two looks at the pool: short beside a task, so that the kill meets one that runs."""


def run(folder: Path | None, as_json: bool) -> int:
    """Do it all.

    Args:
        folder: The media files; None: clips are made first.
        as_json: End with one line of JSON on stdout; everything else goes to stderr.

    Returns:
        The exit code: 0 if every task of a readable file completed exactly once.
    """
    if find_spec("av") is None or find_spec("PIL") is None:
        raise ConfigError("the demonstration needs PyAV and Pillow: pip install 'workerhost[media]'")
    # A SIGTERM ends it like Ctrl-C: in order, with nothing left behind.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        files = _files(folder)
        PLACE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="workerhost-demo-") as temporary:
            done = _work(files, folder or PLACE / "clips", Path(temporary))
            report = (PLACE / "report.html").absolute()
            write_report(done, report)
    finally:
        signal.signal(signal.SIGTERM, before)
    _print(done, report, as_json)
    readable = {file.name for file in files if file.readable}
    return OK if all(_done_once(line) for line in done.lines if line.file in readable) else FAILED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _files(folder: Path | None) -> list[MediaFound]:
    """The media files, made where none are given."""
    if folder is None:
        from .demo_clips import CLIPS, encode_clips

        folder = PLACE / "clips"
        with progress.bar("encoding clips", len(CLIPS) + 1) as bar:
            paths = sorted(encode_clips(folder, lambda done, _total, name: bar.update(done, name)))
    elif not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    else:
        paths = media_below(folder)
        if not paths:
            raise UsageError(f"{folder}: no media files below it; without FOLDER the demonstration makes its own")
    found: list[MediaFound] = []
    with progress.bar("looking at the files", len(paths)) as bar:
        for path in paths:
            found.append(look_at(path.absolute(), folder))
            bar.update(len(found), found[-1].name)
    return found


def _work(files: Sequence[MediaFound], folder: Path, temporary: Path) -> Run:
    """Start the pool, send everything, kill a host, wait, collect."""
    (temporary / "pictures").mkdir()
    (temporary / "pool").mkdir()
    slots = max(1, min(SLOTS_MAX, (os.cpu_count() or 1) // len(HOSTS)))
    tasks = tasks_of(files, temporary / "pictures")
    total = sum(map(len, tasks.values()))
    say(f"starting a supervisor and {len(HOSTS)} hosts with {slots} slot{'s' if slots > 1 else ''} each")
    with DemoPool(temporary / "pool", HOSTS, slots) as pool, screen(total, HOSTS) as shown:
        shown.say(f"{len(HOSTS)} hosts joined {pool.address}; sending {total} tasks for {len(files)} files")
        began, started = time.time(), time.monotonic()
        batches = {type: pool.client.send_many(type, [params for _, params in items]) for type, items in tasks.items()}
        labels = {
            handle.id: f"{type.partition('.')[2]} of {file.name}"
            for type, items in tasks.items()
            for (file, _), handle in zip(items, batches[type], strict=True)
        }
        watch = _Watch(pool, shown, list(batches.values()), labels, began)
        watch.until_all_ended()
        seconds = time.monotonic() - started
        lines = [
            _line(pool, file, type, handle.id, value, began)
            for type, items in tasks.items()
            for (file, _), handle, value in zip(
                items, batches[type], batches[type].results(return_exceptions=True), strict=True
            )
        ]
    return Run(
        folder=str(folder.absolute()),
        began=datetime.fromtimestamp(began, UTC).astimezone(),
        seconds=seconds,
        hosts=dict.fromkeys(HOSTS, slots),
        lines=tuple(lines),
        killed=watch.killed,
    )


class _Watch:
    """Looks at the pool until all is done: shows it, kills the victim half-way, tells of the rescue."""

    def __init__(
        self, pool: DemoPool, shown: Screen, batches: list[Batch], labels: dict[int, str], began: float
    ) -> None:
        self._pool, self._screen, self._batches, self._labels, self._began = pool, shown, batches, labels, began
        self.killed: Killed | None = None
        self._left_behind: dict[int, str] = {}

    def until_all_ended(self) -> None:
        """Return when every task has ended."""
        total = len(self._labels)
        while (done := self._done()) < total:
            hosts = self._pool.hosts()
            self._screen.show(done, [self._view(name, hosts.get(name)) for name in HOSTS])
            if self.killed is None:
                if done * 2 >= total and hosts[VICTIM]["tasks"]:
                    self._kill(hosts[VICTIM]["tasks"])
            else:
                self._follow(self.killed, hosts)
            time.sleep(GLANCE_SECONDS)
        self._screen.show(total, [self._view(name, None) for name in HOSTS])

    def _done(self) -> int:
        return sum(count for batch in self._batches for state, count in batch.counts.items() if state in _FINAL)

    def _kill(self, tasks: Iterable[dict[str, Any]]) -> None:
        self._pool.kill(VICTIM)
        self.killed = Killed(VICTIM, time.time() - self._began, None)
        self._left_behind = {task["id"]: self._labels[task["id"]] for task in tasks}
        what = ", ".join(f"task {id} ({plain(label)})" for id, label in self._left_behind.items())
        self._screen.say(f"killed {VICTIM} with SIGKILL while it ran {what}")

    def _follow(self, killed: Killed, hosts: dict[str, dict[str, Any]]) -> None:
        """Tell when the supervisor knows, and who takes over."""
        if killed.noticed is None and hosts.get(VICTIM, {"state": "lost"})["state"] == "lost":
            self.killed = killed = Killed(killed.host, killed.at, time.time() - self._began)
            later = (killed.noticed or killed.at) - killed.at
            self._screen.say(f"{VICTIM} is lost, said the supervisor {later:.1f} s later; its tasks are queued again")
        for name, host in hosts.items():
            for task in host["tasks"] if name != VICTIM else ():
                if label := self._left_behind.pop(task["id"], None):
                    self._screen.say(f"rescued: task {task['id']} ({plain(label)}) runs on {name}")

    def _view(self, name: str, host: dict[str, Any] | None) -> HostView:
        gone = self.killed is not None and self.killed.host == name
        tasks: list[dict[str, Any]] = host["tasks"] if host and not gone else []
        first = self._labels.get(tasks[0]["id"], "") if tasks else ""
        more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
        fraction = sum(task["fraction"] or 0.0 for task in tasks) / len(tasks) if tasks else 0.0
        return HostView(name, gone, plain(first) + more, fraction)


_FINAL: Final = ("completed", "failed", "cancelled", "quarantined")


def _line(pool: DemoPool, file: MediaFound, type: str, id: int, value: Any, began: float) -> Line:
    """All that the pool knows of a task, times counted from the start."""
    shown = pool.client.show(id)
    attempts = tuple(
        Attempt(
            host=item["host"],
            slot=item["slot"] or 0,
            started=max(0.0, (item["started_at"] or began) - began),
            ended=item["ended_at"] - began if item["ended_at"] else None,
            outcome=item["outcome"],
        )
        for item in shown["attempts"]
    )
    failed = isinstance(value, WorkerHostError)
    error = str(getattr(value, "message", "") or value) if failed else ""
    return Line(id, type, file.name, shown["state"], attempts, error, None if failed else value)


def _done_once(line: Line) -> bool:
    return line.state == "completed" and sum(attempt.outcome == "completed" for attempt in line.attempts) == 1


def _print(done: Run, report: Path, as_json: bool) -> None:
    """The table, what it adds up to, and with `--json` that as the last line, alone on stdout."""
    numbers = done.summary()
    out = sys.stderr if as_json else sys.stdout
    lines = tables.table(["FILE", "LENGTH", "LOUDNESS", "DONE", "RAN ON"], _rows(done))
    lines += ["", *(f"failed: task {line.id} ({line.type}): {plain(line.error)}" for line in done.lines if line.error)]
    lines += [
        f"rescued: task {line.id} ({line.type} of {plain(line.file)}), started on "
        + ", again on ".join(attempt.host for attempt in line.attempts)
        for line in done.lines
        if line.rescued
    ]
    counted = ", ".join(f"{value} {name}" for name, value in numbers.items() if name != "seconds")
    lines += [f"{counted}, {done.seconds:.1f} s", f"report: {report}"]
    print("\n".join(lines), file=out, flush=True)
    if as_json:
        documents.show({**numbers, "report": str(report)})


def _rows(done: Run) -> list[list[Any]]:
    """One row for each file."""
    files: dict[str, list[Line]] = {}
    for line in done.lines:
        files.setdefault(line.file, []).append(line)
    rows: list[list[Any]] = []
    for name, lines in files.items():
        values = {line.type.partition(".")[2]: line.value for line in lines if line.value}
        loudness = values.get("loudness", {}).get("integrated_lufs")
        hosts = sorted({attempt.host for line in lines for attempt in line.attempts if attempt.outcome != LOST})
        complete = sum(line.state == "completed" for line in lines)
        rows.append([
            name,
            duration_text(values.get("probe", {}).get("duration")),
            f"{loudness:.1f} LUFS" if loudness is not None else "",
            f"{complete} of {len(lines)}",
            ", ".join(hosts),
        ])  # fmt: skip
    return rows
