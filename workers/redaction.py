"""What people are shown of values whose name says that they are secret: not them. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, cast

HIDDEN: Final = "[hidden]"
_SECRET: Final = "password|passwd|secret|token|api[_-]?key|authorization|credentials?|private[_-]?key"  # noqa: S105
_LIKE_A_SECRET: Final = re.compile(rf"(?:.*[_.-])?(?:{_SECRET})\Z", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """A value for people to read, without texts and bytes whose key looks like that of a secret."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: HIDDEN if _is_hidden(key, item) else redacted(item) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [redacted(item) for item in cast("list[Any]", value)]
    return value


def _is_hidden(key: Any, item: Any) -> bool:
    return isinstance(key, str) and isinstance(item, (str, bytes)) and _LIKE_A_SECRET.match(key) is not None
