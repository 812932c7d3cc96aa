"""Tasks that are run once more by hand: which of them may be, and what they wait for.

A task with a key runs once more only if no newer one has its key by now: else there would be two. One whose newer has
given the key free takes it back. What runs once more is unfinished again, so there must be room as for new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....transport.messages import Admin, Reply
from ..effects import Consult, Fetch, Matching
from ..flows.edges import Unmet
from ..flows.flows import Flows
from ..queue import Queue
from ..rows import COMPLETED, FINAL, Row
from ..step import Peer, Step
from ..unfit import Unfit
from ..where import mean
from .intake import Name, digest_again, holds_key


@dataclass(slots=True)
class _Order:
    """An order to run tasks once more, while what must be known of them is looked up.

    Attributes:
        peer: Who ordered it.
        request: Under which number.
        reply: What it is answered, so far.
        promised: How many tasks there is room for that do not run once more yet.
        bound: Tasks that come after others or belong to a flow.
        names: What those of them are called that take their keys back.
        taking: What those of them are called that have a key, or take it back.
    """

    peer: Peer
    request: int
    reply: dict[str, Any]
    promised: int = 0
    bound: list[Row] = field(default_factory=list)
    names: dict[int, Name] = field(default_factory=dict)
    taking: list[Name] = field(default_factory=list)


class Retries:
    """The verb `retry` of ADMIN.

    Args:
        queue: Where they run.
        flows: What they come after.
        admit: Lets in so many tasks of a peer's that run once more, beside those that are `promised`; raises `Unfit` if
            there is no room.

    Attributes:
        promised: How many tasks of this turn's orders there is room for that do not run once more yet.
    """

    def __init__(self, queue: Queue, flows: Flows, admit: Callable[[Peer, int], None]) -> None:
        self._queue, self._flows, self._admit = queue, flows, admit
        self.promised = 0
        self._taking: dict[Name, int] = {}  # which tasks of these have, or will have, which key

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """Run tasks once more that ended badly; the store has them."""
        mean(step, peer, message, "again", FINAL - {COMPLETED})

    def fetched(self, step: Step, need: Fetch | Matching, rows: dict[int, Row]) -> None:
        """The rows of tasks to run once more are known; more must be, of those with a key and those of flows."""
        peer, request, answer = need.context
        meant = [row for row in rows.values() if self._queue.may_run_again(row)]
        try:
            if meant:
                self._flows.check_again(peer, meant)
                self._admit(peer, len(meant))
                self._flows.let_in(peer, meant)
        except Unfit as unfit:
            step.say(peer, Reply(request, False, {"code": unfit.code, "reason": unfit.reason}))
            return
        order = _Order(peer, request, {"retried": [], **answer})
        keyed: list[tuple[int, str]] = []
        for row in meant:
            if row.options and "key" in row.options:
                keyed.append((row.id, row.options["key"]))
            elif self._flows.binds(row):
                order.bound.append(row)
            elif self._queue.again(step, row):
                order.reply["retried"].append(row.id)
        order.promised = len(keyed) + len(order.bound)
        self.promised += order.promised
        if keyed:
            step.needs.append(Consult((), tuple(id for id, _ in keyed), "again", order, bearers=tuple(keyed)))
        else:
            self._go_on(step, order)

    def consulted(self, step: Step, need: Consult, found: Sequence[Any]) -> None:
        """Which tasks have the keys of those to run once more."""
        order: _Order = need.context
        rows: dict[int, Row] = {}
        names: dict[int, Name] = {}
        bearers: dict[Name, tuple[Row, float]] = {}
        for asked, until, _, columns in found:
            row = Row(*columns)
            if isinstance(asked, int):
                rows[asked] = row
            else:
                id, *name = asked
                names[id] = owner, type, key = tuple(name)
                bearers[owner, type, key] = row, until
        superseded: list[list[int]] = []
        taken = dict(self._taking)
        # Who has a key goes first: what it was given up for is older.
        for id in sorted(rows, key=lambda task: task not in names or bearers[names[task]][0].id != task):
            row, name = rows[id], names.get(id)
            bearer, until = bearers[name] if name else (row, 0.0)
            if name and name in taken:
                if taken[name] != id:  # else another order of this turn has it run once more
                    superseded.append([id, taken[name]])
                continue
            if bearer.id != id and holds_key(bearer.state, until, step.wall):
                superseded.append([id, bearer.id])
                continue
            back = name if bearer.id != id else None
            if self._flows.binds(row):
                order.bound.append(row)
                if back:
                    order.names[id] = back
                if name:
                    order.taking.append(name)
                    self._taking[name] = id
            elif self._queue.again(step, row):
                order.reply["retried"].append(id)
                self._take_back(step, row, back)
            else:
                continue
            if name:
                taken[name] = id
        if superseded:
            order.reply["superseded"] = superseded
        self._go_on(step, order)

    def unmet(self, step: Step, need: Unmet, rows: list[Any]) -> None:
        """What those that come after others still wait for is known."""
        order: _Order = need.context
        again = self._flows.retried(step, rows)
        order.reply["retried"] += again
        if order.names:
            read = {columns[0]: Row(*columns) for columns, _ in rows}
            for id in again:
                self._take_back(step, read[id], order.names.get(id))
        self._done(step, order)

    def _take_back(self, step: Step, row: Row, name: Name | None) -> None:
        if name:
            step.persist.keys.append((row.id, *name, 0.0, digest_again(row)))

    def _go_on(self, step: Step, order: _Order) -> None:
        if order.bound:
            self._flows.retry(step, order.peer, order.bound, order)
        else:
            self._done(step, order)

    def _done(self, step: Step, order: _Order) -> None:
        self.promised -= order.promised
        for name in order.taking:
            del self._taking[name]
        step.say(order.peer, Reply(order.request, True, order.reply))
