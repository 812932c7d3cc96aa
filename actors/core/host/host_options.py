"""What a host is: its supervisor, name, slots and what it takes. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ....workers.source import Environment


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What a host is.

    Attributes:
        address: Its supervisor's.
        name: What it calls itself.
        session: 16 random bytes, its own as long as its process lives.
        named: Whether a person chose the name.
        slots: Slot pools {node or "": count}.
        serve: Subtrees it takes; empty: all.
        refuse: Subtrees it does not take.
        fixed: Which of `slots`, `serve` and `not` the supervisor's settings for this host do not change.
        resources: Counts and labels that it offers.
        isolation: `process`, `thread` or `inline`.
        environments: Where tasks run, {node: environment}; "" is for all types that no node says otherwise for.
        accept: Modules whose workers the supervisor's configuration may have it run, see `Acceptance`.
        own: Types for which its own configuration says what runs them; that goes before.
        placed: Types for which it says where they run, be it as the node above.
        drain_timeout: Seconds that tasks have to finish when it is told to go.
        machine: The machine's name.
        pid: Its process.
    """

    address: str
    name: str
    session: bytes
    named: bool = False
    slots: Mapping[str, int] = field(default_factory=lambda: {"": 1})
    serve: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()
    resources: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    isolation: str = "process"
    environments: Mapping[str, Environment] = field(default_factory=dict[str, Environment])
    accept: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    placed: frozenset[str] = frozenset()
    drain_timeout: float = 30.0
    machine: str = ""
    pid: int = 0

    def everywhere(self) -> dict[str, Environment]:
        """`environments`, with that of all types."""
        return {"": Environment(isolation=self.isolation), **self.environments}
