"""How dicts and lists stand in a store's rows: as msgpack blobs.

Owns the packing and the size above which params are large.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack  # pyright: ignore[reportMissingTypeStubs] - it ships none

from ..core.rows import PARAMS_IN_MEMORY

LARGE_PARAMS_BYTES: Final = PARAMS_IN_MEMORY
"""Params above this size are left out of the rows that a need reads, so that a window of tasks stays small."""


def pack(value: dict[str, Any] | list[Any] | None) -> bytes | None:
    """A dict or list as a blob; None stays None."""
    return None if value is None else msgpack.packb(value)  # pyright: ignore


def unpack(blob: bytes | None) -> Any:
    """The dict or list of a blob; None stays None."""
    return None if blob is None else msgpack.unpackb(blob)  # pyright: ignore
