"""Pushed news of tasks, put where their handles look. This is the client's hot path: one loop, no call per task."""

from __future__ import annotations

from typing import Any, Final

from .block import UNKNOWN, Block, Register
from .messages import STATES, Events, TaskState

_COMPLETED: Final = STATES.index(TaskState.COMPLETED)
_RUNNING: Final = STATES.index(TaskState.RUNNING)
_LAST: Final = len(STATES) - 1


def take_events(message: Events, register: Register, foreign: set[int], after: int) -> tuple[int, int]:
    """Put all of a message where it belongs.

    Args:
        message: Untrusted inside its lists.
        register: The blocks that someone still holds.
        foreign: Ids that are watched one by one; those that end are taken out.
        after: The last end of this session that was seen.

    Returns:
        How many ends there were, and the last end seen now. Ends of other sessions are not in the order of this one:
        they carry the number 0. One of our own carries its own also where somebody watches it by its id.

    Raises:
        TypeError, ValueError, IndexError: It is not what the protocol says.
    """
    finished = message.finished
    if finished:
        _take_finished(finished, register)
        if register.aliases:
            _take_for_others(finished, register)
        if foreign:
            for row in finished:
                foreign.discard(row[0])
                after = max(after, row[1])
        else:
            after = max(after, finished[-1][1])
    for id, fraction, note, at in message.progress:
        _take_progress(register, id, fraction, note, at)
    for id, code in message.states:
        _take_state(register, id, code)
        if code == UNKNOWN:
            foreign.discard(id)
    return len(finished), after


def _take_finished(finished: list[Any], register: Register) -> None:
    block: Block | None = None
    first = stop = 0
    ends: list[Any] = []
    offsets: list[int] = []
    for row in finished:
        id = row[0]
        if not first <= id < stop:  # mostly the next end is of the same block
            if block is not None:
                _settle(block, offsets)
            offsets = []
            block = register.find(id)
            if block is None:
                first = stop = 0
                continue
            first, ends = block.first, block.ends
            stop = first + block.count
        offset = id - first
        if row[2] == _COMPLETED and ends[offset] is None and type(row[3]) is bytes:
            ends[offset] = row[3]
            offsets.append(offset)
        elif block is not None:
            block.end(offset, _checked_end(row))
            block.tell((offset,))
    if block is not None:
        _settle(block, offsets)


def _take_for_others(finished: list[Any], register: Register) -> None:
    """Ends that are also those of tasks that stand for others."""
    for row in finished:
        for reference, offset in register.aliases.get(row[0], ()):
            if (block := reference()) is not None:
                block.end(offset, _checked_end(row))
                block.tell((offset,))


def _settle(block: Block, offsets: list[int]) -> None:
    """Count and tell what the loop has put there."""
    if offsets:
        block.left -= len(offsets)
        block.completed += len(offsets)
        block.tell(offsets)


def _checked_end(row: list[Any]) -> Any:
    _, _, code, body, detail = row[:5]
    if code == _COMPLETED and type(body) is bytes:
        return body
    if type(code) is not int or not _COMPLETED < code <= _LAST or not isinstance(detail, dict | None):
        raise ValueError("an end that is none")
    return code, b"", detail


def _take_progress(register: Register, id: int, fraction: float, note: str, at: float) -> None:
    for block, offset in register.places(id):
        block.states[offset] = _RUNNING
        block.progress[offset] = (float(fraction), str(note), float(at))
        block.tell()


def _take_state(register: Register, id: int, code: int) -> None:
    if type(code) is not int or not UNKNOWN <= code <= _LAST:
        raise ValueError("a state that is none")
    for block, offset in register.places(id):
        if code == UNKNOWN:
            if block.ends[offset] is None:  # else somebody looked up anew what had ended before it was forgotten
                block.end(offset, (UNKNOWN, b"", None))
                block.tell((offset,))
            if block.foreign:
                register.drop(id)  # a task of this number may yet be sent
            continue
        if block.ends[offset] is not None and code < _COMPLETED:
            block.reopen(offset)  # somebody had it tried again
        block.states[offset] = code
        block.tell()
