"""What the host's own configuration names as the worker of a type. Data only.

Python 3.9 and the standard library suffice here, because a slot may run in another environment.
"""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """Where the worker of one type comes from: `code`, or `command` in `folder`. A slot gets it as a plain list.

    Attributes:
        code: `module:Class`, or "".
        command: A program (its path, or a name to be found in PATH) and its arguments, or nothing.
        folder: Where the command runs; "": where the host does.
    """

    code: str = ""
    command: tuple[str, ...] = ()
    folder: str = ""
