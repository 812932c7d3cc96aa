"""Orders, by ids or by filters: they meet what these name, all of it, and nothing else, and what is answered was done.

An order is judged where it is the only one of its turn. What else changes in that turn is the work's own doing, so a
task counts as missed only if it was meant before the turn and still is after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...transport.messages import Admin, Cancel, Reply
from ..core.access.arrivals import News
from ..core.effects import Persist
from ..core.rows import CANCELLED, QUEUED, RUNNING, SCHEDULED, WAITING
from .oracle import Oracle, Violation

_DONE: Final = {"cancel": "cancelled", "retry": "retried", "delete": "deleted", "edit": "edited"}
"""By verb: under which word the answer lists what was done."""
_WRITTEN: Final[dict[str, Callable[[Persist], list[int]]]] = {
    "cancel": lambda persist: [id for state, *_, id, _fence in persist.finishes if state == CANCELLED],
    "retry": lambda persist: [id for _, id in persist.retries],
    "delete": lambda persist: [id for id, _ in persist.prunes],
}
"""By verb: what of it a step writes. An edit is judged by what has become of the task."""
_MEANT: Final = {"cancel": {WAITING, SCHEDULED, QUEUED, RUNNING}, "edit": {SCHEDULED, QUEUED}}
"""The states in which tasks are meant that must all be met; what may be run again or forgotten depends on more."""
_JUDGED: Final = {"ids", "type", "tenant", "states", "sent_before"}
_EDITED: Final = ("priority", "type")


@dataclass(frozen=True, slots=True)
class _Standing:
    """A task before or after a turn."""

    type: str
    tenant: str
    state: int
    priority: int
    sent_at: float

    def fits(self, where: dict[str, Any], id: int) -> bool:
        """Whether filters name it, but for its state."""
        return (
            id in where.get("ids", (id,))
            and where.get("type", self.type) == self.type
            and where.get("tenant", self.tenant) == self.tenant
            and ("sent_before" not in where or self.sent_at < where["sent_before"])
        )


@dataclass(frozen=True, slots=True)
class _Order:
    """What somebody has ordered, and what is changed by it."""

    peer: bytes
    request: int
    verb: str
    where: dict[str, Any]
    changed: dict[str, Any]


def _order_of(peer: bytes, message: Admin | Cancel) -> _Order | None:
    """An order that means tasks."""
    if isinstance(message, Cancel):
        return _Order(peer, message.request, "cancel", {"ids": message.ids}, {})
    given = message.arguments
    if message.verb not in _DONE or given.keys().isdisjoint(("where", "ids")):
        return None
    where = given.get("where", {"ids": given.get("ids")})
    changed = {name: given[name] for name in _EDITED if name in given}
    return _Order(peer, message.request, message.verb, where, changed)


class Selections:
    """Watches each turn's order, from its arrival to its answer."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._order: _Order | None = None
        self._before: dict[int, _Standing] = {}
        self._turn: Sequence[Persist] = ()

    def heard(self, news: Iterable[News]) -> None:
        """A turn hears this."""
        orders = [(peer, message) for peer, _, message in news if isinstance(message, Admin | Cancel)]
        self._order, self._turn = None, ()
        if len(orders) == 1 and (order := _order_of(*orders[0])) is not None:
            self._order, self._before = order, self._standings(order.where)

    def committed(self, turn: Sequence[Persist]) -> None:
        """The turn is on disk."""
        self._turn = tuple(turn)

    def said(self, peer: bytes, reply: Reply) -> None:
        """An order is answered.

        Raises:
            Violation: It met what it did not name, or missed what it named.
        """
        order = self._order
        if order is None or (peer, reply.request) != (order.peer, order.request) or not reply.ok:
            return
        where = order.where
        done: set[int] = set(reply.value[_DONE[order.verb]])
        after = self._standings(where)
        written = _WRITTEN.get(order.verb)
        if written and (idle := done - {id for persist in self._turn for id in written(persist)}):
            raise Violation(f"{order.verb} of {where} names {sorted(idle)}, which it did not change")
        born = {row[0] for persist in self._turn for row in persist.tasks}
        for id in done:
            standings = [known[id] for known in (self._before, after) if id in known]
            if not standings and id in born:
                continue  # it came, expired and was deleted in this turn
            if not any(known.fits(where, id) for known in standings):
                raise Violation(f"{order.verb} of {where} met task {id}, which is another: {standings}")
            if id in after and (wrong := [n for n, value in order.changed.items() if getattr(after[id], n) != value]):
                raise Violation(f"{order.verb} of {where} left task {id} with its {wrong}: {after[id]}")
        if order.verb in _MEANT and _JUDGED.issuperset(where) and "next" not in reply.value:
            self._check_all(order, done, after)

    def _check_all(self, order: _Order, done: set[int], after: dict[int, _Standing]) -> None:
        states = set(order.where.get("states", _MEANT[order.verb]))
        for id in (self._before.keys() & after.keys()) - done:
            if all(known.state in states and known.fits(order.where, id) for known in (self._before[id], after[id])):
                if "type" in order.changed:
                    continue  # what has begun, or has a key, stays what it is
                raise Violation(f"{order.verb} of {order.where} missed task {id}: {after[id]}")

    def _standings(self, where: dict[str, Any]) -> dict[int, _Standing]:
        """Of all tasks, or of those that are named."""
        history = self._oracle.history
        tasks = history.tasks
        return {
            id: _Standing(
                history.lanes[known.lane], history.tenants[known.lane], known.state, known.priority, known.sent_at
            )
            for id in where.get("ids", tasks)
            if (known := tasks.get(id)) is not None
        }
