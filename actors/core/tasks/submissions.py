"""What a SUBMIT may contain, and how it is told from another: checks and checksum, before anything changes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, cast

from ....config.policy import TENANT_PATTERN, TYPE_PATTERN
from ....config.resources import canonical, resources
from ....transport.messages import PARAMS_BYTES_MAX
from ..flows import dependencies
from ..reports import SECONDS_MAX, shown
from ..unfit import Unfit

_OPTIONS: Final[dict[str, tuple[type, ...]]] = {
    "delay": (int, float),
    "at": (int, float),
    "expires": (int, float),
    "timeout": (int, float),
    "max_attempts": (int,),
    "tags": (list,),
    "require_host": (bool,),
    "tenant": (str,),
    "requires": (dict,),
    "after": (list,),
    "within": (list,),
    "on_failure": (str, list),
    "results": (list,),
    "key": (str, list),
    "unique_for": (int, float, str),
    "on_conflict": (str,),
    "cache": (int, float),
}
_INSTANT_MAX: Final = 1e11  # some day in the year 5138
_RANGES: Final = (
    ("delay", 0, SECONDS_MAX),
    ("timeout", 1e-3, SECONDS_MAX),
    ("cache", 0, SECONDS_MAX),
    ("max_attempts", 1, 1_000_000),
    ("at", 0, _INSTANT_MAX),
    ("expires", 0, _INSTANT_MAX),
)
TASKS_MAX: Final = 10_000
"""Tasks of one SUBMIT: what a turn can bear."""
TYPES_MAX: Final = 10_000
"""Types that a pool knows."""
TYPES_EACH_MAX: Final = TYPES_MAX // 2
"""Those of them that one identity was the first to send. They are known as long as the supervisor runs."""
LANES_MAX: Final = 20_000
"""Lanes (of a type, a tenant and requirements) that a pool keeps."""
LANES_EACH_MAX: Final = LANES_MAX // 4
"""Those of them that are one identity's making, so that nobody's inventions keep others from theirs."""
PRIORITY_BOUND: Final = 2**31
_TAGS_MAX: Final = 32
_KEY_CHARACTERS_MAX: Final = 255
_CONFLICTS: Final = ("return", "replace", "refuse")
_GROUP_FIELDS: Final = 4


def checked(groups: Sequence[Any]) -> tuple[int, int]:
    """How many tasks the groups of a SUBMIT hold, and their checksum.

    Raises:
        Unfit: A type, priority, option or params that no task can have.
    """
    count = checksum = 0
    for group in groups:
        if not isinstance(group, list | tuple) or len(cast("list[Any]", group)) != _GROUP_FIELDS:
            raise Unfit("invalid", "a group is [type, priority, options, params]")
        type, priority, options, batch = cast("list[Any]", group)
        if not isinstance(type, str) or TYPE_PATTERN.match(type) is None:
            reason = f"type {shown(type)} is not a dotted path of one to three parts of letters, digits, _ and -"
            raise Unfit("invalid", reason, "type")
        if (
            not isinstance(priority, int)
            or isinstance(priority, bool)
            or not -PRIORITY_BOUND <= priority < PRIORITY_BOUND
        ):
            raise Unfit("invalid", f"priority {shown(priority)} is not a whole number of 32 bits", "priority")
        if options is not None:
            _check_options(options)
        if not isinstance(batch, list | tuple):
            raise Unfit("invalid", "params of a group must be a list", "params")
        batch = cast("list[bytes]", batch)
        if options:
            _check_keys(options, len(batch))
        try:
            checksum = zlib.crc32(b"".join(batch), zlib.crc32(f"{type} {priority} {options}".encode(), checksum))
            longest = max(map(len, batch), default=0)
        except TypeError:
            raise Unfit("invalid", "params must be bytes", "params") from None
        if longest > PARAMS_BYTES_MAX:
            raise Unfit("too_large", f"params of {longest} bytes; at most {PARAMS_BYTES_MAX}", "params")
        count += len(batch)
        if count > TASKS_MAX:
            raise Unfit("invalid", f"more than {TASKS_MAX} tasks in one submission", "params")
    return count, checksum


def _check_options(given: Any) -> None:
    if not isinstance(given, dict):
        raise Unfit("invalid", "options must be a mapping", "options")
    options = cast("dict[Any, Any]", given)
    for key, value in options.items():
        allowed = _OPTIONS.get(key)
        if allowed is None:
            raise Unfit("invalid", f"unknown option {shown(key)}", str(key)[:100])
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise Unfit("invalid", f"option {key} cannot be {shown(value)}", key)
    if "tenant" in options and not TENANT_PATTERN.match(options["tenant"]):
        reason = f"tenant {shown(options['tenant'])} is not 1 to 64 letters, digits or any of _ . @ : -"
        raise Unfit("invalid", reason, "tenant")
    if "requires" in options:
        try:
            resources(options["requires"])
        except ValueError as error:
            raise Unfit("invalid", f"requires {error}", "requires") from None
    for key, least, most in _RANGES:
        if key in options and not least <= options[key] <= most:  # NaN is in no range
            raise Unfit("invalid", f"option {key} cannot be {shown(options[key])}", key)
    tags = options.get("tags", [])
    if len(tags) > _TAGS_MAX or not all(isinstance(tag, str) and 0 < len(tag) <= 128 for tag in tags):
        raise Unfit("invalid", f"tags must be at most {_TAGS_MAX} texts of 1 to 128 characters", "tags")
    dependencies.check_options(options)


def lane_key(type: str, options: dict[str, Any]) -> tuple[tuple[str, str, str], dict[str, Any] | None]:
    """The lane of checked tasks (type, tenant, requirements), and the options that are left for each task to keep."""
    tenant, requires = options.get("tenant", ""), options.get("requires")
    if not tenant and requires is None:
        return (type, "", ""), options
    left = {name: value for name, value in options.items() if name not in ("tenant", "requires")}
    return (type, tenant, canonical(resources(requires or {}))), left or None


def _check_keys(options: dict[str, Any], count: int) -> None:
    """A key of each task, and what goes with them."""
    key = options.get("key")
    if options.get("cache") and key is not None:
        raise Unfit("invalid", "option cache does not go with a key", "cache")
    if options.get("cache") and "results" in options:
        raise Unfit("invalid", "option cache does not go with results of others in the params", "cache")
    if key is None:
        if stray := options.keys() & {"unique_for", "on_conflict"}:
            raise Unfit("invalid", f"option {min(stray)} goes with a key", min(stray))
        return
    unique_for = options.get("unique_for", 1)
    if unique_for != "kept" and (isinstance(unique_for, str) or not 0 < unique_for <= SECONDS_MAX):
        reason = f"option unique_for cannot be {shown(unique_for)}; seconds, or 'kept'"
        raise Unfit("invalid", reason, "unique_for")
    if options.get("on_conflict", "return") not in _CONFLICTS:
        reason = f"option on_conflict cannot be {shown(options['on_conflict'])}; {', '.join(_CONFLICTS)}"
        raise Unfit("invalid", reason, "on_conflict")
    keys = cast("list[Any]", key if isinstance(key, list) else [key])
    if not all(isinstance(one, str) and 0 < len(one) <= _KEY_CHARACTERS_MAX for one in keys):
        raise Unfit("invalid", f"a key is a text of 1 to {_KEY_CHARACTERS_MAX} characters", "key")
    if len(keys) != count:
        raise Unfit("invalid", f"{len(keys)} keys for {count} tasks; each has its own", "key")
