"""Whose turn it is: tenants take turns at equal priority, whoever was served longest ago first.

Tasks without a tenant are those of one more, whose name is empty.
"""

from __future__ import annotations

from collections.abc import Iterable


class Tenant:
    """One of those who share the pool.

    Attributes:
        name: Empty for tasks without a tenant.
        number: Counts the tenants.
        lanes: How many lanes of it there are.
        turn: When it was last served, counted in grants; 0: not since the supervisor's start.
    """

    __slots__ = ("lanes", "name", "number", "turn")

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.turn = self.lanes = 0

    def __repr__(self) -> str:
        return f"<Tenant {self.name!r} turn={self.turn}>"


class Tenants:
    """All tenants that have or had tasks."""

    def __init__(self) -> None:
        self.by_name: dict[str, Tenant] = {}
        self._turn = self._last = 0

    def named(self, name: str) -> Tenant:
        """A tenant, known from now on."""
        tenant = self.by_name.get(name)
        if tenant is None:
            tenant = self.by_name[name] = Tenant(name, self._last)
            self._last += 1
        return tenant

    def served(self, tenant: Tenant) -> None:
        """It was granted something: all others of equal priority come before it now."""
        self._turn += 1
        tenant.turn = self._turn

    def left(self, tenants: Iterable[Tenant]) -> list[Tenant]:
        """Each of these lost a lane; those that have none any more, which are forgotten."""
        gone: list[Tenant] = []
        for tenant in tenants:
            tenant.lanes -= 1
            if not tenant.lanes:
                del self.by_name[tenant.name]
                gone.append(tenant)
        return gone
