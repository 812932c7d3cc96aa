"""What a task is sent with: type, priority and options, checked before anything leaves the process.

Turns what a caller wrote into what SUBMIT carries. Params are packed elsewhere (`parcel.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypedDict, cast

from ..config.policy import TENANT_PATTERN, TYPE_PATTERN
from ..config.resources import Required, resources
from ..workers.errors import InvalidTask, plain
from .messages import STATES, TaskState

PRIORITY_MAX: Final = 2**31 - 1
TAGS_MAX: Final = 32
TAG_CHARACTERS_MAX: Final = 128
KEY_CHARACTERS_MAX: Final = 255

ID_MAX: Final = 2**63 - 1

AFTER_MAX: Final = 10_000
"""Tasks that one comes after."""
RESULTS_MAX: Final = 10_000
"""Results of others in the params of one."""
ON_FAILURE: Final = ("cancel", "run", "wait")

_WAITING: Final = STATES.index(TaskState.WAITING)
_QUEUED: Final = STATES.index(TaskState.QUEUED)
_SCHEDULED: Final = STATES.index(TaskState.SCHEDULED)


class SendingInFlow(TypedDict, total=False):
    """The keyword arguments that tasks of a flow take, too."""

    priority: int
    delay: float | timedelta | None
    at: float | datetime | None
    expires: float | datetime | None
    timeout: float | timedelta | None
    max_attempts: int | None
    tags: Sequence[str]
    require_host: bool
    tenant: str | None
    requires: Required | None
    full: Literal["raise", "wait"]


class Sending(SendingInFlow, total=False):
    """The keyword arguments that every way to send a task takes; `Client.send` says what each means."""

    after: Any
    on_failure: Literal["cancel", "run", "wait"]
    key: str | Callable[[Any], str] | None
    unique_for: float | timedelta | Literal["kept"] | None
    on_conflict: Literal["return", "replace", "refuse"]
    cache: float | timedelta | Literal[False] | None


class Terms(NamedTuple):
    """What the tasks of one submission's group have in common.

    Attributes:
        type: The task type.
        priority: Larger runs first.
        options: As SUBMIT carries them, or None.
        patient: Wait for room in a full queue instead of raising `QueueFull`.
        initial: The state code in which they begin.
        key: The name of the one task, or what gives that of each from its params.
    """

    type: str
    priority: int = 5
    options: dict[str, Any] | None = None
    patient: bool = False
    initial: int = _QUEUED
    key: str | Callable[[Any], str] | None = None


def terms(
    type: str,
    *,
    priority: int = 5,
    delay: float | timedelta | None = None,
    at: float | datetime | None = None,
    expires: float | datetime | None = None,
    timeout: float | timedelta | None = None,
    max_attempts: int | None = None,
    tags: Sequence[str] = (),
    require_host: bool = False,
    tenant: str | None = None,
    requires: Required | None = None,
    after: Any = (),
    on_failure: Literal["cancel", "run", "wait"] = "cancel",
    key: str | Callable[[Any], str] | None = None,
    unique_for: float | timedelta | Literal["kept"] | None = None,
    on_conflict: Literal["return", "replace", "refuse"] = "return",
    cache: float | timedelta | Literal[False] | None = None,
    full: Literal["raise", "wait"] = "raise",
    **unknown: Any,
) -> Terms:
    """Check what a caller wrote.

    Raises:
        TypeError: There is no such option.
        InvalidTask: One of them is wrong; `path` names it and the message says what would be right.
        ValueError: `full` is neither `raise` nor `wait`.
    """
    _check_call(full, unknown)
    if type.__class__ is not str or not TYPE_PATTERN.match(type):
        raise _invalid("type", type, "one to three parts of letters, digits, _ and -, such as video.youtube.channel")
    if priority.__class__ is not int or not -PRIORITY_MAX <= priority <= PRIORITY_MAX:
        raise _invalid("priority", priority, "an integer of 32 bits")
    options: dict[str, Any] = {}
    if delay is not None:
        options["delay"] = _seconds("delay", delay)
    if at is not None:
        if delay is not None:
            raise _invalid("at", at, "absent when `delay` is given")
        options["at"] = _instant("at", at)
    if expires is not None:
        options["expires"] = _instant("expires", expires)
    if timeout is not None:
        options["timeout"] = _seconds("timeout", timeout)
        if not options["timeout"]:
            raise _invalid("timeout", timeout, "more than 0 seconds")
    if max_attempts is not None:
        if max_attempts.__class__ is not int or not 1 <= max_attempts <= PRIORITY_MAX:
            raise _invalid("max_attempts", max_attempts, "an integer from 1")
        options["max_attempts"] = max_attempts
    if tags:
        options["tags"] = _tags(tags)
    if require_host:
        options["require_host"] = True
    options |= _lane(tenant, requires)
    options |= _unique(key, unique_for, on_conflict, cache)
    if after.__class__ is not tuple or after or on_failure != "cancel":
        options |= _dependencies(after, on_failure)
    initial = _WAITING if "after" in options else _SCHEDULED if at is not None or options.get("delay") else _QUEUED
    return Terms(type, priority, options or None, full == "wait", initial, key)


def _unique(key: Any, unique_for: Any, on_conflict: Any, cache: Any) -> dict[str, Any]:
    """What lets an older task answer for a new one."""
    options: dict[str, Any] = {}
    if cache is not None:
        options["cache"] = 0 if cache is False else _seconds("cache", cache)
        if options["cache"] and key is not None:
            raise _invalid("cache", cache, "absent when `key` is given")
    if key is None:
        if unique_for is not None or on_conflict != "return":
            raise _invalid("key", key, "given with `unique_for` or `on_conflict`")
        return options
    if not callable(key):
        key_text(key)
    if unique_for == "kept":
        options["unique_for"] = "kept"
    elif unique_for is not None:
        options["unique_for"] = _seconds("unique_for", unique_for)
        if not options["unique_for"]:
            raise _invalid("unique_for", unique_for, "more than 0 seconds, or 'kept'")
    if on_conflict not in ("return", "replace", "refuse"):
        raise _invalid("on_conflict", on_conflict, "'return', 'replace' or 'refuse'")
    if on_conflict != "return":
        options["on_conflict"] = on_conflict
    return options


def key_text(key: Any) -> str:
    """A key, checked.

    Raises:
        InvalidTask: It is no text that may be a key.
    """
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARACTERS_MAX or not can_travel(key):
        raise _invalid("key", key, f"a text of 1 to {KEY_CHARACTERS_MAX} characters that UTF-8 knows")
    return key


def can_travel(text: str) -> bool:
    """Whether a text has bytes: half a surrogate pair, as in the name of a file that is no UTF-8, has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_results(agreed: Terms, results: Sequence[tuple[int, int]]) -> Terms:
    """The terms of a task whose params have results of others in them.

    Args:
        agreed: Its terms otherwise.
        results: (offset in the packed params, id of the task) of each.

    Raises:
        InvalidTask: They are too many.
    """
    check_results(len(results))
    options = dict(agreed.options or {})
    after = list(dict.fromkeys([*options.get("after", ()), *(id for _, id in results)]))
    _check_after(after)
    numbers = {id: number for number, id in enumerate(after)}
    options |= {"after": after, "results": [[offset, numbers[id]] for offset, id in results]}
    return agreed._replace(options=options, initial=_WAITING)


