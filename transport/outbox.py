"""Submissions on their way: which wait, which are under way, and what to do when the pool has no room.

Pure, part of the client's conversation. Small submissions that wait together travel in one SUBMIT; one that the pool
refuses is tried again parcel by parcel, so that nobody pays for a neighbour's mistake. When the queue is full, patient
parcels wait and are cut down to what may fit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .block import Block, Waiter
from .messages import Rejected
from .parcel import BYTES_MAX, Parcel
from .part import Part
from .terms import AFTER_MAX

WINDOW: Final = 8
"""SUBMITs under way at a time: enough to keep the supervisor busy while answers travel."""

WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Bytes of these after which no further one leaves. With the last of them, and with what is asked beside them, it stays
below what the supervisor keeps of one client unheard (16 MiB): it would drop them, and again when they are repeated.
"""

LETTER_TASKS_MAX: Final = 1000
"""Tasks in a SUBMIT that carries several parcels."""

LETTER_TIES_MAX: Final = AFTER_MAX
"""Ties to other tasks (`Parcel.ties`) in such a SUBMIT: so many tasks may be named in one."""

PAUSE_MIN: Final = 0.01
PAUSE_MAX: Final = 0.2
"""Bounds in seconds of the time after which a full queue is asked again, whatever `retry_after` says."""


class Letter:
    """What one SUBMIT carries.

    Attributes:
        number: The submission's number.
        parcels: Its parts, in the order in which ids are given.
        count: How many tasks they hold.
        size: Bytes they take in a frame.
    """

    __slots__ = ("count", "number", "parcels", "size")

    def __init__(self, number: int, parcels: list[Parcel]) -> None:
        self.number, self.parcels = number, parcels
        self.count = sum(parcel.block.count for parcel in parcels)
        self.size = sum(parcel.size for parcel in parcels)

    def groups(self) -> list[Any]:
        """The parcels as SUBMIT wants them: neighbours with equal terms are one group."""
        if isinstance(part := self.parcels[0], Part):
            return part.groups
        found: list[Any] = []
        before: tuple[Any, ...] = ()
        for parcel in self.parcels:
            terms = (*parcel.terms[:3], parcel.keys is None)
            # A task that takes up results is a group of its own: where they belong is said for one task.
            if not found or terms != before or "results" in (parcel.terms.options or ()):
                type, priority, options, _ = before = terms
                if parcel.keys is not None:
                    options = {**(options or {}), "key": list[str]()}
                found.append([type, priority, options, []])
            found[-1][3].extend(parcel.params)
            if parcel.keys is not None:
                found[-1][2]["key"].extend(parcel.keys)
        return found

    @property
    def flow(self) -> dict[str, Any]:
        """What SUBMIT says of a flow."""
        return part.flow if isinstance(part := self.parcels[0], Part) else {}


