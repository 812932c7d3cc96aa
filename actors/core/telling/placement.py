"""Where tasks that require something can run, and what is missing elsewhere, in words. Decides nothing.

`stock` counts what is used; here a host's offer is compared with what a lane needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ....config.resources import written
from ..hosts.hosts import HostSession
from ..order.lane import Lane
from ..order.stock import Stock


class Miss(NamedTuple):
    """A host that does not offer what a lane requires, and how far it is from that."""

    host: HostSession
    lacks: list[str]

    def text(self) -> str:
        """For people: `offers memory=8G < 16G, no gpu`."""
        return f"offers {', '.join(self.lacks)}"


def required(lane: Lane) -> str:
    """All that tasks of a lane require: `gpu=1, zone=eu`."""
    both: Mapping[str, int | str] = {**lane.needs, **lane.labels}
    return ", ".join(written(name, both[name]) for name in sorted(both))


def lacks(host: HostSession, lane: Lane) -> list[str]:
    """What of a lane's requirements a host does not offer at all."""
    offered = dict(host.offer.resources)
    found: list[str] = []
    for name, need in lane.needs.items():
        have = offered.get(name)
        if have is None:
            found.append(f"no {name}")
        elif not isinstance(have, int):
            found.append(f"{name}={have}, which is no count")
        elif have < need:
            found.append(f"{written(name, have)} < {written(name, need).partition('=')[2]}")
    for name, label in lane.labels.items():
        if offered.get(name) != label:
            have = offered.get(name)
            found.append(f"no {written(name, label)}" if have is None else f"{written(name, have)}, not {label}")
    return found


def unmet(hosts: Iterable[HostSession], lane: Lane) -> Miss | None:
    """If none of these hosts offers enough, the one that lacks least."""
    misses = [Miss(host, lacks(host, lane)) for host in hosts]
    if any(not miss.lacks for miss in misses):
        return None
    return min(misses, key=lambda miss: (len(miss.lacks), miss.host.owner), default=None)


def shortage(stock: Stock, lane: Lane, now: float, wall: float) -> str | None:
    """What a host offers and has not free at the moment; None: it has enough."""
    key = lane.front() or (0, 0)
    if stock.room(lane, 1, key, now, wall) > 0:
        return None
    short = [name for name, need in lane.needs.items() if stock.free(name) < need]
    if short:
        offered = (f"{written(name, stock.counts.get(name, 0))}, {_in_use(stock, name)} in use" for name in short)
        return f"offers {'; '.join(offered)}"
    return f"keeps what it has free for a task of {stock.first_kept(lane)} whose turn came before"


def _in_use(stock: Stock, name: str) -> str:
    return written(name, stock.used.get(name, 0)).partition("=")[2]
