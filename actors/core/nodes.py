"""Nodes of the tree as the core counts them: what each allows now. They know nothing of who waits for that."""

from __future__ import annotations


class Node:
    """One node of the tree as the core counts it.

    Attributes:
        type: Its path.
        limit: `max_concurrent` of exactly this node, or None.
        held: Live leases in its subtree, stopping ones included.
        paused: Whether a person paused it.
    """

    __slots__ = ("held", "limit", "paused", "type")

    def __init__(self, type: str, limit: int | None) -> None:
        self.type, self.limit = type, limit
        self.held = 0
        self.paused = False

    def room(self) -> int | None:
        """How many more leases it allows now; None: any number."""
        if self.paused:
            return 0
        return None if self.limit is None else max(0, self.limit - self.held)