def check_results(count: int) -> None:
    """So many results of others may stand in the params of one task.

    Raises:
        InvalidTask: They may not.
    """
    if count > RESULTS_MAX:
        raise InvalidTask(f"params: the results of {count} tasks stand in them; at most {RESULTS_MAX}", "params")


def _check_after(ids: list[int]) -> None:
    if len(ids) > AFTER_MAX:
        raise InvalidTask(f"after: {len(ids)} tasks; at most {AFTER_MAX}", "after")


def _lane(tenant: Any, requires: Any) -> dict[str, Any]:
    """What decides, beside its type, in which lane a task stands."""
    options: dict[str, Any] = {}
    if tenant is not None:
        if tenant.__class__ is not str or not TENANT_PATTERN.match(tenant):
            raise _invalid("tenant", tenant, "a text of 1 to 64 letters, digits or any of _ . @ : -")
        options["tenant"] = tenant
    if requires is not None:
        try:
            options["requires"] = resources(requires)
        except ValueError as error:
            raise InvalidTask(f"requires={plain(requires, 100)} {error}", "requires") from None
    return options


def _dependencies(after: Any, on_failure: Any) -> dict[str, Any]:
    """What a task comes after."""
    if on_failure not in ON_FAILURE:
        raise _invalid("on_failure", on_failure, f"one of {', '.join(ON_FAILURE)}")
    ids = list(dict.fromkeys(ids_of(after)))
    _check_after(ids)
    failing = {} if on_failure == "cancel" else {"on_failure": on_failure}
    return {"after": ids, **failing} if ids else failing


