"""Breaks a supervisor or a host at one point, as soon as a file exists. Python imports this at its start, by way of
PYTHONPATH.

`FAILPOINT=POINT:FILE` says where. Processes that are neither, or not of the kind that has the point, are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

SUPERVISOR_POINTS: Final = (
    "at_start",
    "before_commit",
    "after_commit",
    "between_sends",
    "before_grant",
    "in_turn",
    "exit_in_turn",
    "hangs_in_turn",
    "in_migration",
    "wall_clock",
    "before_firing_commit",
    "after_firing_commit",
)
HOST_POINTS: Final = ("host_at_start", "host_in_turn", "host_exit_in_turn", "level_dies", "level_dies_once")


def die() -> None:
    """As by `kill -9`, at this very place."""
    os.kill(os.getpid(), signal.SIGKILL)


def break_turns(point: str, file: Path) -> None:
    """Within a turn of the supervisor, around its commit, or while it speaks."""
    from workerhost.actors.core.pool import Pool
    from workerhost.actors.stores.sqlite import SqliteStore
    from workerhost.transport.codec import decode
    from workerhost.transport.messages import Admin, Submit, Tasks
    from workerhost.transport.zmq_link import ZmqServerLink

    handle, commit, send = Pool.handle, SqliteStore.commit, ZmqServerLink.send
    reached = [False]

    def broken_handle(self: Pool, batch: Any, *arguments: Any, **named: Any) -> Any:
        news = list(batch)
        if file.exists() and (point == "in_turn" or any(isinstance(item[2], Submit | Admin) for item in news)):
            reached[0] = True
            if point == "in_turn":
                raise RuntimeError("a bug within a turn")
            if point == "exit_in_turn":
                raise SystemExit(3)
            if point == "hangs_in_turn":
                file.with_suffix(".reached").touch()
                threading.Event().wait()
        return handle(self, news, *arguments, **named)

    def broken_commit(self: SqliteStore) -> None:
        if reached[0] and point == "before_commit":
            die()
        commit(self)
        if reached[0] and point == "after_commit":
            die()

    def broken_send(self: ZmqServerLink, peer: bytes, body: bytes) -> bool:
        if point == "before_grant" and file.exists() and isinstance(decode(body)[1], Tasks):
            die()
        sent = send(self, peer, body)
        if reached[0] and point == "between_sends":
            die()
        return sent

    Pool.handle = broken_handle
    SqliteStore.commit = broken_commit
    ZmqServerLink.send = broken_send


def break_firings(point: str, file: Path) -> None:
    """Around the commit of a turn in which a schedule has sent a task."""
    from workerhost.actors.core.tasks.firings import Firings
    from workerhost.actors.stores.sqlite import SqliteStore

    firings: Any = Firings  # whose method is given another
    fire, commit = firings._fire, SqliteStore.commit
    reached = [False]

    def broken_fire(self: Firings, *arguments: Any) -> int:
        sent = fire(self, *arguments)
        reached[0] = reached[0] or (sent > 0 and file.exists())
        return sent

    def broken_commit(self: SqliteStore) -> None:
        if reached[0] and point == "before_firing_commit":
            die()
        commit(self)
        if reached[0]:
            die()

    firings._fire = broken_fire
    SqliteStore.commit = broken_commit


def break_start(_point: str, file: Path) -> None:
    """While the supervisor starts."""
    from workerhost.actors import supervisor

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug at the start")

    if file.exists():
        supervisor.perform = broken


def break_migration(_point: str, file: Path) -> None:
    """Between two statements of a migration."""
    from workerhost.actors.stores import schema

    additions = schema.additions

    def broken(*arguments: Any) -> Iterator[str]:
        yield "create table half_way(id integer)"
        if file.exists():
            die()
        yield "drop table half_way"
        yield from additions(*arguments)

    schema.additions = broken


def move_wall_clock(_point: str, file: Path) -> None:
    """By as many seconds as the file says."""
    from workerhost.transport import clock

    wall = clock.wall

    def moved() -> float:
        try:
            return wall() + float(file.read_text() or 0)
        except (OSError, ValueError):
            return wall()

    clock.wall = moved


def break_host(point: str, file: Path) -> None:
    """At a host's start, or when it hears something."""
    from workerhost.actors.core.host import hosting

    core: Any = hosting.HostCore  # whose methods are given others
    start, hear = core.start, core.on_message

    def broken_start(self: Any, *arguments: Any) -> None:
        if file.exists() and point == "host_at_start":
            raise RuntimeError("a bug at the start")
        start(self, *arguments)

    def broken_hear(self: Any, *arguments: Any) -> None:
        if file.exists() and point != "host_at_start":
            raise RuntimeError("a bug within a turn") if point == "host_in_turn" else SystemExit(3)
        hear(self, *arguments)

    core.start = broken_start
    core.on_message = broken_hear


def break_levels(point: str, file: Path) -> None:
    """A level actor dies of what it is told, or each one does, again and again."""
    from workerhost.actors import levels

    actor: Any = levels.LevelActor  # whose method is given another
    heed = actor._heed

    def broken(self: Any, *arguments: Any) -> None:
        if file.exists():
            if point == "level_dies_once":
                file.unlink()
            raise SystemExit(3)
        heed(self, *arguments)

    actor._heed = broken


BREAKS: Final[dict[str, Callable[[str, Path], None]]] = {
    **dict.fromkeys(SUPERVISOR_POINTS, break_turns),
    "at_start": break_start,
    "in_migration": break_migration,
    "wall_clock": move_wall_clock,
    **dict.fromkeys(("before_firing_commit", "after_firing_commit"), break_firings),
    **dict.fromkeys(HOST_POINTS, break_host),
    **dict.fromkeys(("level_dies", "level_dies_once"), break_levels),
}

if "FAILPOINT" in os.environ:
    _point, _, _file = os.environ["FAILPOINT"].partition(":")
    if ("host" if _point in HOST_POINTS else "supervisor") in sys.orig_argv:
        BREAKS[_point](_point, Path(_file))
