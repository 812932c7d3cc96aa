"""What an address says of where it leads: this machine alone, all its interfaces, one of them.

The one place that knows; asks no network and binds nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..workers.errors import ConfigError

REACHED_MAX: Final = 16
"""Addresses that an invitation holds at most."""

_TCP: Final = re.compile(r"tcp://(\[[^\]]+\]|[^:/\[\]]+):(\d{1,5}|\*)\Z")
_ANYWHERE: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - to be known, not bound
_HERE: Final = {"127.0.0.1": "0.0.0.0", "[::1]": "[::]"}  # noqa: S104 - where somebody asked for it
_VIRTUAL: Final = ("docker", "br-", "veth", "virbr", "cni", "flannel", "podman", "lxc")


class Place(NamedTuple):
    """The parts of a `tcp://` address; the host in one spelling, an IPv6 one in brackets."""

    host: str
    port: str

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"


def place(address: str) -> Place | None:
    """The parts of an address; None if it is no `tcp://` one."""
    match = _TCP.match(address)
    if match is None:
        return None
    host = "127.0.0.1" if match[1].lower() == "localhost" else match[1].lower()
    try:
        number = ipaddress.ip_address(host.strip("[]"))
    except ValueError:  # a name, an interface, or all of them
        return Place(host, match[2])
    return Place(f"[{number}]" if number.version == 6 else str(number), match[2])


def is_local(address: str) -> bool:
    """Whether nobody on another machine can reach an address. A name or an interface leads who knows where."""
    if not address.startswith("tcp://"):
        return True
    found = place(address)
    return found is not None and _is_loopback(found.host)


def beyond(address: str) -> str:
    """The address on all interfaces, where it stands for this machine alone.

    Raises:
        ConfigError: No other machine can ever reach it.
    """
    found = place(address)
    if found is not None and found.host in _HERE:
        return str(Place(_HERE[found.host], found.port))
    if is_local(address):
        raise ConfigError(
            f"{address}: no other machine can reach it; listen at tcp://0.0.0.0:PORT, or at tcp://HOST:PORT"
        )
    return address


def within(address: str) -> str:
    """How an address is met on its own machine."""
    found = place(address)
    return address if found is None else str(found._replace(host=_ANYWHERE.get(found.host, found.host)))


def met_at(address: str) -> list[str]:
    """All the ways to write down where who listens at an address is met on its own machine; none for an open port."""
    found = place(address)
    if found is None or found.port in ("0", "*"):
        return []
    both = found.host == "[::]"  # IPv4 comes in there too
    return [within(address), *((f"tcp://127.0.0.1:{found.port}",) if both else ())]


def reached_at(address: str, interfaces: Iterable[tuple[str, str]]) -> list[str]:
    """The hosts by which other machines may know who listens at an address, the likeliest first.

    Args:
        address: Where it listens.
        interfaces: This machine's, each with one IP address of it.
    """
    listens = place(address)
    if listens is None or listens.host not in _ANYWHERE:
        return [] if listens is None or _is_loopback(listens.host) else [listens.host.strip("[]")]
    ranked: list[tuple[bool, str]] = []
    for interface, text in interfaces:
        number = ipaddress.ip_address(text.partition("%")[0])
        if not (number.is_loopback or number.is_link_local) and (number.version == 4 or listens.host == "[::]"):
            ranked.append((interface.startswith(_VIRTUAL), str(number)))
    return [host for _, host in sorted(ranked, key=lambda one: one[0])][:REACHED_MAX]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
