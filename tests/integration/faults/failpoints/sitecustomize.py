"""Breaks a supervisor at one point, as soon as a file exists. Python imports this at its start, by way of PYTHONPATH.

`FAILPOINT=POINT:FILE` says where. Processes that are no supervisor are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

POINTS: Final = ("before_commit", "after_commit", "between_sends", "in_turn", "exit_in_turn")


def _install(point: str, file: Path) -> None:
    from workerhost.actors.core.pool import Pool
    from workerhost.actors.stores.sqlite import SqliteStore
    from workerhost.transport.messages import Submit
    from workerhost.transport.zmq_link import ZmqServerLink

    handle, commit, send = Pool.handle, SqliteStore.commit, ZmqServerLink.send
    reached = [False]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def broken_handle(self: Pool, batch: Any, *arguments: Any, **named: Any) -> Any:
        news = list(batch)
        if file.exists() and (point == "in_turn" or any(isinstance(item[2], Submit) for item in news)):
            reached[0] = True
            if point == "in_turn":
                raise RuntimeError("a bug within a turn")
            if point == "exit_in_turn":
                raise SystemExit(3)
        return handle(self, news, *arguments, **named)

    def broken_commit(self: SqliteStore) -> None:
        if reached[0] and point == "before_commit":
            die()
        commit(self)
        if reached[0] and point == "after_commit":
            die()

    def broken_send(self: ZmqServerLink, peer: bytes, body: bytes) -> bool:
        sent = send(self, peer, body)
        if reached[0] and point == "between_sends":
            die()
        return sent

    Pool.handle = broken_handle
    SqliteStore.commit = broken_commit
    ZmqServerLink.send = broken_send


if "FAILPOINT" in os.environ and "supervisor" in sys.orig_argv:
    _point, _, _file = os.environ["FAILPOINT"].partition(":")
    assert _point in POINTS, _point
    _install(_point, Path(_file))
