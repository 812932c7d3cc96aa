"""How many hosts serve each node or what lies below it: kept, because a thousand nodes times a hundred hosts
are too many to ask every second.

Looks at the hosts, changes nothing of them. Hosts with equal offers are asked once, and of each offer only what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from operator import is_

from ....config.policy import TYPE_PATTERN, PolicyTree, parents
from ..hosts.hosts import Hosts
from ..hosts.offers import Offer
from ..order.tree import Tree


class _Served:
    """What hosts with one offer take."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        # A host that takes nothing but what it names need not be asked about anything else.
        self._plain = not (offer.any or offer.serve or offer.refuse or offer.declined)
        self._plain = self._plain and not any(type.endswith(".*") for type in offer.types)
        self._asked: set[str] = set()
        self.nodes: set[str] = set()
        self._ask(name for type in offer.types if TYPE_PATTERN.match(name := type.removesuffix(".*")))

    def learn(self, nodes: AbstractSet[str]) -> None:
        """Ask about nodes that are new."""
        if not self._plain:
            self._ask(nodes - self._asked)

    def _ask(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            self._asked.add(node)
            if self._offer.serves(node):
                self.nodes.update(parents(node))


class Serving:
    """What was found of every offer, as long as a host has it."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._offers: dict[Offer, _Served] = {}
        self._version: tuple[int, PolicyTree | None] = (0, None)
        self._living: list[Offer] = []
        self._counts: dict[str, int] = {}

    def counts(self, tree: Tree) -> dict[str, int]:
        """Node -> hosts that take its tasks now, of all that are in use, configured or offered."""
        offers = [host.offer for host in self._hosts.by_owner.values() if host.serves_now()]
        version = (len(tree.nodes), tree.policies)  # nodes in use only become more
        same = len(offers) == len(self._living) and all(map(is_, offers, self._living))
        if same and version[0] == self._version[0] and version[1] is self._version[1]:
            return self._counts
        self._living, self._version = offers, version
        living = Counter(offers)
        nodes = tree.nodes.keys() | tree.policies.nodes.keys()
        self._offers = {offer: self._offers.get(offer) or _Served(offer) for offer in living}
        counts = dict.fromkeys(nodes, 0)
        for offer, hosts in living.items():
            served = self._offers[offer]
            served.learn(nodes)
            for node in served.nodes:
                counts[node] = counts.get(node, 0) + hosts
        self._counts = counts
        return counts
