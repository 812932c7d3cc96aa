"""The params of a task as its worker reads them: every name known, every value what it may be.

Owns what is said about a wrong one. Knows nothing of what the values are for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, cast

from .errors import Fail, plain
from .task import Task


class Options:
    """The params of one task. Every complaint is a final `Fail` that names the parameter and what it may be.

    Args:
        task: The task.
        known: The names its type knows.
    """

    def __init__(self, task: Task, known: Sequence[str]) -> None:
        self._type = task.type
        if not isinstance(task.params, dict):
            raise self.wrong(f"params must be a mapping with {', '.join(known)}; got {plain(task.params, 80)}")
        self._params = cast("dict[str, Any]", task.params)
        for name in self._params:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                cure = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
                raise self.wrong(f"unknown parameter {plain(name, 40)}; {cure}")

    def wrong(self, reason: str) -> Fail:
        """The failure that a wrong parameter means."""
        return Fail(f"{self._type}: {reason}", kind="permanent")

    def path(self) -> str:
        """The required parameter `path`."""
        path = self.text("path")
        if path is None:
            raise self.wrong("the parameter path is missing; it names the media file, as the host sees it")
        return path

    def text(self, name: str) -> str | None:
        """A text that is not empty, or None if absent."""
        value = self._params.get(name)
        if value is not None and (not isinstance(value, str) or not value or "\0" in value):
            raise self.wrong(f"{name} must be a text that is not empty; got {plain(value, 80)}")
        return value

    def one_or_many(self, one: str, many: str, most: int) -> list[str]:
        """The texts in the list `many`, or the single text `one`: exactly one of the two is there."""
        text, values = self.text(one), self._params.get(many)
        if (text is None) == (values is None):
            raise self.wrong(f"give either {one} or {many}")
        if text is not None:
            return [text]
        texts = cast("list[Any]", values) if isinstance(values, list) else []
        if not 1 <= len(texts) <= most or not all(isinstance(value, str) and value for value in texts):
            raise self.wrong(f"{many} must be a list of 1 to {most} texts; got {plain(values, 80)}")
        return texts

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._params.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(f"{name} must be a whole number from {low} to {high}; got {plain(value, 40)}")
        return value

    def seconds(self, name: str, high: float = math.inf) -> float | None:
        """A time in seconds, from 0 to `high`, or None if absent."""
        value = self._params.get(name)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 <= value <= high
            or value == math.inf
        ):
            allowed = "0 or more" if high == math.inf else f"0 to {high:g}"
            raise self.wrong(f"{name} must be a number of seconds, {allowed}; got {plain(value, 40)}")
        return float(value)
