"""Who joined, who was refused, what was ordered: a line in the log and a row in the store for each, within bounds.

Owns how much of that is told: of what one identity does within a minute only the first, then how often it did. So a
stranger, or a client that says HELLO a thousand times a second, fills no disk. Never decides who may do what.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from ..step import Step
from .identities import ANYBODY, fingerprint

AUDIT_MAX: Final = 100_000
"""Rows that are kept, the latest."""
_FORGET_TOGETHER: Final = 1000
_MINUTE: Final = 60.0
_TOLD_MAX: Final = 20
"""Of each kind, of one identity, within a minute."""
_TOLD_OF_ALL_MAX: Final = 600
"""The same where nothing tells one peer from another."""
_TOLD_OF_KIND_MAX: Final = {"order_obeyed": _TOLD_OF_ALL_MAX, "handshake_refused": _TOLD_MAX}
"""The same of orders, each of which somebody gave on purpose, and of strangers, who can be as many as they like."""
_WINDOWS_MAX: Final = 20_000


class Audit:
    """What is told of peers.

    Args:
        last: Number of the latest row in the store.
    """

    def __init__(self, last: int) -> None:
        self._last = last
        self._windows: dict[tuple[str, str], list[float]] = {}  # (identity, event) -> [since when, how often]
        self._due = inf

    def tell(
        self,
        step: Step,
        identity: str,
        level: str,
        event: str,
        *,
        name: str = "",
        times: int = 1,
        **fields: Any,
    ) -> None:
        """Something that whoever looks after a pool may want to know later, too.

        Args:
            step: Where it is written.
            identity: Whose public key did it, or had it done to it; "" where none is known.
            level: Of the line in the log.
            event: A constant name.
            name: Of that identity, or of who has none.
            times: How often.
            fields: What else is to be said, as plain values.
        """
        if self._allows(step, identity, event, times):
            self._write(step, identity, level, event, name, fields if times == 1 else {**fields, "times": times})

    def say(self, step: Step, identity: str, level: str, event: str, **fields: Any) -> None:
        """Something that is for the log alone; within the same bounds."""
        if self._allows(step, identity, event, 1):
            step.note(level, event, **fields)

    def wake(self, step: Step) -> None:
        """Say how often was done what was not told."""
        if step.now < self._due:
            return
        for key, window in [item for item in self._windows.items() if item[1][0] + _MINUTE <= step.now]:
            del self._windows[key]
            self._sum_up(step, key, window)
        self._due = min((since for since, _ in self._windows.values()), default=inf) + _MINUTE

    def next_time(self) -> float:
        """When that is due."""
        return self._due

    def _allows(self, step: Step, identity: str, event: str, times: int) -> bool:
        key = identity, event
        window = self._windows.get(key)
        if window is not None and window[0] + _MINUTE <= step.now:
            self._sum_up(step, key, window)
            window = None
        if window is None:
            if len(self._windows) >= _WINDOWS_MAX:
                self._windows.clear()  # lenient, and cannot go on for ever
            window = self._windows[key] = [step.now, 0]
            self._due = min(self._due, step.now + _MINUTE)
        window[1] += times
        return window[1] - times < _most(key)

    def _sum_up(self, step: Step, key: tuple[str, str], window: list[float]) -> None:
        identity, event = key
        if (times := int(window[1]) - _most(key)) > 0:
            self._write(step, identity, "warning", "not_told", "", {"of": event, "times": times})

    def _write(self, step: Step, identity: str, level: str, event: str, name: str, fields: dict[str, Any]) -> None:
        who = {"key": fingerprint(identity)} if identity else {}
        step.note(level, event, **who, **({"name": name} if name else {}), **fields)
        self._last += 1
        step.persist.audit.append((self._last, step.wall, identity, name, event, fields))
        if self._last % _FORGET_TOGETHER == 0:
            step.persist.audit_from = self._last - AUDIT_MAX


def _most(key: tuple[str, str]) -> int:
    identity, event = key
    return _TOLD_OF_KIND_MAX.get(event) or (_TOLD_OF_ALL_MAX if identity == ANYBODY else _TOLD_MAX)
