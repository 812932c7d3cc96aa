"""What TREE tells a host of the tree: which nodes, and what of each. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ....config.policy import PolicyTree
from .offers import Offer


def told_types(policies: PolicyTree, offer: Offer, failed: Collection[str]) -> set[str]:
    """The nodes of the configuration that a host is told of: those that it serves, those that it would serve if its
    code could be loaded, and those that it lets itself be told to serve.
    """

    def concerns(path: str, code: str | None) -> bool:
        return offer.serves(path) or path in failed or (offer.wants(path) and offer.accepts(code))

    return {path for path, node in policies.nodes.items() if concerns(path, node.get("code"))}


def guidance(policies: PolicyTree, path: str, offer: Offer) -> dict[str, Any]:
    """What a host must know of one node; how it runs only where it wants to be told."""
    policy = policies.effective(path)
    told = {
        "timeout": policy.timeout,
        "cut_off": "stop" if policy.cut_off is None else policy.cut_off,
        "no_progress_timeout": policy.no_progress_timeout,
        "limits": policy.limits.plain(),
    }
    if offer.accept:  # what the node itself sets: the host inherits as it does within its own configuration
        node = policies.nodes.get(path, {})
        told |= {name: node[name] for name in ("isolation", "concurrency") if name in node}
        told |= {"class": node["code"]} if offer.accepts(node.get("code")) else {}
    return told
