"""What a supervisor goes on from: everything it must know of the store before its first turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

EPOCH_SHIFT: Final = 40
"""A fence is the epoch, and below it as many bits that count the grants of that epoch."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The store's answer to being opened.

    Attributes:
        epoch: Grows with every opening (written before `open` returns); a queue in memory begins with any, see
            `actors.supervisor`.
        meta: `last_id`, `last_finish`, `last_owner`, `last_session`, `last_audit` (0 in a new store).
        leaps: Numbers that no end was given, in order (the last of them, how many): a power cut or a restore may have
            undone ends that others know by these.
        lanes: (lane, type, tenant, requirements).
        tallies: (lane, state, count).
        running: Rows under a lease, in the order of `rows.COLUMNS`.
        hosts: The latest host sessions (owner, token, name, machine, joined_at, left_at, state, identity), those of
            `running` among them.
        pauses: Stopped nodes (type, until or None, reason).
        rates: What was granted within rates' windows (type, then as `rates.RateRow`).
        quotas: What was used of quotas (type, start of the period, units).
        checkpoints: Unfinished tasks that have one.
        identities, invitations, shares: As in `Persist`.
        flows: Flows that have not ended (row as in `Persist.flows`, [(start, first, count), ...]).
        schedules: By name, as in `Persist`.
        copy: Where the database was copied to before it was brought to this version's tables; None: it had them.
    """

    epoch: int
    meta: dict[str, int] = field(default_factory=dict)
    leaps: list[tuple[int, int]] = field(default_factory=list)
    lanes: list[tuple[int, str, str, str]] = field(default_factory=list)
    tallies: list[tuple[int, int, int]] = field(default_factory=list)
    running: list[tuple[Any, ...]] = field(default_factory=list)
    hosts: list[tuple[Any, ...]] = field(default_factory=list)
    pauses: list[tuple[str, float | None, str]] = field(default_factory=list)
    rates: list[tuple[Any, ...]] = field(default_factory=list)
    quotas: list[tuple[str, float, int]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    identities: list[tuple[Any, ...]] = field(default_factory=list)
    invitations: list[tuple[Any, ...]] = field(default_factory=list)
    flows: list[tuple[tuple[Any, ...], list[tuple[int, int, int]]]] = field(default_factory=list)
    shares: list[tuple[int, str, int]] = field(default_factory=list)
    schedules: list[tuple[Any, ...]] = field(default_factory=list)
    copy: str | None = None
