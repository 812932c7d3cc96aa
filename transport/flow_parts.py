"""A flow on its way out: its tasks in groups, cut into parts that a SUBMIT can hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..workers.errors import InvalidTask
from .block import Block
from .messages import STATES, TaskState
from .parcel import BYTES_MAX, EDGE_BYTES, EDGES_MAX, GROUP_BYTES, ITEM_BYTES, options_bytes
from .part import Part
from .terms import AFTER_MAX, Terms, check_results

PART_TASKS_MAX: Final = 10_000
PART_EDGES_MAX: Final = 20_000
"""One task may have more, up to what the pool takes."""
_GROUPS_MAX: Final = 4000
_RUN_MIN: Final = 3
_WAITING, _QUEUED = STATES.index(TaskState.WAITING), STATES.index(TaskState.QUEUED)


@dataclass(slots=True)
class Wanted:
    """A task of a flow that is not handed in yet.

    Attributes:
        terms: What it is sent with.
        params: Packed.
        after: Tasks that were handed in before (id), and what to do if one does not complete.
        within: Tasks of this flow (place), and the same.
        results: (offset in `params`, whether the number is a place, id or place).
    """

    terms: Terms
    params: bytes
    after: dict[int, str] = field(default_factory=dict)
    within: dict[int, str] = field(default_factory=dict)
    results: list[tuple[int, bool, int]] = field(default_factory=list)


def parts(tasks: Sequence[Wanted], name: str) -> Iterator[Part]:
    """Cut a flow into parts, in its order.

    Raises:
        InvalidTask: A task comes after too many others, or takes up too many results.
    """
    start = 0
    while start < len(tasks):
        stop = _stop(tasks, start)
        groups, size = _groups(tasks[start:stop])
        flow: dict[str, Any] = {"name": name} if start == 0 else {"start": start}
        if stop < len(tasks):
            flow["last"] = False
        block = Block(stop - start, _WAITING)
        block.states = {
            offset: _QUEUED for offset, task in enumerate(tasks[start:stop]) if not task.after and not task.within
        }
        yield Part(groups, flow, size, block)
        start = stop


def _stop(tasks: Sequence[Wanted], start: int) -> int:
    """The place behind the last task that still fits into a part from `start` on."""
    size = edges = results = groups = 0
    named: set[int] = set()
    before: Wanted | None = None
    for place in range(start, min(len(tasks), start + PART_TASKS_MAX)):
        task = tasks[place]
        own = len(task.after) + len(task.within)
        if own > EDGES_MAX:
            raise InvalidTask(f"after: a task comes after {own} others; at most {EDGES_MAX}", "after")
        check_results(len(task.results))
        edges += own
        results += len(task.results)
        named.update(task.after)
        size += len(task.params) + ITEM_BYTES + GROUP_BYTES + EDGE_BYTES * (own + len(task.results))
        if before is None or not _alike(before, task):
            groups += 1
            size += options_bytes(task.terms.options)
        tied = max(edges, results) > PART_EDGES_MAX or len(named) > AFTER_MAX
        if place > start and (tied or size > BYTES_MAX or groups > _GROUPS_MAX):
            return place
        before = task
    return min(len(tasks), start + PART_TASKS_MAX)


def _alike(one: Wanted, other: Wanted) -> bool:
    """Whether two tasks in a row may be of one group."""
    return (
        one.terms[:3] == other.terms[:3]
        and not one.results
        and not other.results
        and one.after == other.after
        and one.within == other.within
    )


def _groups(tasks: Sequence[Wanted]) -> tuple[list[Any], int]:
    groups: list[Any] = []
    size = 0
    before: Wanted | None = None
    for task in tasks:
        if before is None or not _alike(before, task):
            groups.append([task.terms.type, task.terms.priority, _options(task), []])
            size += GROUP_BYTES + EDGE_BYTES * (len(task.after) + len(task.within) + len(task.results))
            size += options_bytes(task.terms.options)
        groups[-1][3].append(task.params)
        size += len(task.params) + ITEM_BYTES
        before = task
    return groups, size


def _options(task: Wanted) -> dict[str, Any] | None:
    options: dict[str, Any] = dict(task.terms.options or {})
    after, within = list(task.after), sorted(task.within)
    if after:
        options["after"] = after
    if within:
        options["within"] = _spans(within)
    words = [*task.after.values(), *(task.within[place] for place in within)]
    if len(set(words)) > 1:
        options["on_failure"] = words
    elif words and words[0] != "cancel":
        options["on_failure"] = words[0]
    if task.results:
        numbers = {(False, id): number for number, id in enumerate(after)}
        numbers |= {(True, place): number for number, place in enumerate(within, len(after))}
        options["results"] = [[offset, numbers[inside, number]] for offset, inside, number in task.results]
    return options or None


def _spans(places: list[int]) -> list[Any]:
    """Places in order, those in a row as [first, count]."""
    spans: list[Any] = []
    start = 0
    for index in range(1, len(places) + 1):
        if index == len(places) or places[index] != places[index - 1] + 1:
            run = places[start:index]
            spans += [[run[0], len(run)]] if len(run) >= _RUN_MIN else run
            start = index
    return spans