def ids_of(after: Any) -> list[int]:
    """The numbers of tasks, by number, handle, batch, or several of these.

    Raises:
        InvalidTask: They are nothing of the kind.
    """
    if isinstance(after, int) or hasattr(after, "id"):
        return [id_of(after)]
    if callable(spans := getattr(after, "ids", None)):  # a batch
        return [id for span in cast("list[range]", spans()) for id in span]
    if isinstance(after, str | bytes) or not isinstance(after, Iterable):
        raise _invalid("after", after, "tasks: handles, batches or numbers")
    return [id for one in cast("Iterable[Any]", after) for id in ids_of(one)]


def id_of(task: Any) -> int:
    """The number of a task, by handle or number.

    Raises:
        InvalidTask: It is neither.
    """
    id = task if isinstance(task, int) else getattr(task, "id", None)
    if type(id) is not int or not 0 < id <= ID_MAX:
        raise _invalid("after", task, "tasks: handles, batches or numbers")
    return id


def _invalid(path: str, value: Any, right: str) -> InvalidTask:
    return InvalidTask(f"{path}={plain(repr(value), 100)}: it must be {right}", path)


def _check_call(full: str, unknown: dict[str, Any]) -> None:
    """What no task is sent with, whatever its value."""
    if full not in ("raise", "wait"):
        raise ValueError(f"full={full!r}: it is 'raise' or 'wait'")
    if not unknown:
        return
    from difflib import get_close_matches

    name, known = next(iter(unknown)), list(terms.__kwdefaults__ or ())
    near = get_close_matches(name, known, n=1)
    cure = f"did you mean {near[0]}=?" if near else f"it is with {', '.join(f'{one}=' for one in known)}"
    raise TypeError(f"a task is not sent with {name}=; {cure}")


def _number(value: Any) -> float | None:
    """A finite float, if it is a number at all (a bool is none)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _seconds(path: str, value: Any) -> float:
    number = value.total_seconds() if isinstance(value, timedelta) else _number(value)
    if number is None or number < 0:
        raise _invalid(path, value, "seconds from 0, or a timedelta")
    return number


def _instant(path: str, value: Any) -> float:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value.timestamp()
    number = _number(value)
    if number is None or number < 0:
        raise _invalid(path, value, "an aware datetime (use .astimezone()), or seconds since the epoch")
    return number


def _tags(tags: Any) -> list[str]:
    if isinstance(tags, str) or not isinstance(tags, Sequence | set | frozenset):
        raise _invalid("tags", tags, "a list of texts")
    found: list[Any] = list(tags)  # pyright: ignore[reportUnknownArgumentType]  # each is checked below
    if len(found) > TAGS_MAX:
        raise _invalid("tags", found, f"at most {TAGS_MAX} texts")
    for position, tag in enumerate(found):
        if not isinstance(tag, str) or not 0 < len(tag) <= TAG_CHARACTERS_MAX or not tag.isprintable():
            raise _invalid(f"tags[{position}]", tag, f"a printable text of 1 to {TAG_CHARACTERS_MAX} characters")
    return sorted(found) if isinstance(tags, set | frozenset) else found
