"""What `doctor` says about one thing: whether it is right, where it was seen, and what cures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..workers.errors import plain
from .tables import wrapped

FINE: Final = "fine"
ODD: Final = "odd"
"""It works, and somebody should know: a pause, a disk that is slow. The exit code stays 0."""
WRONG: Final = "wrong"

_MARKS: Final = {FINE: "ok", ODD: "note", WRONG: "WRONG"}
_INDENT: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: The name of the check.
        level: `fine`, `odd` or `wrong`.
        what: What was found, as a sentence.
        where: The file, node, host or address it was found at.
        cure: A command to paste or a line to write; empty where nothing is to be done.
    """

    check: str
    level: str
    what: str
    where: str = ""
    cure: str = ""

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "check": self.check, "level": self.level, "what": self.what, "where": self.where, "cure": self.cure,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For people: the sentence, and the cure under it, unwrapped so that it can be pasted."""
        where = f"{self.where}: " if self.where else ""
        lines = wrapped(_MARKS[self.level], where + self.what, indent=_INDENT)
        return lines + ([f"{'':{_INDENT}}-> {plain(self.cure, 500)}"] if self.cure else [])
