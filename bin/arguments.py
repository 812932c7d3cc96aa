"""What people write after a command: `key=value` parameters, durations, slots, ids. Text in, values out.

Every mistake is a `UsageError` that names the argument and shows what would be right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from ..config.durations import seconds
from ..workers.module_lists import MODULES_MAX, is_modules
from .exits import UsageError

CODE: Final = "CODE"
"""What a line that is printed to be pasted says in the place of somebody's workers."""


def params(pairs: Sequence[str], document: str | None = None) -> Any:
    """The params of a task.

    Args:
        pairs: `key=value` (a text), `key:=JSON` (typed) or `key=@file` (the file's text).
        document: JSON for all params, or for those that `pairs` does not name.

    Raises:
        UsageError: A pair or the document cannot be read.
        OSError: A file cannot be read.
    """
    base: Any = {} if document is None else _json(document, "--params")
    if pairs and not isinstance(base, dict):
        message = f"--params is no JSON object, so {pairs[0]!r} cannot be added to it; put all into --params"
        raise UsageError(message)
    given: dict[str, Any] = {}
    for pair in pairs:
        key, value = _pair(pair)
        if key in given:
            message = f"{key} is given twice"
            raise UsageError(message)
        given[key] = value
    return cast("Any", base) if not given else {**cast("dict[str, Any]", base), **given}


def _pair(pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    typed = key.endswith(":")
    key = key.removesuffix(":")
    if not equals or not key:
        message = f"{pair!r} is no parameter; write key=value, key:=JSON or key=@file"
        raise UsageError(message)
    if typed:
        return key, _json(value, f"{key}:=")
    return key, _text(key, Path(value[1:])) if value.startswith("@") else value


def _text(key: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        message = f"{key}=@{file}: the file is not UTF-8 text; send its path instead and let the worker read it"
        raise UsageError(message) from None


def _json(text: str, where: str) -> Any:
    def refused(constant: str) -> NoReturn:
        message = f"{constant} is not JSON"
        raise ValueError(message)

    try:
        return json.loads(text, parse_constant=refused)
    except (ValueError, RecursionError) as error:
        message = f"{where} {text[:80]!r} is not JSON ({error}); a text needs quotes: {where} '\"text\"'"
        raise UsageError(message) from None


def duration(text: str | None, option: str) -> float | None:
    """Seconds, or None for None.

    Raises:
        UsageError: It is no duration.
    """
    if text is None:
        return None
    try:
        return seconds(text)
    except ValueError as error:
        message = f"{option} {text!r} {error}"
        raise UsageError(message) from None


def slots(text: str | None) -> dict[str, int] | None:
    """`4` -> {"": 4}, `video=4,audio=2` -> {"video": 4, "audio": 2}; None for None.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    from ..config import kinds

    try:
        if "=" not in text:
            return kinds.slots(int(text))
        pairs = [part.strip().partition("=") for part in text.split(",")]
        if len({name for name, _, _ in pairs}) < len(pairs):
            raise ValueError
        return kinds.slots({name: int(count) for name, _, count in pairs})
    except ValueError:
        message = (
            f"--slots {text!r} is not understood; write --slots 4 or --slots video=4,audio=2 (each from 1 to 4096)"
        )
        raise UsageError(message) from None


def is_type(text: str) -> bool:
    """Whether it is a task type."""
    from ..config.policy import TYPE_PATTERN  # the whole tree of settings comes with it

    return TYPE_PATTERN.match(text) is not None


def type_path(text: str, name: str) -> str:
    """A task type, as it is.

    Raises:
        UsageError: It is none.
    """
    if not is_type(text):
        message = f"{name}: {text!r} is not a type; write one to three parts such as video.youtube.channel"
        raise UsageError(message)
    return text


def resources(text: str | None, option: str) -> dict[str, int | str] | None:
    """Counts and labels of an option: `gpu=1,memory=8G,zone=eu`.

    Raises:
        UsageError: It is not understood.
    """
    if text is None:
        return None
    from ..config.resources import resources as found

    try:
        return found(text)
    except ValueError as error:
        message = f"{option} {text!r} {error}"
        raise UsageError(message) from None


def _parts(text: str | None) -> list[str] | None:
    """What stands between commas; None for None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def modules(text: str | None, option: str) -> list[str] | None:
    """`my.tasks,my.more.*` -> [`my.tasks`, `my.more.*`]; None for None.

    Raises:
        UsageError: One of them is no module.
    """
    found = _parts(text)
    for name in found or ():
        if not is_modules(name):
            message = f"{option}: {name!r} is not a module; write my.tasks, or my.* for all below my"
            raise UsageError(message)
    if found is not None and len(found) > MODULES_MAX:
        message = f"{option}: {len(found)} modules, {MODULES_MAX} are the limit; write my.* for all below my"
        raise UsageError(message)
    return found


def types(text: str | None, option: str) -> list[str] | None:
    """`video,audio` -> [`video`, `audio`]; None for None.

    Raises:
        UsageError: One of them is no type.
    """
    found = _parts(text)
    for type in found or ():
        if not is_type(type):
            message = f"{option}: {type!r} is not a type; write video or video.youtube, with commas between several"
            raise UsageError(message)
    return found
