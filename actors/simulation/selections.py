"""Orders by filters: they meet what the filters name, all of it, and nothing else.

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
from ..core.rows import QUEUED, RUNNING, SCHEDULED, WAITING
from .oracle import Oracle, Violation

_DONE: Final = {"cancel": "cancelled", "retry": "retried", "delete": "deleted", "edit": "edited"}
"""By verb: under which word the answer lists what was done."""
_WRITTEN: Final[dict[str, Callable[[Persist], list[int]]]] = {
    "cancel": lambda persist: [id for *_, id, _fence in persist.finishes],
    "retry": lambda persist: [id for _, id in persist.retries],
    "delete": lambda persist: [id for id, _ in persist.prunes],
}
"""By verb: what of it a step writes. An edit that changes nothing writes nothing."""
_MEANT: Final = {"cancel": {WAITING, SCHEDULED, QUEUED, RUNNING}, "edit": {SCHEDULED, QUEUED}}
"""The states in which tasks are meant that must all be met; what may be run again or forgotten depends on more."""
_JUDGED: Final = {"ids", "type", "tenant", "states", "sent_before"}


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


class Selections:
    """Watches each turn's order by filters, from its arrival to its answer."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._order: tuple[bytes, Admin] | None = None
        self._before: dict[int, _Standing] = {}
        self._turn: Sequence[Persist] = ()

    def heard(self, news: Iterable[News]) -> None:
        """A turn hears this."""
        orders = [(peer, message) for peer, _, message in news if isinstance(message, Admin | Cancel)]
        self._order, self._turn = None, ()
        if len(orders) == 1:
            peer, message = orders[0]
            if isinstance(message, Admin) and "where" in message.arguments:
                self._order, self._before = (peer, message), self._standings()

    def committed(self, turn: Sequence[Persist]) -> None:
        """The turn is on disk."""
        self._turn = tuple(turn)

    def said(self, peer: bytes, reply: Reply) -> None:
        """An order is answered.

        Raises:
            Violation: It met what it did not name, or missed what it named.
        """
        if self._order is None or (peer, reply.request) != (self._order[0], self._order[1].request) or not reply.ok:
            return
        order = self._order[1]
        where: dict[str, Any] = order.arguments["where"]
        done: set[int] = set(reply.value[_DONE[order.verb]])
        after = self._standings()
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
        if order.verb in _MEANT and _JUDGED.issuperset(where) and "next" not in reply.value:
            self._check_all(order, where, done, after)

    def _check_all(self, order: Admin, where: dict[str, Any], done: set[int], after: dict[int, _Standing]) -> None:
        states = set(where.get("states", _MEANT[order.verb]))
        for id in (self._before.keys() & after.keys()) - done:
            if all(known.state in states and known.fits(where, id) for known in (self._before[id], after[id])):
                if order.verb == "edit" and "type" in order.arguments:
                    continue  # what has begun, or has a key, stays what it is
                raise Violation(f"{order.verb} of {where} missed task {id}: {after[id]}")

    def _standings(self) -> dict[int, _Standing]:
        history = self._oracle.history
        return {
            id: _Standing(
                history.lanes[known.lane], history.tenants[known.lane], known.state, known.priority, known.sent_at
            )
            for id, known in history.tasks.items()
        }
