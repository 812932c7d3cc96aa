"""What comes after what: the words of dependencies that the core and the stores share. Pure data.

An edge says that a task comes after another, and what to do if that one does not complete. It is open until the other
has ended as its policy asks; then it is met. A task with an open edge waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CANCEL, RUN, WAIT = range(3)
POLICIES: Final = {"cancel": CANCEL, "run": RUN, "wait": WAIT}
"""What `on_failure` may be: end the dependent too, run it all the same, or wait for a person."""

OPEN, WHOLE, GIVEN_UP = range(3)
"""Stages of a flow: parts of it are missing, it is all here, or its sender never sent the rest."""


@dataclass(frozen=True, slots=True)
class Dependents:
    """Need: open edges to ended tasks, by (after, task) from behind `cursor` on, at most `count`.

    Feeds (after, task, policy, open, `Row` columns or None): `open` counts the task's open edges, to `count` + 1 at
    most; the columns come with the first edge of each task.
    """

    ends: tuple[tuple[int, int], ...]  # (id, state), by id
    cursor: tuple[int, int]
    count: int


@dataclass(frozen=True, slots=True)
class Unmet:
    """Need: tasks and their open edges, at most `count` of each: (`Row` columns, [(after, policy, state of `after` or
    None if there is none), ...]).

    `purpose` and `context` are the core's own note of why it asked.
    """

    tasks: tuple[int, ...]
    count: int
    purpose: str
    context: Any = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """Need: the next `count` edges by (after, task) from behind `cursor` on: (after, task, met, state of `after`)."""

    cursor: tuple[int, int]
    count: int


@dataclass(frozen=True, slots=True)
class FlowsOf:
    """Need: these flows: (row as in `Persist.flows`, [(start, first, count), ...])."""

    flows: tuple[int, ...]
    context: Any = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """Need: of each (task, ids whose results it takes): (`Row` columns, bytes of its params and of all the results)."""

    tasks: tuple[tuple[int, tuple[int, ...]], ...]


EdgeNeed = Dependents | Unmet | Awaited | FlowsOf | Gathered
