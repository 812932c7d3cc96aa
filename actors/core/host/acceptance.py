"""What a host lets the supervisor's configuration have it run: workers of the modules that its own one lists. Pure.

TREE names the classes of nodes, and how they run. A host heeds that as if the lines stood in its own configuration,
whose own lines go before. What is not listed is passed over, whoever says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from ....config.policy import TYPE_PATTERN, nearest, parents
from ....transport.messages import POOLS_MAX
from ....workers.module_lists import is_listed
from ....workers.source import Environment, Source
from .host_options import HostOptions

_CONCURRENCY_MAX: Final = 4096
_CODE_LENGTH_MAX: Final = 500
_NODES_MAX: Final = 10_000
_TYPES_MAX: Final = 2_000
"""Nodes that are remembered, and types that are run, far fewer than a HELLO may name: those beyond are passed over."""


class _Told(NamedTuple):
    """What TREE says of how a node runs; None: nothing."""

    code: str | None
    isolation: str | None
    concurrency: int | None


_NOTHING: Final = _Told(None, None, None)


class Acceptance:
    """What a supervisor has said of classes, as far as it is accepted.

    Args:
        options: What the host's own configuration says, see `HostOptions`.

    Attributes:
        options: See above.
        crowded: Whether `isolation` and `concurrency` of TREE are passed over, because more slot pools would be needed
            than a host may have.
    """

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self._told: dict[str, _Told] = {}
        self.crowded = False

    def heed(self, nodes: Mapping[str, Mapping[str, Any]]) -> bool:
        """TREE named nodes; returns whether something else is to be run than before. What it does not name stays.

        Raises:
            TypeError, ValueError: It is not of the right form; then nothing was changed.
        """
        if not self.options.accept:
            return False
        before, new = self._holds(), {type: _told(values) for type, values in nodes.items() if TYPE_PATTERN.match(type)}
        told = {type: told for type, told in (self._told | new).items() if told != _NOTHING}
        self._told = dict(islice(told.items(), _NODES_MAX))
        return self._holds() != before

    def renew(self, options: HostOptions) -> bool:
        """The host's own configuration says something else from now on; returns whether it accepts other modules."""
        before, self.options = self.options.accept, options
        return before != options.accept

    def sources(self) -> dict[str, Source]:
        """Type -> its class."""
        modules, own = self.options.accept, self.options.own
        accepted = (
            (type, Source(told.code, modules=modules))
            for type, told in self._told.items()
            if told.code and type not in own and is_listed(told.code.partition(":")[0], modules)
        )
        return dict(islice(accepted, _TYPES_MAX))

    def _holds(self) -> dict[str, _Told]:
        """What is told of the types that are run for it, and of the nodes above them."""
        needed = {path for type in self.sources() for path in parents(type)}
        return {path: self._told[path] for path in sorted(needed) if path in self._told}

    def places(self, pools: int) -> tuple[Environment, dict[str, Environment]]:
        """Where all types run, and where nodes do that say otherwise: the host's own configuration, or where it says
        nothing of a node, TREE. The interpreter is the host's alone to say; what is inline stays so.

        Args:
            pools: How many slot pools the host has anyhow.
        """
        nodes, own = self._merged(), self.options.everywhere()
        self.crowded = nodes != own and len(nodes) + pools > POOLS_MAX
        if self.crowded:
            nodes = own
        return nodes.pop(""), nodes

    def _merged(self) -> dict[str, Environment]:
        own = self.options.everywhere()
        found = dict(own)
        for path, told in self._holds().items():
            above = nearest(found, path)
            isolation, concurrency = told.isolation or above.isolation, told.concurrency or above.concurrency
            environment = Environment(above.python, isolation, concurrency)
            if path not in self.options.placed and environment != above and above.isolation != "inline":
                found[path] = environment
        for type in sorted(self.options.own | self.options.placed):
            if (environment := nearest(own, type)) != nearest(found, type):
                found[type] = environment
        return found


def _told(values: Mapping[str, Any]) -> _Told:
    """What TREE says of how a node runs."""
    code, isolation, concurrency = values.get("class"), values.get("isolation"), values.get("concurrency")
    if code is not None and not isinstance(code, str):
        raise TypeError("a class is a text")
    if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= _CONCURRENCY_MAX):
        message = f"concurrency is 1 to {_CONCURRENCY_MAX}"
        raise ValueError(message)
    return _Told(
        code if _is_class(code) else None, isolation if isolation in ("process", "thread") else None, concurrency
    )


def _is_class(code: str | None) -> bool:
    """Whether it is `module:Class`, of a name that is meant for others."""
    name = code.partition(":")[2] if code and len(code) <= _CODE_LENGTH_MAX else ""
    return name.isidentifier() and not name.startswith("_")
