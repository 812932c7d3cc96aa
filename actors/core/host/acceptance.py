"""What a host lets the supervisor's configuration have it run: workers of the modules that its own one lists. Pure.

TREE names the class of a node. A host heeds that as if the line stood in its own configuration, whose own lines go
before. What is not listed is passed over, whoever says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ....config.policy import TYPE_PATTERN, nearest
from ....workers.module_lists import is_listed
from ....workers.source import Environment, Source

_CONCURRENCY_MAX: Final = 4096
_TYPES_MAX: Final = 10_000


class _Told(NamedTuple):
    """What TREE says of how a type runs; None: nothing."""

    code: str
    isolation: str | None
    concurrency: int | None


class Acceptance:
    """The classes that a supervisor has named, as far as they are accepted.

    Attributes:
        modules: Where they may be defined; `my.*`: all below `my`.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self.modules = tuple(modules)
        self._told: dict[str, _Told] = {}

    def heed(self, nodes: Mapping[str, Mapping[str, Any]]) -> bool:
        """TREE named nodes; returns whether something else is to be run than before. What it does not name stays.

        Raises:
            TypeError, ValueError: It is not of the right form; then nothing was changed.
        """
        if not self.modules:
            return False
        told = dict(self._told)
        for type, values in nodes.items():
            told.pop(type, None)
            if (one := _told(values)) is not None and self._accepts(one) and TYPE_PATTERN.match(type):
                told[type] = one
        if len(told) > _TYPES_MAX:
            message = f"classes for more than {_TYPES_MAX} types"
            raise ValueError(message)
        before, self._told = self._told, told
        return told != before

    def renew(self, modules: Iterable[str]) -> bool:
        """Another list from now on; returns whether it is another."""
        before, self.modules = self.modules, tuple(modules)
        self._told = {type: told for type, told in self._told.items() if self._accepts(told)}
        return before != self.modules

    def _accepts(self, told: _Told) -> bool:
        return is_listed(told.code.partition(":")[0], self.modules)

    def sources(self) -> dict[str, Source]:
        """Type -> its class."""
        return {type: Source(told.code, modules=self.modules) for type, told in self._told.items()}

    def environments(self, own: Mapping[str, Environment]) -> dict[str, Environment]:
        """Where all of it runs: `own`, by node, and the accepted types of which that says nothing, each as the node
        above it, but for what TREE says. The interpreter is the host's alone to say; what is inline stays so.
        """
        found = dict(own)
        for type, told in sorted(self._told.items()):
            above = nearest(found, type)
            if type not in own and above.isolation != "inline":
                found[type] = Environment(
                    above.python, told.isolation or above.isolation, told.concurrency or above.concurrency
                )
        return found


def _told(values: Mapping[str, Any]) -> _Told | None:
    """What TREE says of how a node runs; None: nothing."""
    code, isolation, concurrency = values.get("class"), values.get("isolation"), values.get("concurrency")
    if code is None:
        return None
    if not isinstance(code, str) or not code.partition(":")[2].isidentifier():
        raise TypeError("a class is module:Class")
    if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= _CONCURRENCY_MAX):
        message = f"concurrency is 1 to {_CONCURRENCY_MAX}"
        raise ValueError(message)
    return _Told(code, isolation if isolation in ("process", "thread") else None, concurrency)