class Outbox:
    """Parcels that the pool has not answered.

    Attributes:
        flying: What was sent and not answered, by number, oldest first.
        unanswered: How many tasks are here.
        wake_at: When `wake` has something to do, or None.
        last: The highest number of a submission so far.
        waiters: Who waits for `unanswered` to shrink.
    """

    def __init__(self) -> None:
        self.flying: dict[int, Letter] = {}
        self.unanswered = 0
        self.wake_at: float | None = None
        self.waiters: list[Waiter] = []
        self._waiting: deque[Parcel] = deque()
        self._held: deque[tuple[float, Parcel]] = deque()
        self._room = LETTER_TASKS_MAX  # how many tasks may fit into a queue that was full a moment ago
        self.last = 0

    @property
    def below(self) -> int:
        """The number below which every submission is answered."""
        return next(iter(self.flying), self.last + 1)

    def put(self, parcel: Parcel) -> None:
        """Add a parcel at the end."""
        self.unanswered += parcel.block.count
        self._waiting.append(parcel)

    def wake(self, now: float) -> None:
        """Parcels that waited for room in the queue are due again, before the others."""
        due: list[Parcel] = []
        while self._held and self._held[0][0] <= now:
            due.append(self._held.popleft()[1])
        self._waiting.extendleft(reversed(due))
        self.wake_at = self._held[0][0] if self._held else None

    def next_letter(self) -> Letter | None:
        """The next SUBMIT to send, if one may be sent now. It is under way from here on."""
        if len(self.flying) >= WINDOW or sum(letter.size for letter in self.flying.values()) >= WINDOW_BYTES:
            return None
        parcels = self._compose()
        if not parcels:
            return None
        for parcel in parcels:
            parcel.block.transmitted = True
        self.last += 1
        letter = self.flying[self.last] = Letter(self.last, parcels)
        return letter

    def _compose(self) -> list[Parcel]:
        parcels: list[Parcel] = []
        tasks = size = ties = 0
        while self._waiting:
            parcel = self._waiting[0]
            if parcel.terms.patient and parcel.block.count > self._room:
                self._waiting.insert(1, parcel.split(self._room))
            tasks += parcel.block.count
            size += parcel.size
            ties += parcel.ties
            limit = self._room if parcel.terms.patient else LETTER_TASKS_MAX
            full = tasks > limit or size > BYTES_MAX or ties > LETTER_TIES_MAX
            if parcels and (full or parcel.alone or parcels[0].alone):
                break
            parcels.append(self._waiting.popleft())
        return parcels

    def accepted(self, number: int, first: int, count: int, others: Sequence[Any] = ()) -> list[Block]:
        """A submission is on disk; its blocks have their ids now. `others`: as in ACCEPTED.

        Raises:
            ValueError: The pool stored another number of tasks than were sent.
        """
        letter = self.flying.get(number)
        if letter is None:
            return []
        elsewhere = {int(position): (int(id), int(how)) for position, id, how in others}
        if count != letter.count or first < 1 or not all(0 <= position < count for position in elsewhere):
            raise ValueError("an acknowledgement that does not fit its submission")
        del self.flying[number]
        self._room = min(2 * self._room, LETTER_TASKS_MAX)
        blocks = [parcel.block for parcel in letter.parcels]
        position = 0
        for block in blocks:
            if elsewhere:
                places = range(position, position + block.count)
                block.others = {at - position: elsewhere[at] for at in places if at in elsewhere}
                position += block.count
            block.first = first
            first += block.count
            block.tell()
        self._answered(letter.count)
        return blocks

    def rejected(self, answer: Rejected, now: float) -> None:
        """A submission was not stored, or nobody knows: wait, try its parcels one by one, or tell whose it is."""
        letter = self.flying.pop(answer.submission, None)
        if letter is None:
            return
        full, fast = answer.code == "queue_full", answer.code == "quota" and not answer.path
        if full:
            self._room = max(1, letter.count // 2)
        again: list[Parcel] = []
        for parcel in letter.parcels:
            if parcel.block.withdrawn:
                self._answered(parcel.block.count)
            elif fast or (full and parcel.terms.patient):
                parcel.alone = False
                pause = min(max(answer.retry_after, PAUSE_MIN), PAUSE_MAX)
                self._held.append((now + pause, parcel))
            elif len(letter.parcels) > 1 and answer.code != "forgotten":  # its tasks may be there
                parcel.alone = True
                again.append(parcel)
            else:
                detail = {"code": answer.code, "reason": answer.reason, "path": answer.path}
                parcel.block.refuse({**detail, "retry_after": answer.retry_after})
                self._answered(parcel.block.count)
        self._waiting.extendleft(reversed(again))

    def withdraw(self, blocks: Iterable[Block]) -> None:
        """Their sender has given up. What is under way may be stored nevertheless; it is not repeated."""
        for block in blocks:
            for part in block.chain():
                part.withdrawn = True
        for number, letter in list(self.flying.items()):
            if all(parcel.block.withdrawn for parcel in letter.parcels):
                del self.flying[number]
                self._answered(letter.count)
        dropped = [p.block.count for p in (*self._waiting, *(p for _, p in self._held)) if p.block.withdrawn]
        if dropped:
            self._waiting = deque(parcel for parcel in self._waiting if not parcel.block.withdrawn)
            self._held = deque((time, parcel) for time, parcel in self._held if not parcel.block.withdrawn)
            self._answered(sum(dropped))

    def _answered(self, count: int) -> None:
        if count:
            self.unanswered -= count
            for waiter in tuple(self.waiters):
                waiter.wake()
