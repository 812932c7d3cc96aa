"""Tasks that are run once more by hand: which of them may be, and what they wait for.

A task with a key runs once more only if no newer one has its key by now: else there would be two. One whose newer has
given the key free takes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....transport.messages import Admin, Reply
from ..effects import Consult, Fetch, Matching
from ..flows.edges import Unmet
from ..flows.flows import Flows
from ..queue import Queue
from ..rows import COMPLETED, FINAL, Row
from ..step import Peer, Step
from ..where import mean
from .intake import digest_of, holds_key


class Retries:
    """The verb `retry` of ADMIN."""

    def __init__(self, queue: Queue, flows: Flows) -> None:
        self._queue, self._flows = queue, flows

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """Run tasks once more that ended badly; the store has them."""
        mean(step, peer, message, "again", FINAL - {COMPLETED})

    def fetched(self, step: Step, need: Fetch | Matching, rows: dict[int, Row]) -> None:
        """The rows of tasks to run once more are known; more must be, of those with a key and those of flows."""
        peer, request, answer = need.context
        keyed: list[tuple[int, str]] = []
        bound: list[Row] = []
        retried: list[int] = []
        for row in rows.values():
            if row.options and "key" in row.options:
                if row.state in FINAL and row.state != COMPLETED:
                    keyed.append((row.id, row.options["key"]))
            elif self._flows.binds(row):
                bound.append(row)
            elif self._queue.again(step, row):
                retried.append(row.id)
        reply: dict[str, Any] = {"retried": retried, **answer}
        if keyed:
            ids = tuple(id for id, _ in keyed)
            context = peer, request, reply, bound
            step.needs.append(Consult((), ids, "again", context, bearers=tuple(keyed)))
        else:
            self._go_on(step, peer, request, reply, bound)

    def consulted(self, step: Step, need: Consult, found: Sequence[Any]) -> None:
        """Which tasks have the keys of those to run once more."""
        peer, request, reply, bound = need.context
        rows: dict[int, Row] = {}
        names: dict[int, tuple[str, str, str]] = {}
        bearers: dict[tuple[str, str, str], tuple[Row, float]] = {}
        for asked, until, _, columns in found:
            row = Row(*columns)
            if isinstance(asked, int):
                rows[asked] = row
            else:
                id, *name = asked
                names[id] = owner, type, key = tuple(name)
                bearers[owner, type, key] = row, until
        superseded: list[list[int]] = []
        # Who has a key goes first: what it was given up for is older.
        for id in sorted(rows, key=lambda task: task not in names or bearers[names[task]][0].id != task):
            row, name = rows[id], names.get(id)
            bearer, until = bearers[name] if name else (row, 0.0)
            if bearer.id != id and holds_key(bearer.state, until, step.wall):
                superseded.append([id, bearer.id])
            elif self._queue.again(step, row):
                reply["retried"].append(id)
                if name and bearer.id != id:
                    step.persist.keys.append((id, *name, 0.0, digest_of(row.params)))
                if name:
                    bearers[name] = row, until
        if superseded:
            reply["superseded"] = superseded
        self._go_on(step, peer, request, reply, bound)

    def unmet(self, step: Step, need: Unmet, rows: list[Any]) -> None:
        """What those that come after others still wait for is known."""
        peer, request, reply = need.context
        reply["retried"] += self._flows.retried(step, rows)
        step.say(peer, Reply(request, True, reply))

    def _go_on(self, step: Step, peer: Peer, request: int, reply: dict[str, Any], bound: list[Row]) -> None:
        if bound:
            self._flows.retry(step, peer, bound, (peer, request, reply))
        else:
            step.say(peer, Reply(request, True, reply))
