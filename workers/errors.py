"""Every error that WorkerHost raises to a user.

The tree says what happened to the task: `TaskRefused` and `PoolBusy` mean that nothing was stored,
`TaskFailed` that it ran (or was tried) and ended badly, `PoolUnreachable` that nobody answered.
`TimeoutError` (the built-in) only ever means that the caller stopped waiting.
"""

from __future__ import annotations

from typing import Any, Final

KINDS: Final = ("transient", "permanent", "configuration", "system", "quota", "auth")
"""What a failure can be, as far as somebody can tell; `other` is what nobody has classed."""


class WorkerHostError(Exception):
    """The root of all errors of this package."""


class ConfigError(WorkerHostError):
    """The configuration is wrong. The message names the key or path and the cure; commands exit with 78."""


class TaskFailed(WorkerHostError):
    """A task ended as failed.

    Attributes:
        id: The task's number.
        cause: Why the last attempt ended: `exception`, `failed` (said by the worker), `timeout`, `no_progress`,
            `crash`, `oom`, `processes`, `cpu`, `output`, `result_too_large`, `protocol_error`, `start_failed`,
            `expired`, `release_limit`; of a quarantined task also `host_lost`.
        error_type: The exception's class name on the host, or "".
        message: The error's text.
        traceback: The traceback as text, or "".
        attempts: How many attempts were started.
        host: The name of the host of the last attempt, or "".
        kind: What the last failure was: `transient`, `permanent`, `configuration`, `system`, `quota` or `auth`, or ""
            where nobody could tell.
    """

    def __init__(
        self,
        id: int,
        *,
        cause: str = "exception",
        error_type: str = "",
        message: str = "",
        traceback: str = "",
        attempts: int = 0,
        host: str = "",
        kind: str = "",
    ) -> None:
        self.id, self.cause, self.error_type, self.message = id, cause, error_type, message
        self.traceback, self.attempts, self.host, self.kind = traceback, attempts, host, kind
        what = f"{error_type}: {message}" if error_type else message or cause
        super().__init__(f"task {id} failed after {attempts} attempt(s): {what}")


class TaskQuarantined(TaskFailed):
    """A task killed its worker too often (`crash_limit`) and is not tried again until `retry` by hand."""


class TaskCancelled(WorkerHostError):
    """A task was cancelled. `reason` says by whom or why."""

    def __init__(self, id: int, reason: str = "") -> None:
        self.id, self.reason = id, reason
        super().__init__(f"task {id} was cancelled" + (f": {reason}" if reason else ""))


class TaskUnknown(WorkerHostError):
    """The pool has no task of this number (never sent here, or pruned)."""


class TaskRefused(WorkerHostError):
    """The pool or the client refused a task; nothing was stored."""


class InvalidTask(TaskRefused):
    """A task cannot be sent as it is. `path` names the offending part, such as `params["clips"][3]`."""

    def __init__(self, message: str, path: str = "") -> None:
        self.path = path
        super().__init__(message)


class TooLarge(TaskRefused):
    """Params above the limit. Store the data elsewhere and send where it is."""


class NoHost(TaskRefused):
    """`require_host=True` and no joined host serves the type."""


class KeyConflict(TaskRefused):
    """The key is in use by an unfinished task and the send asked to refuse."""


class PoolBusy(WorkerHostError):
    """The pool cannot take the task now; nothing was stored. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class QueueFull(PoolBusy):
    """The queue holds `queue.max_size` unfinished tasks."""


class DiskFull(PoolBusy):
    """The supervisor's disk is below its reserve."""


class PoolUnreachable(WorkerHostError):
    """No supervisor answered within the timeout. The message says the address, what was met, and the cure."""


class PoolRefused(WorkerHostError):
    """A supervisor answered and refused this peer (version, identity, name). The message says why."""


class Release(Exception):
    """Raised by a worker: give the task back. No failure is counted; the hundredth time it fails (`release_limit`).

    Args:
        reason: Shown by `show` and `why`.
        after: Seconds before it may run again (0: at once, anywhere).
    """

    def __init__(self, reason: str = "", *, after: float = 0.0) -> None:
        self.reason, self.after = reason, after
        super().__init__(reason)


class Fail(Exception):
    """Raised by a worker: this attempt failed; `kind` says what follows.

    - `transient` (a connection broke, the service is busy), `system` (this host has no room, no memory): tried again as
      the type's `retry` says.
    - `permanent` (there is no such film), `configuration` (a setting is wrong): final. Also the default.
    - `quota`: the service takes no more. The task goes back, no failure is counted, and all of `node` sleeps for
      `after` seconds, without it until the node's own quota resets, or an hour. Set back 100 times, a task fails.
    - `auth`: the service does not know us any more. The task goes back, and all of `node` is paused until `resume`.

    Args:
        reason: The error's text.
        retry: Whether it may be tried again, whatever its kind; None: the kind decides. If given, `quota` and `auth`
            stop no node either.
        after: Seconds before the next try, instead of the policy's backoff (a service's Retry-After).
        kind: One of these, or None.
        node: With `quota` and `auth`: whose service it is, the task's type or a node above it. Default: the platform,
            which is the first two parts of the type.

    Raises:
        ValueError: The kind is none of these.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry: bool | None = None,
        after: float | None = None,
        kind: str | None = None,
        node: str | None = None,
    ) -> None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not known; use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
        self.reason, self.retry, self.after, self.kind, self.node = reason, retry, after, kind, node
        super().__init__(reason)


def plain(value: Any, limit: int = 1024) -> str:
    """Text of `value` fit for logs and messages: control characters escaped, cut at `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:limit])
