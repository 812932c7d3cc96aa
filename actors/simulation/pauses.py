"""What people have stopped, as the commits tell it: below a node that is paused nothing begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..core.effects import Persist


@dataclass(slots=True)
class Pauses:
    """Of one history.

    Attributes:
        nodes: Until when each stopped node sleeps, by the wall clock; None: until a person lets it go on.
    """

    nodes: dict[str, float | None] = field(default_factory=dict[str, float | None])

    def copied(self) -> Pauses:
        """One that does not change with this."""
        return Pauses(dict(self.nodes))

    def committed(self, persist: Persist) -> None:
        """A step is on disk."""
        for path, paused, until, _reason in persist.pauses:
            if paused:
                self.nodes[path] = until
            else:
                self.nodes.pop(path, None)

    def stopping(self, path: Iterable[str], wall: float) -> str | None:
        """Which of these nodes is stopped, if one is."""
        stopped = (node for node in path if node in self.nodes)
        return next((node for node in stopped if (until := self.nodes[node]) is None or wall < until), None)
