"""Waiting for tasks on behalf of a person: with a bar, up to a deadline, over a restart of the supervisor.

Ctrl-C and a deadline end only the wait: the tasks go on, and the exit code (75) says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..workers.errors import PoolUnreachable, TaskUnknown, WorkerHostError
from ..workers.json_value import json_value
from . import documents, progress
from .exits import BUSY, FAILED, OK, UNREACHABLE, code_of, say

if TYPE_CHECKING:
    from ..transport.client import Client
    from ..transport.handle import Handle

GLANCE_SECONDS = 0.2
"""Between two looks at the progress of a task; its end is heard at once."""

POLL_SECONDS = 0.5
_STUCK_SECONDS = 3.0
"""After which a task that is queued still is said to be, and why."""

COUNTED_MAX = 1000
"""Unfinished tasks of a tag that are counted: whether there are any is what matters."""

_PULSE_SECONDS = 2.0
"""So often a pool of which nothing is heard is asked whether it is there."""

AWAY_SECONDS_MAX = 60.0
"""How long the pool may be away in the middle of a wait: a supervisor that is started again needs a few seconds."""

UNFINISHED = ("waiting", "scheduled", "queued", "running")


def deadline(seconds: float | None) -> float:
    """The moment until which to wait, for the other functions of this file."""
    return float("inf") if seconds is None else time.monotonic() + seconds


class Patience:
    """Lets a pool be away for a while.

    Args:
        pulse: Asks what only a pool that is there answers, where `look` may find nothing in one that is not.
    """

    def __init__(self, pulse: Callable[[], object] | None = None) -> None:
        self._pulse, self._felt = pulse, time.monotonic()
        self._since: float | None = None

    @property
    def away(self) -> bool:
        """Whether the pool did not answer of late."""
        return self._since is not None

    def code(self, *, interrupted: bool) -> int:
        """The exit code of a wait that was over before what it waited for."""
        return UNREACHABLE if self.away and not interrupted else BUSY

    def during(self, look: Callable[[], Any], otherwise: Any) -> Any:
        """What `look` finds, or `otherwise` while the pool is away.

        Raises:
            PoolUnreachable: It has been away for too long.
        """
        try:
            found = look()
            if not found and self._pulse is not None and time.monotonic() - self._felt >= _PULSE_SECONDS:
                self._pulse()
                self._felt = time.monotonic()
        except PoolUnreachable:
            now = time.monotonic()
            if self._since is None:
                self._since = now
                say("the pool is away; waiting for it")
            elif now - self._since > AWAY_SECONDS_MAX:
                raise
            return otherwise
        self._since = None
        return found


def for_value(client: Client, handle: Handle, *, as_json: bool) -> int:
    """Wait for the end of a task and print its value, or everything about it as one document."""
    with _going_on(lambda: [handle.id]) as interrupted, progress.bar(f"task {handle.id}", 1.0) as bar:
        patience, stuck = Patience(client.status), deadline(_STUCK_SECONDS)
        while not patience.during(lambda: handle.wait(GLANCE_SECONDS), False):
            latest = handle.progress
            if time.monotonic() > stuck and handle.state == "queued":
                stuck = deadline(None)
                _say_why(client, handle.id)
            if latest.at is not None:
                bar.update(latest.fraction, latest.note)
    if interrupted:
        return BUSY
    if as_json:
        document = documents.task(client.show(handle.id))
        documents.show(document)
        return OK if document["state"] == "completed" else FAILED
    documents.show(json_value(handle.result(0)))
    return OK


def _say_why(client: Client, id: int) -> None:
    with suppress(PoolUnreachable):
        reasons = client.why(id)["reasons"]
        if reasons:
            say(f"task {id} waits: {reasons[0]['text']}; `workerhost why {id}` says more")


def for_tasks(client: Client, ids: Sequence[int], until: float, *, as_json: bool) -> int:
    """Wait for tasks by number and tell each one's end."""
    handles = [client.task(id) for id in dict.fromkeys(ids)]
    left = {handle.id: handle for handle in handles}
    codes = [OK]
    with _going_on(lambda: list(left)) as interrupted, progress.bar("waiting", len(handles)) as bar:
        patience = Patience(client.status)
        while left and time.monotonic() < until:
            bar.update(len(handles) - len(left))
            first = next(iter(left.values()))
            patience.during(
                lambda first=first: first.wait(min(GLANCE_SECONDS, max(until - time.monotonic(), 0))), False
            )
            for handle in [handle for handle in left.values() if handle.wait(0)]:
                del left[handle.id]
                codes.append(_tell(client, handle, as_json=as_json))
    if left and not interrupted:
        say(f"{'not heard of' if patience.away else 'still running'}: {_ids(list(left))}")
    return patience.code(interrupted=bool(interrupted)) if left else max(codes)


def _tell(client: Client, handle: Handle, *, as_json: bool) -> int:
    try:
        handle.result(0)
        state, code, why = "completed", OK, ""
    except TaskUnknown:
        raise
    except WorkerHostError as error:
        state, code, why = str(handle.state), code_of(error), f": {error}"
    if as_json:
        documents.show(documents.task(client.show(handle.id)))
    else:
        print(f"{handle.id} {state}{why}", flush=True)
    return code


def for_tag(client: Client, tag: str, until: float) -> int:
    """Wait until every task with a tag has ended."""
    return _poll(
        lambda: sum(len(client.tasks(state=_state(state), tag=tag, limit=COUNTED_MAX)) for state in UNFINISHED),
        f"tasks with tag {tag}",
        until,
        lambda: any(client.tasks(state=_state(state), tag=tag, limit=1) for state in documents.ENDED_BADLY),
    )


def for_idle(client: Client, until: float) -> int:
    """Wait until the pool has no unfinished task."""

    def unfinished() -> int:
        tasks: dict[str, int] = client.status()["tasks"]
        return sum(tasks.get(state, 0) for state in UNFINISHED)

    return _poll(unfinished, "unfinished tasks", until, lambda: False)


def _poll(count: Callable[[], int], what: str, until: float, failed: Callable[[], bool]) -> int:
    """Wait until a count is zero."""
    patience = Patience()
    left = most = count()
    with _going_on(list) as interrupted, progress.bar(what, max(most, 1)) as bar:
        while left and time.monotonic() < until:
            most = max(most, left)
            bar.update(most - left, f"{left} left")
            time.sleep(min(POLL_SECONDS, max(until - time.monotonic(), 0)))
            left = patience.during(count, left)
    if left and not interrupted:
        say(f"still {left} {what}")
    if left:
        return patience.code(interrupted=bool(interrupted))
    return FAILED if failed() else OK


@contextmanager
def _going_on(ids: Callable[[], list[int]]) -> Generator[list[bool]]:
    """Ctrl-C ends the wait, not the tasks. Holds something after it was pressed."""
    pressed: list[bool] = []
    try:
        yield pressed
    except KeyboardInterrupt:
        pressed.append(True)
        again = f"; wait again: workerhost wait {_ids(ids(), ' ')}" if ids() else ""
        say(f"stopped waiting, the work goes on{again}")


def _ids(ids: list[int], between: str = ", ") -> str:
    return between.join(map(str, ids[:10])) + (" ..." if len(ids) > 10 else "")


def _state(name: str) -> Any:
    from ..transport.messages import TaskState

    return TaskState(name)
