"""What a host still owes its supervisor: results until they are RECORDED, what is given back, and what is new. Pure.

Results that were said and not recorded when a session ends are said again in the next one, before anything newer; so is
what was given back and not heard, as far as an ALIVE tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Final

from ....transport.messages import RESULT_BYTES_MAX, Checkpoint, GiveBack, Output, Progress, Results
from .host_effects import Key, key_of
from .joining import Joining, Phase

_ITEMS_MAX: Final = 2000  # of one message
_RESULTS_MAX: Final = 128  # the same of RESULTS: the supervisor can hear somebody else between two of them
_CHECKPOINTS_BYTES_MAX: Final = 1024 * 1024  # of one message
_OUTPUT_CHARACTERS_MAX: Final = 256 * 1024  # of one message; a character takes up to four bytes
CHECKPOINT_SECONDS: Final = 0.25
"""Checkpoints travel so often: each is a write on the supervisor's disk."""


class Outbox:
    """Items of RESULTS, GIVEBACK, PROGRESS and CHECKPOINT on their way up.

    Attributes:
        results: Ended attempts that this session has not been told.
        returned: Tasks given back that this session has not been told.
        progress: The latest progress of each task in hand.
        fresh: What of it was not told.
        checkpoints: The latest of each task in hand, and of each whose end is not recorded, or not heard.
        unsaid: Those that were not told, and whether their attempt has ended: then they must not wait.
        unrecorded: Number of a RESULTS message of this session -> its items.
        unheard: The same of GIVEBACK, which nothing answers: until the next ALIVE.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.returned: list[Any] = []
        self.progress: dict[Key, list[Any]] = {}
        self.fresh: dict[Key, list[Any]] = {}
        self.checkpoints: dict[Key, list[Any]] = {}
        self.unsaid: dict[Key, bool] = {}
        self.unrecorded: dict[int, list[Any]] = {}
        self.unheard: dict[int, list[Any]] = {}
        self._checkpoints_due = 0.0

    def empty(self) -> bool:
        """Whether nothing is owed: all that was said is on the supervisor's disk."""
        return not (self.results or self.returned or self.unrecorded or self.unheard)

    def unasked(self, joining: Joining) -> bool:
        """Whether a heartbeat would bring the ALIVE that tells what was heard, and none is on its way."""
        return joining.phase is Phase.JOINED and max(self.unheard, default=0) > joining.asked()

    def keys(self) -> list[Key]:
        """The grants for which something is owed."""
        said = [item for items in self.unrecorded.values() for item in items]
        return [key_of(item) for item in (*said, *self.results, *self.returned)]

    def report(self, item: list[Any]) -> None:
        """What a task is doing; the latest word counts."""
        key = key_of(item)
        self.progress[key] = self.fresh[key] = item

    def save(self, item: list[Any]) -> None:
        """Where a task is, for its next attempt; the latest counts."""
        key = key_of(item)
        self.checkpoints[key] = item
        self.unsaid[key] = False

    def ended(self, key: Key, *, completed: bool = False) -> None:
        """A task is no longer in hand: its progress is history; its checkpoint, too, if no attempt follows."""
        self.progress.pop(key, None)
        self.fresh.pop(key, None)
        if completed:
            self.checkpoints.pop(key, None)
            self.unsaid.pop(key, None)
        elif key in self.unsaid:
            self.unsaid[key] = True

    def recorded(self, number: int) -> None:
        """A RESULTS message is on the supervisor's disk."""
        self._forget_checkpoints(self.unrecorded.pop(number, ()))

    def heard(self, seen: int) -> None:
        """Our messages up to this one have reached the supervisor, and what they say is on its disk."""
        for number in [number for number in self.unheard if number <= seen]:
            self._forget_checkpoints(self.unheard.pop(number))

    def _forget_checkpoints(self, items: Iterable[Any]) -> None:
        if self.checkpoints:
            for item in items:
                self.checkpoints.pop(key_of(item), None)

    def session_over(self) -> None:
        """Whatever was not recorded, or not heard, must be said again, and progress and checkpoints too."""
        self.results[:0] = [item for items in self.unrecorded.values() for item in items]
        self.returned[:0] = [item for items in self.unheard.values() for item in items]
        self.unrecorded.clear()
        self.unheard.clear()
        self.fresh = dict(self.progress)
        self.unsaid = dict.fromkeys(self.checkpoints, True)

    def due(self) -> float:
        """When `speak` has something more to say if nothing happens; `inf`: never."""
        return self._checkpoints_due if self.unsaid else inf

    def speak(self, joining: Joining, now: float, output: Sequence[Any] = ()) -> None:
        """Say what was not said, and what tasks wrote, in messages that stay well below the largest frame."""
        if output:
            _say_output(joining, output)
        if self.unsaid:
            self._say_checkpoints(joining, now)
        if self.results:
            self._say_results(joining)
        if self.returned:
            self._say_returned(joining)
        if self.fresh:
            items = list(self.fresh.values())
            for start in range(0, len(items), _ITEMS_MAX):
                joining.say(Progress(items[start : start + _ITEMS_MAX]))
            self.fresh = {}

    def _say_checkpoints(self, joining: Joining, now: float) -> None:
        """Those of attempts that have ended now, the others when it is time again."""
        every = now >= self._checkpoints_due
        if every:
            self._checkpoints_due = now + CHECKPOINT_SECONDS
        items: list[Any] = []
        size = 0
        for key in [key for key, ended in self.unsaid.items() if every or ended]:
            del self.unsaid[key]
            items.append(item := self.checkpoints[key])
            size += len(item[2])
            if size > _CHECKPOINTS_BYTES_MAX or len(items) == _ITEMS_MAX:
                joining.say(Checkpoint(items))
                items, size = [], 0
        if items:
            joining.say(Checkpoint(items))

    def _say_results(self, joining: Joining) -> None:
        items, self.results = self.results, []
        weights = [len(item[3]) if item[6] is None else _weight(item) for item in items]
        if len(items) <= _RESULTS_MAX and sum(weights) <= RESULT_BYTES_MAX:
            self._say_some(joining, items)
            return
        start = size = 0
        for index, more in enumerate(weights):
            size += more
            if index > start and (size > RESULT_BYTES_MAX or index - start == _RESULTS_MAX):
                self._say_some(joining, items[start:index])
                start, size = index, more
        self._say_some(joining, items[start:] if start else items)

    def _say_some(self, joining: Joining, items: list[Any]) -> None:
        self.unrecorded[joining.say(Results(items))] = items

    def _say_returned(self, joining: Joining) -> None:
        items, self.returned = self.returned, []
        some: list[Any] = []
        size = 0
        for item in items:
            some.append(item)
            size += 4 * len(item[4]) + (_detail_weight(item[6]) if len(item) > 6 else 0)
            if size > RESULT_BYTES_MAX or len(some) == _ITEMS_MAX:
                self.unheard[joining.say(GiveBack(some))] = some
                some, size = [], 0
        if some:
            self.unheard[joining.say(GiveBack(some))] = some


def _say_output(joining: Joining, items: Sequence[Any]) -> None:
    some: list[Any] = []
    size = 0
    for item in items:
        some.append(item)
        size += sum(map(len, item[3]))
        if size > _OUTPUT_CHARACTERS_MAX:
            joining.say(Output(some))
            some, size = [], 0
    if some:
        joining.say(Output(some))


def _weight(item: list[Any]) -> int:
    """Bytes of a result and of its detail, at the most."""
    return len(item[3]) + _detail_weight(item[6])


def _detail_weight(detail: dict[str, Any]) -> int:
    """A character of a traceback or of output takes up to four bytes."""
    return sum(4 * len(value) for value in detail.values() if isinstance(value, str))
