"""One line of tasks that anything can block together: its window, its counts, what is above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ....config.policy import Policy
from ....config.resources import resources
from ....transport.messages import STATES
from ..policies.nodes import Node
from ..rows import QUEUED
from ..statistics import Account
from .pace import Pace
from .tenants import Tenant
from .window import Key, Window

Turn = tuple[int, int, int]
"""(-priority, the tenant's turn, place): smaller is earlier, across tenants."""
NOBODY: Final = Tenant("", 0)


class Lane:
    """Tasks of one type, tenant and set of requirements.

    Attributes:
        number: Its number in the store.
        tenant: Whose tasks they are.
        requirements: What they require beside what their type does, as `resources.canonical` writes it.
        needs, labels: All that they require: counts, which they use up, and labels.
        counts: Tasks by state code.
        aside: Queued tasks that stand aside, see `declines`.
        stored: The counts as the store has them.
        held: Live leases by host (its owner number), stopping ones included.
        bounds: The nodes above (and its own) that may say no at present, nearest last.
        counted: Those that count leases.
        guarded: Those that have a breaker.
        spending: Those that count grants: a rate, a quota.
        maker: Whose first task made it, as far as this supervisor knows; "": nobody's in particular.
        account: Where what happens to its tasks is counted.
        policy: The effective settings of its type.
    """

    __slots__ = (
        "account", "aside", "bounds", "counted", "counts", "filling", "guarded", "held", "labels", "maker", "needs",
        "number", "pace", "parked", "policy", "requirements", "spending", "stored", "tenant", "type", "window",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        type: str,
        tenant: Tenant = NOBODY,
        requirements: str = "",
        account: Account | None = None,
        ageing: float = 0.0,
    ) -> None:
        self.number, self.type, self.tenant, self.requirements = number, type, tenant, requirements
        self.account = account or Account((), ())
        self.window = Window(ageing)
        self.counts = [0] * len(STATES)
        self.stored = [0] * len(STATES)
        self.pace = Pace()
        self.policy = Policy()
        self.held: dict[int, int] = {}
        self.needs: dict[str, int] = {}
        self.labels: dict[str, str] = {}
        self.bounds: list[Node] = []
        self.counted: list[Node] = []
        self.guarded: list[Node] = []
        self.spending: list[Node] = []
        self.aside = 0
        self.maker = ""
        self.parked = False
        self.filling = False

    def __repr__(self) -> str:
        more = " ".join(text for text in (self.tenant.name, self.requirements) if text)
        return f"<Lane {self.number} {self.type} {more} queued={self.counts[QUEUED]} in memory={self.window.size}>"

    def is_unused(self) -> bool:
        """Whether there is no task of it, ended or not, and nobody holds one."""
        return not (any(self.counts) or self.held or self.filling)

    def beyond(self) -> int:
        """Queued tasks that are only in the store."""
        return self.counts[QUEUED] - self.window.size - self.aside

    def front(self) -> Key | None:
        """Where its first task stands, or, while that is only in the store, what it stands behind; None: no task."""
        head = self.window.head()
        if head is not None:
            return self.window.key(head) if self.window.ageing else (-head.priority, head.place)
        return self.window.horizon if self.beyond() > 0 else None

    def turn(self, key: Key) -> Turn:
        """Where one of its tasks stands among those of all tenants."""
        return key[0], self.tenant.turn, key[1]

    def require(self, requires: Mapping[str, int | str]) -> None:
        """What tasks of its type require; its own tasks may say otherwise for themselves."""
        both = {**requires, **resources(self.requirements)}
        self.needs = {name: value for name, value in both.items() if isinstance(value, int) and value}
        self.labels = {name: value for name, value in both.items() if isinstance(value, str)}

    def margin(self, slots: int) -> int:
        """See `Pace.margin`; none under a limit, and none of what is used up."""
        return 0 if self.bounds or self.needs else self.pace.margin(slots)
