"""Sizes as people write them: bytes, or `512K 300M 8G 1T` (powers of 1024). Needs the standard library alone."""

from __future__ import annotations

import re
from typing import Any, Final

SIZE_BYTES_MAX: Final = 2**50
"""A pebibyte: beyond any machine that is meant."""

_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)([KMGT])?\Z")


def size(value: Any) -> int:
    """Bytes from a number or a text with a unit.

    Raises:
        ValueError: It is neither, not above zero, or beyond a pebibyte.
    """
    found = _SIZE.match(value) if isinstance(value, str) else None
    if found:
        value = int(float(found[1]) * _UNITS.get(found[2], 1))
    if isinstance(value, bool) or not isinstance(value, int):
        message = "is not a size; write bytes or 512K, 300M, 8G, 1T"
        raise ValueError(message)
    if not 0 < value <= SIZE_BYTES_MAX:
        message = "is out of range; a size is above zero and at most 1024T"
        raise ValueError(message)
    return value


def size_text(value: float) -> str:
    """A number of bytes for people: `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.4g} {unit}"
