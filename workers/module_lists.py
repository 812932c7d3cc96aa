"""Lists of modules as a host's configuration has them: `my.jobs`, or `my.*` for all that lies below `my`.

Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MODULES_PATTERN: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(\.\*)?\Z")
"""One entry of such a list."""


def is_listed(name: str, listed: Iterable[str]) -> bool:
    """Whether a module is on a list.

    Below a package, no part of its name begins with an underscore: to import `package.__main__` would run a program,
    before anything could be looked up in it.
    """
    return any(name == one or (one.endswith(".*") and _is_below(name, one[:-1])) for one in listed)


def _is_below(name: str, package: str) -> bool:
    inside = name[len(package) :].split(".")
    return name.startswith(package) and all(part and not part.startswith("_") for part in inside)
