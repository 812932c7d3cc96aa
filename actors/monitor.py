"""The monitor: an actor that asks a pool for a snapshot once a second and keeps what it shows over time.

It is a guest of the pool like any client: when it is away nothing is lost, and it costs the supervisor one answer a
second. It carries snapshots to `core.telling.gathering` and decides nothing. What it shows is put together in its own
thread and handed to any other as objects that are not changed any more.
"""

from __future__ import annotations

import gzip
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pykka

from ..transport import clock
from ..transport.client import Client
from ..transport.keys import Home
from ..transport.mailbox import Mailbox
from ..workers.errors import WorkerHostError
from .core.telling import health
from .core.telling.gathering import POINT_SECONDS, Gathering, Point
from .log import Log
from .metrics import Metrics
from .monitor_file import MonitorFile
from .notifying import LOG, Destinations, Notifier

LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_WRITE_SECONDS: Final = 60.0
_STOP_SECONDS_MAX: Final = 10.0
_SCRAPED_SECONDS: Final = 60.0
"""A page that was asked for lately is made ahead of the next question, so that it is answered at once."""

log = Log("monitor")


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What a monitor is started with.

    Attributes:
        address: The pool's; None: as a client finds it.
        home: The folder in which it keeps its windows; None: that of this user.
        destinations: Who is told of alerts.
    """

    address: str | None = None
    home: Path | None = None
    destinations: Destinations = lambda _node: (LOG,)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is shown, as of one moment.

    Attributes:
        snapshot: The latest; {} before the first.
        heard: When it came, by `clock.now`; None before the first.
        heard_at: The same by the wall clock.
        problem: Why nothing newer is heard, or "".
        windows: See `Gathering.windows`.
        points: See `Gathering.points`.
        empty_in: Seconds until nothing is queued at this rate.
    """

    snapshot: dict[str, Any]
    heard: float | None = None
    heard_at: float | None = None
    problem: str = "the monitor has just started"
    windows: dict[str, Any] | None = None
    points: tuple[Point, ...] = ()
    empty_in: float | None = None


class Board:
    """Where the monitor's thread puts up what is shown, and any thread reads it.

    Attributes:
        seen: The latest.
    """

    def __init__(self) -> None:
        self.seen = Seen({})
        self._metrics = Metrics()
        self._page: tuple[Seen, bytes, bytes] | None = None  # of what it was made, it, and it compressed
        self._scraped = clock.now() - _SCRAPED_SECONDS
        self._making = threading.Lock()  # a page goes by the one before

    def put(self, seen: Seen) -> None:
        """Something newer; `/metrics` is made of it at once, as long as somebody asks for that."""
        self.seen = seen
        if clock.now() - self._scraped < _SCRAPED_SECONDS:
            self._make(seen)

    def page(self, *, compressed: bool = False) -> bytes:
        """The page `/metrics`, as it is or compressed with gzip."""
        self._scraped = clock.now()
        seen, page = self.seen, self._page
        made = page if page is not None and page[0] is seen else self._make(seen)
        return made[2] if compressed else made[1]

    def health(self) -> dict[str, Any]:
        """Whether the monitor hears the pool."""
        seen = self.seen
        silent = None if seen.heard is None else clock.now() - seen.heard
        return health.of_monitor(silent, seen.problem)

    def _make(self, seen: Seen) -> tuple[Seen, bytes, bytes]:
        with self._making:
            body = self._metrics.page(seen.snapshot, heard=self.health()["ok"])
        made = self._page = seen, body, gzip.compress(body, compresslevel=1, mtime=0)
        return made


class MonitorActor(pykka.ThreadingActor):
    """Asks, keeps, shows."""

    use_daemon_thread = True
    _create_actor_inbox = staticmethod(Mailbox)

    def __init__(self, settings: MonitorSettings, board: Board) -> None:
        super().__init__()
        self._inbox: Mailbox = self.actor_inbox  # pyright: ignore[reportAttributeAccessIssue]  # made by the factory
        self._client = Client.observer(settings.address, timeout=_ANSWER_SECONDS)
        home = settings.home or Home.of(os.environ).folder
        self._file = MonitorFile(home, self._client.address)
        self._gathering = Gathering()
        self._board = board
        self._notifier = Notifier(settings.destinations)
        self._next = self._written = clock.now()

    def on_start(self) -> None:
        """Go on from the file."""
        try:
            self._gathering = self._file.read() or self._gathering
        except ValueError as error:
            log.warning("monitor_file_broken", reason=str(error))
        self._file.tidy()
        self._inbox.wake_at(self._next)

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 -- nobody tells it anything, it is time that has come
        """Look at the pool, if it is time."""
        now = clock.now()
        if now >= self._next:
            self._look()
            self._next = max(self._next + LOOK_SECONDS, clock.now())
        if now - self._written >= _WRITE_SECONDS:
            self._write()
        self._inbox.wake_at(self._next)

    def on_stop(self) -> None:
        """Keep what is known."""
        self._write()
        self._notifier.stop()
        self._client.close()

    def _look(self) -> None:
        before = self._board.seen
        try:
            snapshot = self._client.snapshot()
        except WorkerHostError as error:
            if not before.problem:
                log.warning("supervisor_unheard", error=str(error))
            self._board.put(replace(before, problem=str(error), empty_in=None))
            return
        try:
            self._take(snapshot)
            if before.problem and before.heard is not None:
                log.info("supervisor_heard_again", epoch=snapshot["epoch"])
        except Exception as error:  # of a supervisor of another version, perhaps; one of ours may follow it
            problem = f"its snapshot cannot be read ({type(error).__name__}: {error}); is it of another version?"
            if before.problem != problem:
                log.error("snapshot_unread", error=problem)
            self._board.put(replace(before, problem=problem, empty_in=None))

    def _take(self, snapshot: dict[str, Any]) -> None:
        """Add it to what is kept, show it, have be told what is news in it."""
        gathering = self._gathering
        gathering.take(snapshot)
        found = Seen(
            snapshot,
            heard=clock.now(),
            heard_at=snapshot["wall"],
            problem="",
            windows=gathering.windows(),
            points=tuple(gathering.points),
            empty_in=gathering.growth("5m").empty_in(snapshot["pool"]["queued"]),
        )
        self._board.put(found)
        self._tell()

    def _tell(self) -> None:
        """Have what is news be told."""
        news, self._gathering.news = self._gathering.news, []
        for event, alert in news:
            self._notifier.tell({"event": event, "pool": self._client.address, **alert})

    def _write(self) -> None:
        self._written = clock.now()
        try:
            self._file.write(self._gathering)
        except OSError as error:
            log.warning("monitor_file_unwritten", path=str(self._file.path), error=error.strerror or str(error))


