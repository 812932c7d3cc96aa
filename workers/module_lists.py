"""Lists of modules as a host's configuration has them: `my.jobs`, or `my.*` for all that lies below `my`.

Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MODULES_MAX: Final = 100
_LENGTH_MAX: Final = 200
_ENTRY: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(\.\*)?(?<!\.py)\Z")
"""What ends in `.py` is a file."""


def is_modules(text: str) -> bool:
    """Whether this may be an entry of such a list."""
    return len(text) <= _LENGTH_MAX and bool(_ENTRY.match(text))


def is_listed(name: str, listed: Iterable[str]) -> bool:
    """Whether a module is on a list.

    Below a package, its name is made of identifiers, or it would be a file's, and none of them begins with an
    underscore: to import `package.__main__` would run a program, before anything could be looked up in it.
    """
    return any(name == one or (one.endswith(".*") and _is_below(name, one[:-1])) for one in listed)


def _is_below(name: str, package: str) -> bool:
    inside = name[len(package) :].split(".")
    return name.startswith(package) and all(part.isidentifier() and not part.startswith("_") for part in inside)
