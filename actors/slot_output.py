"""What a slot's process writes to stdout and stderr, as bounded lines with the task that wrote them. Pure."""

from __future__ import annotations

from typing import Final

from .slot_child import OUTPUT_MARK, OUTPUT_MARK_END

LINE_BYTES_MAX: Final = 4096
TASK_BYTES_MAX: Final = 256 * 1024
"""A task that writes more than this is heard no further; it runs on."""

_TASKS_MAX = 256


class Output:
    """Cuts a stream of bytes into (id, line).

    Python code in the child marks what it writes with its task's id. What comes without a mark (a C library, a program
    that the task started) is put down to the task that runs.
    """

    def __init__(self) -> None:
        self._id = 0
        self._partial = b""
        self._cutting = False  # inside a line whose beginning was long enough
        self._used: dict[int, int] = {}

    def feed(self, data: bytes, running: int) -> list[tuple[int, str]]:
        """Take bytes in; `running` is the task that runs now, or 0."""
        lines: list[tuple[int, str]] = []
        unmarked, *marked = data.split(OUTPUT_MARK)
        if unmarked:
            self._add(self._id if self._partial else running or self._id, unmarked, lines)
        for piece in marked:
            digits, _, text = piece.partition(OUTPUT_MARK_END)
            self._add(int(digits) if digits.isdigit() and len(digits) < 20 else running, text, lines)
        return lines

    def rest(self) -> list[tuple[int, str]]:
        """The unfinished line, when no more will come."""
        lines: list[tuple[int, str]] = []
        self._end_line(lines)
        return lines

    def _add(self, id: int, text: bytes, lines: list[tuple[int, str]]) -> None:
        if id != self._id:
            self._end_line(lines)
            self._id = id
        used = self._used.get(id, 0)
        if used > TASK_BYTES_MAX:
            return
        if len(self._used) >= _TASKS_MAX and id not in self._used:
            self._used.clear()
        self._used[id] = used + len(text)
        first, *others = text.split(b"\n")
        self._extend(first)
        for piece in others:
            self._end_line(lines)
            self._extend(piece)
        if self._used[id] > TASK_BYTES_MAX:
            self._end_line(lines)
            lines.append((id, f"[more than {TASK_BYTES_MAX // 1024} KiB written; the rest is not kept]"))

    def _extend(self, piece: bytes) -> None:
        if not self._cutting:
            self._partial += piece[: LINE_BYTES_MAX + 1 - len(self._partial)]
            self._cutting = len(self._partial) > LINE_BYTES_MAX

    def _end_line(self, lines: list[tuple[int, str]]) -> None:
        if self._partial:
            cut = " [...]" if self._cutting else ""
            lines.append((self._id, self._partial[:LINE_BYTES_MAX].decode("utf-8", "replace").rstrip("\r") + cut))
        self._partial, self._cutting = b"", False
