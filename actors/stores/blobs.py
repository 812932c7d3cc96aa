"""How dicts and lists stand in a store's rows: as msgpack blobs."""

from __future__ import annotations

from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs] - it ships none


def pack(value: dict[str, Any] | list[Any] | None) -> bytes | None:
    """A dict or list as a blob; None stays None."""
    return None if value is None else msgpack.packb(value)  # pyright: ignore


def unpack(blob: bytes | None) -> Any:
    """The dict or list of a blob; None stays None."""
    return None if blob is None else msgpack.unpackb(blob)  # pyright: ignore
