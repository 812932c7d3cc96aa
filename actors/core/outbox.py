"""What a host still owes its supervisor: results until they are RECORDED, tasks given back, progress. Pure.

Results that were said and not recorded when a session ends are said again in the next one, before anything newer.
"""

from __future__ import annotations

from typing import Any, Final

from ...transport.messages import RESULT_BYTES_MAX, GiveBack, Progress, Results
from .host_effects import Key, key_of
from .joining import Joining

_ITEMS_MAX: Final = 2000  # of one message


class Outbox:
    """Items of RESULTS, RELEASE and PROGRESS on their way up.

    Attributes:
        results: Ended attempts that this session has not been told.
        returned: Tasks given back, not told.
        progress: The latest progress of each task in hand.
        fresh: What of it was not told.
        unrecorded: Number of a RESULTS message of this session -> its items.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.returned: list[Any] = []
        self.progress: dict[Key, list[Any]] = {}
        self.fresh: dict[Key, list[Any]] = {}
        self.unrecorded: dict[int, list[Any]] = {}

    def empty(self) -> bool:
        """Whether nothing is owed."""
        return not (self.results or self.returned or self.unrecorded)

    def keys(self) -> list[Key]:
        """The grants for which something is owed."""
        said = [item for items in self.unrecorded.values() for item in items]
        return [key_of(item) for item in (*said, *self.results, *self.returned)]

    def report(self, item: list[Any]) -> None:
        """What a task is doing; the latest word counts."""
        key = key_of(item)
        self.progress[key] = self.fresh[key] = item

    def ended(self, key: Key) -> None:
        """A task is no longer in hand; its progress is history."""
        self.progress.pop(key, None)
        self.fresh.pop(key, None)

    def recorded(self, number: int) -> None:
        """A RESULTS message is on the supervisor's disk."""
        self.unrecorded.pop(number, None)

    def session_over(self) -> None:
        """Whatever was not recorded must be said again, and progress too."""
        self.results[:0] = [item for items in self.unrecorded.values() for item in items]
        self.unrecorded.clear()
        self.fresh = dict(self.progress)

    def speak(self, joining: Joining) -> None:
        """Say all that was not said, in messages that stay well below the largest frame."""
        if self.results:
            self._say_results(joining)
        for start in range(0, len(self.returned), _ITEMS_MAX):
            joining.say(GiveBack(self.returned[start : start + _ITEMS_MAX]))
        self.returned.clear()
        if self.fresh:
            items = list(self.fresh.values())
            for start in range(0, len(items), _ITEMS_MAX):
                joining.say(Progress(items[start : start + _ITEMS_MAX]))
            self.fresh = {}

    def _say_results(self, joining: Joining) -> None:
        items, self.results = self.results, []
        start = size = 0
        for index, item in enumerate(items):
            more = len(item[3]) if item[6] is None else _weight(item)
            size += more
            if index > start and (size > RESULT_BYTES_MAX or index - start == _ITEMS_MAX):
                self._say_some(joining, items[start:index])
                start, size = index, more
        self._say_some(joining, items[start:] if start else items)

    def _say_some(self, joining: Joining, items: list[Any]) -> None:
        self.unrecorded[joining.say(Results(items))] = items


def _weight(item: list[Any]) -> int:
    """Bytes of a result and of its detail, at the most: a character of a traceback takes up to four."""
    return len(item[3]) + sum(4 * len(value) for value in item[6].values() if isinstance(value, str))
