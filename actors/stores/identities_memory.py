"""How the store in memory keeps identities, invitations and the audit: the twin of `identities`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from ..core.effects import Persist
from .views import audited


class MemoryIdentities:
    """What may join, and who did.

    Args:
        put: Sets an item of a dict so that it can be undone.
        drop: Removes one so.
    """

    def __init__(self, put: Callable[[dict[Any, Any], Any, Any], None], drop: Callable[[dict[Any, Any], Any], None]):
        self._put, self._drop = put, drop
        self._known: dict[str, tuple[Any, ...]] = {}
        self._invited: dict[str, tuple[Any, ...]] = {}
        self._shares: dict[int, tuple[int, str, int]] = {}
        self._audit: dict[int, tuple[Any, ...]] = {}

    def keep(self, persist: Persist) -> None:
        """The latest word about each identity and invitation counts; what is spent or forgotten goes."""
        for row in persist.identities:
            self._put(self._known, row[0], row)
        for public in persist.forgotten_identities:
            self._drop(self._known, public)
        for row in persist.invitations:
            if row[3] > 0:
                self._put(self._invited, row[0], row)
            elif row[0] in self._invited:
                self._drop(self._invited, row[0])
        for share in persist.shares:
            if share[2]:
                self._put(self._shares, share[0], share)
            elif share[0] in self._shares:
                self._drop(self._shares, share[0])
        for row in persist.audit:
            self._put(self._audit, row[0], row)
        if persist.audit_from:
            for number in [number for number in self._audit if number < persist.audit_from]:
                self._drop(self._audit, number)

    def known(self) -> list[tuple[Any, ...]]:
        """Rows of identities, for an opening."""
        return [self._known[public] for public in sorted(self._known)]

    def invited(self) -> list[tuple[Any, ...]]:
        """Rows of invitations, for an opening."""
        return [self._invited[public] for public in sorted(self._invited)]

    def has_share(self, session: int) -> bool:
        """Whether anything of a known client's session is unfinished."""
        return session in self._shares

    def shares(self) -> list[tuple[int, str, int]]:
        """What sessions have unfinished, for an opening."""
        return [self._shares[session] for session in sorted(self._shares)]

    def last_audit(self) -> int:
        """Number of the latest row of the audit."""
        return max(self._audit, default=0)

    def audit(self, limit: int, before: int) -> list[dict[str, Any]]:
        """See `Store.audit`."""
        numbers = (number for number in sorted(self._audit, reverse=True) if number < before)
        return [audited(self._audit[number]) for number in islice(numbers, limit)]
