"""Params on their way out: packed, and cut into parcels that fit into one SUBMIT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..workers import values
from ..workers.errors import InvalidTask, TaskRefused
from . import codec
from .block import Block
from .clock import now
from .messages import PARAMS_BYTES_MAX
from .references import pack
from .terms import Terms, id_of, key_text, with_results

TASKS_MAX: Final = 2000
"""Tasks in one parcel: what the supervisor takes in one turn."""

BYTES_MAX: Final = 5 * 1024 * 1024 // 2
"""Bytes after which a parcel is closed. With one more of the largest params it stays below 4 MiB."""

ITEM_BYTES: Final = 6
"""What one more item costs in a frame beside its own bytes."""

GROUP_BYTES: Final = 64
"""The same of a group with options of its own, beside those."""

EDGE_BYTES: Final = 12
"""The same of a task to come after, and of a result of it."""

EDGES_MAX: Final = 100_000
"""How often the tasks of one SUBMIT may come after another: what the supervisor takes in one turn."""

_LISTS: Final = ("after", "results")


class Parcel:
    """Tasks that are sent together.

    Attributes:
        terms: What they have in common.
        params: Their packed params.
        keys: Their keys, if they have any.
        size: Bytes they take in a frame, with their options.
        block: What becomes of them.
        alone: Send them in a SUBMIT of their own, because one that they shared was refused.
    """

    __slots__ = ("alone", "block", "keys", "params", "size", "terms")

    def __init__(
        self,
        terms: Terms,
        params: list[bytes],
        size: int,
        block: Block | None = None,
        keys: list[str] | None = None,
    ) -> None:
        self.terms, self.params, self.keys = terms, params, keys
        self.size = size + options_bytes(terms.options)
        self.block = block or Block(len(params), terms.initial)
        self.alone = False

    @property
    def ties(self) -> int:
        """How often its tasks come after another, and how many results they take up: the pool bounds both."""
        options = self.terms.options
        if options is None:
            return 0
        return self.block.count * len(options.get("after", ())) + len(options.get("results", ()))

    def split(self, count: int) -> Parcel:
        """Keep the first `count` tasks; the others are the parcel that is returned."""
        rest = self.params[count:]
        size = sum(map(len, rest)) + ITEM_BYTES * len(rest)
        del self.params[count:]
        keys = None
        if self.keys is not None:
            keys = self.keys[count:]
            del self.keys[count:]
            size += _bytes(keys)
        self.size -= size
        return Parcel(self.terms, rest, size, self.block.split(count), keys)


def options_bytes(options: dict[str, Any] | None) -> int:
    """What a group with these options takes in a frame beside its params: many small tasks with much in their options
    fill one, too.
    """
    if not options:
        return 0
    edges = sum(len(options.get(name, ())) for name in _LISTS)
    others = {name: value for name, value in options.items() if name not in _LISTS}
    return GROUP_BYTES + EDGE_BYTES * edges + codec.size(others)


def single(terms: Terms, params: Any) -> Parcel:
    """One task as a parcel.

    Raises:
        InvalidTask: The params cannot travel.
        TooLarge: They are above the limit.
    """
    body, references = pack(params)
    if references:
        terms = with_results(terms, [(offset, id_of(task)) for offset, task in references])
    if terms.key is None:
        return Parcel(terms, [body], len(body) + ITEM_BYTES)
    keys = [_key(terms, params)]
    return Parcel(terms, [body], len(body) + ITEM_BYTES + _bytes(keys), keys=keys)


def parcels(
    terms: Terms, params: Iterable[Any], chunk: int, linger: float | None = None, *, begun: int = 0
) -> Iterator[Parcel]:
    """Pack params, one task for each, as they come.

    Args:
        terms: What they have in common.
        params: May be endless.
        chunk: Most tasks in one parcel.
        linger: Seconds after which an unfinished parcel is handed over, so that a slow source delays none.
        begun: How many came before these, for messages.

    Raises:
        InvalidTask: Params that cannot travel (a note says which of them), or what looks like those of one task.
        TooLarge: Params above the limit.
    """
    if isinstance(params, str | bytes | dict):
        raise InvalidTask("params: give a list or an iterator with the params of each task, not one task's", "params")
    if isinstance(terms.key, str):
        raise InvalidTask(f"key={terms.key!r}: it names one task; give a function from params to key", "key")
    pack = values.pack
    edges = len((terms.options or {}).get("after", ()))
    chunk = min(chunk, TASKS_MAX, EDGES_MAX // max(1, edges))
    packed: list[bytes] = []
    keys: list[str] | None = None if terms.key is None else []
    size = 0
    began = now()  # to wait for the first of the packed
    for position, value in enumerate(params, begun):
        try:
            body = pack(value, limit=PARAMS_BYTES_MAX)
            if keys is not None:
                keys.append(_key(terms, value))
                size += _bytes(keys[-1:])
        except TaskRefused as error:
            error.add_note(f"these were number {position} (counted from 0) of the params given")
            raise
        packed.append(body)
        size += len(body) + ITEM_BYTES
        if len(packed) >= chunk or size >= BYTES_MAX or (linger is not None and now() - began > linger):
            yield Parcel(terms, packed, size, keys=keys)
            packed, size, began, keys = [], 0, now(), None if keys is None else list[str]()
    if packed:
        yield Parcel(terms, packed, size, keys=keys)


def _key(terms: Terms, params: Any) -> str:
    """The key of a task, by its params."""
    return terms.key if isinstance(terms.key, str) else key_text(terms.key(params) if terms.key else None)


def _bytes(keys: list[str]) -> int:
    return sum(len(key.encode()) + ITEM_BYTES for key in keys)
