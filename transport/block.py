"""What a client remembers of its tasks: blocks of consecutive ids, how each of them ended, and who waits for them.

A block is written by one thread (its connection's actor) and read by any. It lives as long as a handle, a batch or an
unanswered submission holds it; the register only knows of it and forgets it with its last holder.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

UNKNOWN: Final = -1
"""Code of an end, and of a state on the wire: the pool has no such task."""

_ALIASES_MIN: Final = 10_000
REFUSED: Final = -2
"""Code of an end: the pool did not accept the submission. Its detail is `code`, `reason`, `path`, `retry_after`."""

End = bytes | tuple[int, bytes, dict[str, Any] | None]
"""How a task ended: the packed result of a completed one (by far the most), else (code, body, detail)."""


class Waiter:
    """A thread that waits for news. Several wake-ups before it looks are one, so it must look again after each.

    Attributes:
        ended: What ended since it last looked, as (block, offsets); None if it does not ask for that.
    """

    __slots__ = ("_lock", "ended")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.ended: deque[tuple[Block, Sequence[int]]] | None = None

    def wake(self) -> None:
        """Let it go on (any thread)."""
        with contextlib.suppress(RuntimeError):  # it was woken before and has not looked yet
            self._lock.release()

    def wait(self, seconds: float | None) -> bool:
        """Sleep until woken; False if `seconds` passed first."""
        if seconds is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))


class Block:
    """Tasks with consecutive ids that were sent together.

    Attributes:
        first: The first id; 0 until the pool has acknowledged them.
        count: How many they are.
        initial: The state code of a task of which nothing else is known.
        ends: How each ended; None: not yet.
        left: How many have not ended.
        completed: How many completed.
        states: Code of those of which more is known, by offset.
        progress: The latest (fraction, note, at) of those that told some, by offset.
        foreign: Whether it was looked up by id instead of sent by this session.
        others: Those that stand for a task that was there before, by offset: (its id, what became of their params).
        next: What was cut off from this block to fit into a full queue.
        refused: Whether the pool refused them.
        withdrawn: Whether the sender has given up waiting for the acknowledgement.
        transmitted: Whether they have left this process, so that they may be stored even if nothing came back.
        waiters: Who wants to hear of changes.
    """

    __slots__ = (
        "__weakref__",
        "completed",
        "count",
        "ends",
        "first",
        "foreign",
        "initial",
        "left",
        "next",
        "others",
        "progress",
        "refused",
        "states",
        "transmitted",
        "waiters",
        "withdrawn",
    )

    def __init__(self, count: int, initial: int, first: int = 0) -> None:
        self.first, self.count, self.initial = first, count, initial
        self.ends: list[End | None] = [None] * count
        self.left, self.completed = count, 0
        self.states: dict[int, int] = {}
        self.progress: dict[int, tuple[float, str, float]] = {}
        self.others: dict[int, tuple[int, int]] = {}
        self.next: Block | None = None
        self.foreign = self.refused = self.withdrawn = self.transmitted = False
        self.waiters: list[Waiter] = []

    @property
    def answered(self) -> bool:
        """Whether the pool has accepted or refused them."""
        return self.first != 0 or self.refused

    @property
    def known(self) -> bool:
        """Whether anything of its (first) task has been heard from the pool."""
        return self.ends[0] is not None or 0 in self.states

    def id(self, offset: int) -> int:
        """The number of a task: its own, or that of the one that it stands for."""
        return self.others[offset][0] if offset in self.others else self.first + offset

    def ids(self) -> list[range]:
        """The numbers of all tasks, as ranges, in order."""
        ranges: list[range] = []
        start = 0
        for offset in sorted(self.others):
            other = self.others[offset][0]
            ranges += [range(self.first + start, self.first + offset), range(other, other + 1)]
            start = offset + 1
        ranges.append(range(self.first + start, self.first + self.count))
        return [ids for ids in ranges if ids]

    def unfinished(self) -> list[int]:
        """The ids of those that have not ended."""
        return [self.id(offset) for offset, end in enumerate(self.ends) if end is None]

    def chain(self) -> list[Block]:
        """This block and what was cut off from it, in order."""
        found: list[Block] = []
        block: Block | None = self
        while block is not None:
            found.append(block)
            block = block.next
        return found

    def split(self, count: int) -> Block:
        """Keep the first `count` tasks (none of them sent yet); the others become the next block."""
        rest = Block(self.count - count, self.initial)
        rest.next, self.next = self.next, rest
        self.count = self.left = count
        del self.ends[count:]
        return rest

    def end(self, offset: int, end: End) -> None:
        """Take note of one end. A repeated or corrected one replaces what was known."""
        old = self.ends[offset]
        self.left -= old is None
        self.completed += (type(end) is bytes) - (type(old) is bytes)
        self.ends[offset] = end

    def reopen(self, offset: int) -> None:
        """The task was queued again by hand."""
        old = self.ends[offset]
        self.left += old is not None
        self.completed -= type(old) is bytes
        self.ends[offset] = None
        self.states.pop(offset, None)
        self.progress.pop(offset, None)

    def refuse(self, detail: dict[str, Any]) -> None:
        """The pool stored none of them."""
        self.refused = True
        self.ends = [(REFUSED, b"", detail)] * self.count
        self.left = 0
        self.tell(range(self.count))

    def tell(self, offsets: Sequence[int] = ()) -> None:
        """Wake who waits; `offsets` are those that ended just now."""
        for waiter in tuple(self.waiters):
            if offsets and waiter.ended is not None:
                waiter.ended.append((self, offsets))
            waiter.wake()


class _Reference(weakref.ref[Block]):
    """A weak reference that still knows the id under which its block is registered."""

    __slots__ = ("first",)

    first: int


class Register:
    """Finds the block of an id among those that are still held by someone. Used by one thread."""

    def __init__(self) -> None:
        self._singles: dict[int, _Reference] = {}
        self._firsts: list[int] = []
        self._spans: list[_Reference] = []
        self._gone: deque[_Reference] = deque()  # filled by whichever thread drops a block last
        self.aliases: dict[int, list[tuple[weakref.ref[Block], int]]] = {}  # tasks that others stand for
        self._aliases_max = _ALIASES_MIN

    def __len__(self) -> int:
        self._forget()
        return len(self._singles) + len(self._spans)

    def add(self, block: Block) -> None:
        """Register a block that has its ids."""
        self._forget()
        reference = _Reference(block, self._gone.append)
        reference.first = block.first
        if block.count == 1:
            self._singles[block.first] = reference
            return
        at = bisect_right(self._firsts, block.first)
        self._firsts.insert(at, block.first)
        self._spans.insert(at, reference)

    def stand_for(self, block: Block) -> None:
        """News of older tasks are also those of the tasks of this block that stand for them."""
        reference = weakref.ref(block)
        for offset, (id, _) in block.others.items():
            self.aliases.setdefault(id, []).append((reference, offset))
        if len(self.aliases) > self._aliases_max:
            living = {id: [one for one in ones if one[0]() is not None] for id, ones in self.aliases.items()}
            self.aliases = {id: ones for id, ones in living.items() if ones}
            self._aliases_max = max(_ALIASES_MIN, 2 * len(self.aliases))

    def places(self, id: int) -> list[tuple[Block, int]]:
        """Every place where news of a task belong: that of its own, and those that stand for it."""
        own = self.find(id)
        found = [] if own is None else [(own, id - own.first)]
        for reference, offset in self.aliases.get(id, ()):
            if (block := reference()) is not None:
                found.append((block, offset))
        return found

    def drop(self, id: int) -> None:
        """Forget a task that was registered alone: there is none of this number, or it turned out to be our own."""
        self._singles.pop(id, None)

    def find(self, id: int) -> Block | None:
        """The block with this id."""
        reference = self._singles.get(id)
        if reference is None:
            at = bisect_right(self._firsts, id) - 1
            if at < 0:
                return None
            reference = self._spans[at]
        block = reference()
        return block if block is not None and block.first <= id < block.first + block.count else None

    def all(self) -> list[Block]:
        """Every block that is still held."""
        self._forget()
        found = [reference() for reference in (*self._singles.values(), *self._spans)]
        return [block for block in found if block is not None]

    def _forget(self) -> None:
        while self._gone:
            gone = self._gone.popleft()
            if self._singles.get(gone.first) is gone:
                del self._singles[gone.first]
                continue
            at = bisect_right(self._firsts, gone.first) - 1
            while at >= 0 and self._firsts[at] == gone.first:
                if self._spans[at] is gone:
                    del self._firsts[at], self._spans[at]
                    break
                at -= 1
