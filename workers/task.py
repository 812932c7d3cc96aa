"""What a worker's author handles: the `Task` that comes in and the `Result` that goes out.

Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Value_co = TypeVar("Value_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Value_co = TypeVar("Value_co", covariant=True)


@dataclass(frozen=True)
class Task(Generic[Value_co]):
    """One unit of work as its worker sees it. `Task[int]`: its result is an int (see `worker`); plain `Task`: anything.

    Attributes:
        id: The task's number in the pool.
        type: Dotted path of one to three parts, such as `video.youtube.channel`.
        params: What the sender passed (msgpack types: None, bool, int, float, str, bytes, list, dict, datetime).
        priority: Larger runs first.
        attempt: 1 at the first start, only grows.
        failures: Attempts of this run-through that failed.
        deadline: When this attempt is stopped (aware, UTC), or None.
        key: The sender's name for the task, or None.
        tags: The sender's tags.
        sent_at: When the pool accepted it (aware, UTC), or None for a task that was never sent (`try`, tests).
        fence: Grows with every grant: pass it on as an idempotency token to systems that check one.
        checkpoint: What the last attempt saved with `BaseWorker.checkpoint`, or None.
    """

    id: int
    type: str
    params: Any = field(default_factory=dict)
    priority: int = 5
    attempt: int = 1
    failures: int = 0
    deadline: datetime | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    sent_at: datetime | None = None
    fence: int = 0
    checkpoint: Any = None


@dataclass(frozen=True)
class Result:
    """What a worker may return. `success=False` equals `raise Fail(error, retry=retry)`.

    Attributes:
        success: Whether the task is done.
        data: The value the sender gets.
        error: Why it failed.
        retry: Whether a failure may be tried again.
    """

    success: bool
    data: Any = None
    error: str | None = None
    retry: bool = True
