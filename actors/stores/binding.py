"""How rows are bound to the statements of the SQLite store and read back. Pure; the per-task cost of a store is here.

Binding a value costs SQLite's Python module as much as much of the row's writing, None and bool most of all. Nearly
every task is sent to run at once, and nearly every one completes at its first attempt; steps that hold nothing else
have statements of their own, which bind only what differs from task to task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from operator import itemgetter
from typing import Any, Final

from ..core.rows import COLUMNS, COMPLETED, QUEUED, RUNNING
from . import statements
from .blobs import pack, unpack
from .views import End, end_row

Values = tuple[Any, ...]

_OPTIONS, _FINISH_DETAIL, _ATTEMPT_DETAIL = COLUMNS.index("options"), 6, 8
_OTHERS: Final = 5
_STATE, _CLAIMED = COLUMNS.index("state"), 4

_TOGETHER: Final = (1, 8, 64, 512)
"""How many values a statement looks for at once."""

_FRESH_VARIES: Final = ("id", "lane", "priority", "place", "session", "sent_at", "params")
_FRESH_SAME: Final = tuple(name for name in COLUMNS if name not in _FRESH_VARIES)
_FRESH_NOT_ZERO: Final = {"state": QUEUED, "due": None, "started_at": None, "options": None}
_FRESH: Final = tuple(_FRESH_NOT_ZERO.get(name, 0) for name in _FRESH_SAME)
_fresh_varies: Final = itemgetter(*map(COLUMNS.index, _FRESH_VARIES))
_fresh_same: Final = itemgetter(*map(COLUMNS.index, _FRESH_SAME))

_PLAIN: Final = (COMPLETED, None, 0, 0)
_plain_same: Final = itemgetter(0, 6, 7, 8)  # state, detail, failures, crashes
_plain_varies: Final = itemgetter(1, 2, 3, 4, 5, 9, 10)  # finish, ended_at, started_at, slot, body, id, fence


def for_tasks(rows: list[Values]) -> tuple[str, list[Values]]:
    """The statement for new tasks, and what to bind to it."""
    if _all(rows, _fresh_same, _FRESH):
        return statements.INSERT_FRESH_TASK, list(map(_fresh_varies, rows))
    return statements.INSERT_TASK, _packed(rows, _OPTIONS)


def granted_at_once(
    tasks: Sequence[Values], claims: Sequence[Values]
) -> tuple[list[Values], list[Values], list[Values]]:
    """New tasks that wait, new tasks that run (as they are once claimed), and claims of tasks that are stored already.

    A task that is sent and granted in one step is written once, as it is in the end: the index of what waits never
    hears of it. That is how a single task goes through an idle pool.
    """
    first = tasks[0][0] if tasks and claims else inf
    fresh = {claim[_CLAIMED]: claim for claim in claims if claim[_CLAIMED] >= first}
    if not fresh:
        return list(tasks), [], list(claims)
    waiting: list[Values] = []
    running: list[Values] = []
    for row in tasks:
        claim = fresh.get(row[0]) if row[_STATE] == QUEUED else None
        if claim is None:
            waiting.append(row)
            continue
        del fresh[row[0]]
        fence, attempt, owner, started_at, _ = claim
        running.append((*row[:4], RUNNING, row[5], fence, attempt, *row[8:15], owner, started_at, *row[17:]))
    return waiting, running, [claim for claim in claims if claim[_CLAIMED] < first or claim[_CLAIMED] in fresh]


def for_running(rows: list[Values]) -> tuple[str, list[Values]]:
    """The statement for new tasks that run already, and what to bind to it."""
    return statements.INSERT_TASK, _packed(rows, _OPTIONS)


def for_finishes(rows: list[Values]) -> tuple[str, list[Values]]:
    """The statement for ends, and what to bind to it."""
    if _all(rows, _plain_same, _PLAIN):
        return statements.COMPLETE, list(map(_plain_varies, rows))
    return statements.FINISH, _packed(rows, _FINISH_DETAIL)


def for_attempts(rows: list[Values]) -> tuple[str, list[Values]]:
    """The statement for ended attempts, and what to bind to it."""
    return statements.PUT_ATTEMPT, _packed(rows, _ATTEMPT_DETAIL)


def rows_of(found: Iterable[Values]) -> list[Values]:
    """Tasks as `COLUMNS` has them."""
    return [
        row if row[_OPTIONS] is None else (*row[:_OPTIONS], unpack(row[_OPTIONS]), *row[_OPTIONS + 1 :])
        for row in found
    ]


def ends_of(found: Iterable[Values], size: float = inf) -> list[End]:
    """Ends as `Replay` and `Ends` feed them back, and no more once their results exceed `size` bytes."""
    ends: list[End] = []
    for id, finish, state, body, detail, attempt, host in found:
        ends.append(end_row(id, finish, state, body, unpack(detail), attempt, host))
        size -= len(body or b"")
        if size <= 0:
            break
    return ends


def chunks(values: Sequence[Any]) -> Iterator[list[Any]]:
    """Values in parts for as many `marks`: of a few sizes, so that few statements are prepared. A part that is not full
    ends with its last value again and again.
    """
    for start in range(0, len(values), _TOGETHER[-1]):
        part = list(values[start : start + _TOGETHER[-1]])
        yield part + part[-1:] * (next(size for size in _TOGETHER if size >= len(part)) - len(part))


def marks(values: Sequence[Any]) -> str:
    """What stands for values in a statement, in brackets."""
    return f"({', '.join('?' * len(values))})"


def for_submissions(rows: list[Values]) -> list[Values]:
    """What to bind for submissions."""
    return _packed(rows, _OTHERS)


def submissions_of(found: Iterable[Values]) -> list[Values]:
    """Submissions as `Resume` feeds them back."""
    return [(*row[:-1], unpack(row[-1])) for row in found]


def _all(rows: list[Values], part: Callable[[Values], Any], value: Values) -> bool:
    """Whether that part of every row has that value (a loop in C, for it runs over every task)."""
    return list(map(part, rows)).count(value) == len(rows)


def _packed(rows: list[Values], column: int) -> list[Values]:
    """The rows with the dict in `column` as a blob. Those that have none stay the tuples they are."""
    return [row if row[column] is None else (*row[:column], pack(row[column]), *row[column + 1 :]) for row in rows]
