"""Which of several addresses takes a connection, found out at all of them at once.

Owns its own short-lived sockets. Says nothing over them: whether it is the right pool is for the handshake to show.
"""

from __future__ import annotations

import ipaddress
import selectors
import socket
from collections.abc import Sequence
from typing import Final

from .addresses import place
from .clock import now

KNOCK_SECONDS: Final = 0.5
"""What knocking may take where nobody opens; whoever asks does nothing else meanwhile."""

GRACE_SECONDS: Final = 0.1
"""How long the first address may take longer than the others."""


def in_order(addresses: Sequence[str], seconds: float = KNOCK_SECONDS) -> list[str]:
    """The addresses, those that take a connection first; else in their own order. Names are not knocked at.

    Args:
        addresses: `tcp://` ones, the likeliest first.
        seconds: Longest time to take.
    """
    if len(addresses) < 2:
        return list(addresses)
    opened: set[str] = set()
    end = now() + seconds
    with selectors.DefaultSelector() as selector:
        for address in addresses:
            _begin(selector, address)
        while selector.get_map() and addresses[0] not in opened and (left := end - now()) > 0:
            for key, _ in selector.select(left):
                knocking = key.fileobj
                assert isinstance(knocking, socket.socket)
                selector.unregister(knocking)
                with knocking:
                    if not knocking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        end = end if opened else min(end, now() + GRACE_SECONDS)
                        opened.add(key.data)
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return sorted(addresses, key=lambda address: address not in opened)


def _begin(selector: selectors.BaseSelector, address: str) -> None:
    found = place(address)
    try:
        number = ipaddress.ip_address(found.host.strip("[]")) if found is not None else None
    except ValueError:
        return
    if found is None or number is None:
        return
    knocking = socket.socket(socket.AF_INET6 if number.version == 6 else socket.AF_INET)
    knocking.setblocking(False)
    try:
        knocking.connect_ex((str(number), int(found.port)))
    except (OSError, ValueError, OverflowError):
        knocking.close()
        return
    selector.register(knocking, selectors.EVENT_WRITE, address)
