"""How many hosts serve each node or what lies below it: kept, because a thousand nodes times a hundred hosts
are too many to ask every second.

Looks at the hosts, changes nothing of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

from ...config.policy import TYPE_PATTERN, parents
from .hosts import Hosts
from .offers import Offer

_SERVING = ("joined", "suspect")


class Serving:
    """What was found of every host, until its offer or the nodes change."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._nodes: AbstractSet[str] = frozenset()
        self._found: dict[int, tuple[Offer, frozenset[str]]] = {}
        self._counts: Counter[str] = Counter()

    def counts(self, nodes: AbstractSet[str]) -> dict[str, int]:
        """Node -> hosts that take its tasks now; of nodes that nobody serves only those in `nodes`.

        A type that a host offers is a node, too.
        """
        if nodes != self._nodes:
            self._nodes = frozenset(nodes)
            self._found.clear()
            self._counts = Counter(dict.fromkeys(nodes, 0))
        living = {host.owner: host.offer for host in self._hosts.by_owner.values() if host.state in _SERVING}
        for owner, (offer, served) in list(self._found.items()):
            if living.get(owner) is not offer:
                self._counts.subtract(served)
                del self._found[owner]
        for owner, offer in living.items():
            if owner not in self._found:
                taken = (node for node in nodes | _named(offer) if node and offer.serves(node))
                served = frozenset(path for node in taken for path in parents(node))
                self._counts.update(served)
                self._found[owner] = offer, served
        return {node: count for node, count in self._counts.items() if node and (count or node in nodes)}


def _named(offer: Offer) -> AbstractSet[str]:
    return {name for type in offer.types if TYPE_PATTERN.match(name := type.removesuffix(".*"))}
