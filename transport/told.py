"""What was told of tasks, for whoever holds them: their numbers, states and progress. Nothing here asks or waits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from ..workers.errors import WorkerHostError
from .block import REFUSED, UNKNOWN, Block, End
from .messages import STATES, TaskState
from .outcome import error_of
from .references import Reference

_COMPLETED: Final = STATES.index(TaskState.COMPLETED)


Existing = Literal["same", "other", "replaced"]
_EXISTING: Final[tuple[Existing, ...]] = ("same", "other", "replaced")


class Progress(NamedTuple):
    """How far a task, or a batch, has come.

    Attributes:
        fraction: From 0 to 1.
        note: What the worker said about it, or "".
        at: When it was said (aware, UTC), or None if nothing was.
    """

    fraction: float
    note: str
    at: datetime | None


class Told(Reference):
    """One task, as far as the pool has told."""

    __slots__ = ("_block", "_offset")

    def __init__(self, block: Block, offset: int) -> None:
        self._block, self._offset = block, offset

    @property
    def existing(self) -> Existing | None:
        """Whether it is a task that was there before, because of its key: with the `same` params, with `other` ones
        (what was sent here was not taken), or with those of this send, in the place of its own (`replaced`). None: it
        is a new one, or the pool has not acknowledged it.
        """
        other = self._block.others.get(self._offset)
        return None if other is None else _EXISTING[other[1]]

    @property
    def state(self) -> TaskState:
        """Where the task is, as far as the pool has told.

        Raises:
            TaskRefused, PoolBusy: The pool did not store it.
            TaskUnknown: The pool does not know it.
        """
        code = _state_of(self._block, self._offset)
        if code < 0:
            raise self._error() or WorkerHostError("the task has no state")
        return STATES[code]

    @property
    def progress(self) -> Progress:
        """What the worker told last."""
        fraction, note, at = self._block.progress.get(self._offset, (0.0, "", 0.0))
        if isinstance(self._block.ends[self._offset], bytes):
            fraction = 1.0
        return Progress(fraction, note, datetime.fromtimestamp(at, UTC) if at else None)

    def _end(self) -> End:
        end = self._block.ends[self._offset]
        assert end is not None
        return end

    def _error(self) -> WorkerHostError | None:
        return error_of(self._block.id(self._offset), self._end())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and self._block is other._block and self._offset == other._offset

    def __hash__(self) -> int:
        return hash((id(self._block), self._offset))

    def __repr__(self) -> str:
        number = self._block.id(self._offset) if self._block.first else "not acknowledged"
        return f"<{type(self).__name__} {number} {_word(_state_of(self._block, self._offset))}>"


class ToldBatch:
    """Tasks in their order, as far as the pool has told."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = list(blocks)
        self._stops = list(accumulate(block.count for block in self._blocks))

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def _at(self, index: int) -> tuple[Block, int]:
        """Where news of one of them arrive.

        Raises:
            IndexError: There are not so many.
        """
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"number {index} of a batch of {len(self)}")
        at = bisect_right(self._stops, position)
        return self._blocks[at], position - (self._stops[at - 1] if at else 0)

    @property
    def counts(self) -> dict[TaskState, int]:
        """How many tasks are in each state; states without any are absent."""
        codes: dict[int, int] = {}
        for block in self._blocks:
            if block.left == 0 and block.completed == block.count:
                codes[_COMPLETED] = codes.get(_COMPLETED, 0) + block.count
                continue
            for offset in range(block.count):
                code = _state_of(block, offset)
                codes[code] = codes.get(code, 0) + 1
        return {state: codes[code] for code, state in enumerate(STATES) if code in codes}

    @property
    def progress(self) -> Progress:
        """All tasks together; the note says how many have ended."""
        ended = len(self) - sum(block.left for block in self._blocks)
        running = [told for block in self._blocks for told in _of_unfinished(block)]
        fraction = (ended + sum(fraction for fraction, _, _ in running)) / len(self) if len(self) else 1.0
        at = max((at for _, _, at in running), default=0.0)
        note = f"{ended} of {len(self)} ended"
        return Progress(fraction, note, datetime.fromtimestamp(at, UTC) if at else None)

    def ids(self) -> list[range]:
        """The tasks' numbers, as ranges, in order."""
        return [ids for block in self._blocks for ids in block.ids()]

    def __repr__(self) -> str:
        ids = ", ".join(f"{r.start}-{r.stop - 1}" for r in self.ids()[:3]) + ("..." if len(self._blocks) > 3 else "")
        return f"<{type(self).__name__} of {len(self)}: {ids}>"


def _of_unfinished(block: Block) -> Iterator[tuple[float, str, float]]:
    for offset, told in list(block.progress.items()):
        if block.ends[offset] is None:
            yield told


def _state_of(block: Block, offset: int) -> int:
    end = block.ends[offset]
    if end is None:
        return block.states.get(offset, block.initial)
    return _COMPLETED if isinstance(end, bytes) else end[0]


def _word(code: int) -> str:
    return {UNKNOWN: "unknown to the pool", REFUSED: "refused"}.get(code) or STATES[code].value
