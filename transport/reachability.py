"""Where a pool is, and what to tell a person when nobody answers there."""

from __future__ import annotations

import re
import socket
from typing import Final

from ..workers.errors import ConfigError, PoolUnreachable, plain
from .addresses import is_local

SILENT: Final = "something listens there but did not answer"
NO_IDENTITY: Final = (
    f"{SILENT}; if it is a supervisor that other machines can reach, it answers only those it knows: join with the line"
    " that `workerhost invite` prints there. Else check that it is a supervisor, and that it is not stuck"
)
UNKNOWN_HERE: Final = (
    f"{SILENT}; it may not know this machine's identity (revoked, expired, its invitation was used already, or the pool"
    " is another one by now): ask for a new invitation there: workerhost invite. Else check that it is a supervisor,"
    " and that it is not stuck"
)
_TCP: Final = re.compile(r"tcp://(\[[^\]]+\]|[^:/\[\]]+):(\d{1,5})\Z")


def checked(address: str) -> str:
    """The address, if it is one.

    Raises:
        ConfigError: It is malformed.
    """
    match = _TCP.match(address)
    if match is not None and 0 < int(match[2]) < 65536:
        return address
    if re.match(r"(ipc|memory)://.", address):
        return address
    raise ConfigError(f"{plain(address, 200)!r} is no address; write tcp://HOST:PORT, ipc://PATH or memory://NAME")


def unreachable(address: str, seconds: float, finding: str, *, note: str = "") -> PoolUnreachable:
    """The one error for a pool that does not answer."""
    return PoolUnreachable(f"no supervisor answered at {address} within {seconds:g} s: {finding}{note}")


def probe(address: str, seconds: float) -> str:
    """Find out what is met at an address where nobody answers: one sentence with the cure.

    Args:
        address: Where to knock.
        seconds: Longest time to take, for an address with a number; a name may take longer to look up.
    """
    if address.startswith("memory://"):
        return "no pool of that name is open in this process; is its `with WorkerHost(...)` block over?"
    try:
        _knock(address, seconds)
    except ConnectionRefusedError:
        return f"connection refused, nothing listens there; {_start(address)}"
    except FileNotFoundError:
        return f"there is no such socket; {_start(address)}"
    except TimeoutError:
        return "no answer, not even a refusal; check the address and the network, or reach it through ssh -L"
    except socket.gaierror:
        return "the name of the machine cannot be found; check the address"
    except OSError as error:
        return f"no answer ({error.strerror or error}); check the address and the network"
    return SILENT


def _knock(address: str, seconds: float) -> None:
    match = _TCP.match(address)
    if match is not None:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=seconds).close()
        return
    path = address.removeprefix("ipc://")
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(seconds)
        knocking.connect("\0" + path[1:] if path.startswith("@") else path)


def _start(address: str) -> str:
    if is_local(address):
        return "start one with: workerhost up"
    return "start one on that machine with: workerhost up"
