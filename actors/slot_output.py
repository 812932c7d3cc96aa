"""What a slot's process writes to stdout and stderr, as bounded lines with the task that wrote them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .slot_child import OUTPUT_MARK, OUTPUT_MARK_END

LINE_BYTES_MAX: Final = 4096
BURST_BYTES: Final = 256 * 1024
RATE_BYTES: Final = 64 * 1024
"""A task may write so much at once, and so much a second for as long as it likes. What is beyond that is left out, with
a line that says how many lines that were; the task runs on.
"""

_TASKS_MAX = 256


class _Budget:
    """What one task may still write.

    Attributes:
        left: Bytes.
        at: When that was reckoned.
        lost: Lines left out since the last one that was not.
    """

    __slots__ = ("at", "left", "lost")

    def __init__(self, now: float) -> None:
        self.left, self.at, self.lost = float(BURST_BYTES), now, 0

    def allows(self, now: float) -> bool:
        """Whether more may be written. After a loss only when some room has come together."""
        self.left = min(BURST_BYTES, self.left + RATE_BYTES * (now - self.at))
        self.at = now
        return self.left > (BURST_BYTES // 4 if self.lost else 0)


class Output:
    """Cuts a stream of bytes into (id, line).

    Python code in the child marks what it writes with its task's id. What comes without a mark (a C library, a program
    that the task started) is put down to the task that runs.
    """

    def __init__(self) -> None:
        self._id = 0
        self._partial = b""
        self._cutting = False  # inside a line whose beginning was long enough
        self._budgets: dict[int, _Budget] = {}

    def feed(self, data: bytes, running: int, now: float) -> list[tuple[int, str]]:
        """Take bytes in; `running` is the task that runs now, or 0; `now` in seconds."""
        lines: list[tuple[int, str]] = []
        unmarked, *marked = data.split(OUTPUT_MARK)
        if unmarked:
            self._add(self._id if self._partial else running or self._id, unmarked, now, lines)
        for piece in marked:
            digits, _, text = piece.partition(OUTPUT_MARK_END)
            self._add(int(digits) if digits.isdigit() and len(digits) < 20 else running, text, now, lines)
        return lines

    def ended(self, ids: Iterable[int]) -> list[tuple[int, str]]:
        """What there is still to say of tasks that have ended: a line without its end, and how much was left out."""
        lines: list[tuple[int, str]] = []
        if self._budgets:
            for id in ids:
                budget = self._budgets.pop(id, None)
                if budget is not None:
                    if id == self._id:
                        self._end_line(lines)
                    _say_lost(id, budget, lines)
        return lines

    def rest(self) -> list[tuple[int, str]]:
        """The unfinished line and what was left out, when no more will come."""
        lines: list[tuple[int, str]] = []
        self._end_line(lines)
        return lines + self.ended(list(self._budgets))

    def _add(self, id: int, text: bytes, now: float, lines: list[tuple[int, str]]) -> None:
        if id != self._id:
            self._end_line(lines)
            self._id = id
        budget = self._budgets.get(id)
        if budget is None:
            if len(self._budgets) >= _TASKS_MAX:
                self._budgets.clear()
            budget = self._budgets[id] = _Budget(now)
        if not budget.allows(now):
            self._end_line(lines)
            budget.lost += text.count(b"\n") or 1
            return
        _say_lost(id, budget, lines)
        budget.left -= len(text)
        first, *others = text.split(b"\n")
        self._extend(first)
        for piece in others:
            self._end_line(lines)
            self._extend(piece)

    def _extend(self, piece: bytes) -> None:
        if not self._cutting:
            self._partial += piece[: LINE_BYTES_MAX + 1 - len(self._partial)]
            self._cutting = len(self._partial) > LINE_BYTES_MAX

    def _end_line(self, lines: list[tuple[int, str]]) -> None:
        if self._partial:
            cut = " [...]" if self._cutting else ""
            lines.append((self._id, self._partial[:LINE_BYTES_MAX].decode("utf-8", "replace").rstrip("\r") + cut))
        self._partial, self._cutting = b"", False


def _say_lost(id: int, budget: _Budget, lines: list[tuple[int, str]]) -> None:
    if budget.lost:
        lines.append((id, f"[{budget.lost} lines left out: more than {RATE_BYTES // 1024} KiB a second]"))
        budget.lost = 0