class Monitor:
    """A running monitor, held by whoever started it. Every question is answered at once, in any thread.

    What is returned is not changed afterwards.
    """

    def __init__(self, ref: pykka.ActorRef[MonitorActor], board: Board) -> None:
        self._ref, self._board = ref, board

    @classmethod
    def start(cls, settings: MonitorSettings) -> Monitor:
        """Start one; it need not find the pool at once.

        Raises:
            ConfigError: The address is malformed, or this machine has no identity for it.
        """
        board = Board()
        return cls(MonitorActor.start(settings, board), board)

    def stop(self) -> None:
        """Keep what is known and end; returns when it has, or when that takes too long: then it is left behind."""
        if not self._ref.is_alive():
            return
        try:
            self._ref.stop(block=True, timeout=_STOP_SECONDS_MAX)
        except pykka.Timeout:  # it holds nothing that the pool needs, and its thread keeps no process alive
            log.warning("monitor_stuck", seconds=_STOP_SECONDS_MAX)

    def metrics(self, *, compressed: bool = False) -> bytes:
        """The page `/metrics`, in the text format of Prometheus, or that with gzip; made once for each snapshot."""
        return self._board.page(compressed=compressed)

    def health(self) -> dict[str, Any]:
        """Whether the monitor hears the pool: `ok`, and where it is false `reason`."""
        return self._board.health()

    def ready(self) -> dict[str, Any]:
        """Whether the pool takes tasks: as `health`."""
        seen = self._board.seen
        return health.of_pool(seen.snapshot, self._board.health())

    def worker_health(self, type: str) -> dict[str, Any] | None:
        """Whether a node of the tree can do its work: as `health`, with `hosts`, `breaker`, `success`; None: no such
        node.
        """
        seen = self._board.seen
        figures = (seen.windows or {}).get("5m", {}).get("nodes", {}).get(type, {})
        return health.of_node(seen.snapshot, type, figures, self._board.health())

    def view(self) -> dict[str, Any]:
        """The pool as it is, and over time.

        Returns:
            `heard`: the instant of the latest snapshot, or None; `problem`: why nothing newer is heard, or "";
            `snapshot`; `windows`: {"1m", "5m", "1h": {`pool`: figures, `nodes`: {type: figures}, `hosts`: {name:
            figures}}}, those in which something happened; `objectives`, `alerts`: as the snapshot has them;
            `empty_in`: seconds until nothing is queued at this rate, or None; `oldest`: seconds that the longest
            waiting task waits, or None.
        """
        seen = self._board.seen
        snapshot = seen.snapshot
        oldest = snapshot["pool"]["oldest"] if snapshot else None
        return {
            "heard": seen.heard_at,
            "problem": seen.problem,
            "snapshot": snapshot,
            "windows": seen.windows or {},
            "objectives": snapshot.get("objectives", []),
            "alerts": snapshot.get("alerts", []),
            "empty_in": seen.empty_in,
            "oldest": None if oldest is None else max(0.0, snapshot["wall"] - oldest),
        }

    def history(self, seconds: float) -> dict[str, Any]:
        """The pool over the last `seconds`, an hour at most: columns of equal length, oldest first.

        Returns:
            `step` (seconds between points), `at` (instants), `completed`, `failed` (per second), `queued`, `running`,
            `duration_p95` (seconds; None where no task ended).
        """
        points = self._board.seen.points
        shown = [point for point in points if point.at > points[-1].at - seconds] if points else []
        columns: dict[str, Any] = {name: [point[place] for point in shown] for place, name in enumerate(Point._fields)}
        return {"step": POINT_SECONDS, **columns}
