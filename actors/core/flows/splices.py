"""Results of other tasks in a task's params, put there as bytes.

Nothing is decoded: whoever packed the params left a nil (one byte) wherever a result belongs, and says at which offset;
a result is a packed value, so it fits there as it is.

A table of them is bytes: 12 for each, (offset, id), by offset. It stands in the options of the task's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any, Final

from ....transport.messages import RESULT_BYTES_MAX

_ENTRY: Final = Struct(">Iq")
_NIL: Final = b"\xc0"


def table_of(entries: Iterable[tuple[int, int]]) -> bytes:
    """The table for (offset, id) of each nil that stands for a result."""
    return b"".join(_ENTRY.pack(offset, id) for offset, id in sorted(entries))


def ids_of(table: bytes) -> list[int]:
    """The tasks whose results are wanted, each as often as it is."""
    return [id for _, id in _ENTRY.iter_unpack(table)]


def are_nils(params: bytes, offsets: list[int]) -> bool:
    """Whether there is the byte of a nil at each of these offsets, and none of them is named twice."""
    return len(set(offsets)) == len(offsets) and all(
        0 <= offset < len(params) and params[offset] == _NIL[0] for offset in offsets
    )


def spliced(params: bytes, table: bytes, results: Mapping[int, bytes]) -> bytes:
    """The params with the results in their places; where there is none, None stays."""
    parts: list[bytes] = []
    done = 0
    for offset, id in _ENTRY.iter_unpack(table):
        parts += (params[done:offset], results.get(id) or _NIL)
        done = offset + 1
    parts.append(params[done:])
    return b"".join(parts)


def too_large(size: int) -> dict[str, Any] | None:
    """How a task fails whose params and the results in them take so many bytes; None: a message holds them."""
    if size <= RESULT_BYTES_MAX:
        return None
    reason = f"its params and the results in them have {size} bytes; at most {RESULT_BYTES_MAX}"
    return {"cause": "result_too_large", "message": reason}
