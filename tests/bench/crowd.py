"""Who else is at a pool's door, in a process of its own: `crowd.py flood|churn|idle ADDRESS`.

It says `ready` when it is in full swing, goes on until its input ends (a minute at most), and says how much it did.
"""

from __future__ import annotations

import resource
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from workerhost import Client
from workerhost.workers.errors import WorkerHostError

SECONDS_MAX: Final = 60.0
IDLE: Final = 10_000
CHURN_PER_SECOND: Final = 1_000
_RESET: Final = struct.pack("ii", 1, 0)  # a connection closed by it leaves no port behind that waits
_TICK: Final = 0.01

over = threading.Event()


def ready() -> None:
    """Tell who measures that it may begin."""
    print("ready", flush=True)


def connection(address: str) -> socket.socket:
    """A stranger's: it says nothing."""
    place, _, port = address.removeprefix("tcp://").rpartition(":")
    made = socket.create_connection((place, int(port)), timeout=5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return made


def flood(address: str) -> str:
    """Send tasks as fast as it can, whatever is answered."""
    taken = refused = 0
    with Client(address, timeout=2.0) as client:
        client.status()
        ready()
        while not over.is_set():
            try:
                client.send_many("bench.nothing", [{"path": "a", "frame": i} for i in range(1000)])
                taken += 1000
            except WorkerHostError:
                refused += 1
    return f"{taken} tasks taken, {refused} times an error"


def churn(address: str) -> str:
    """Make and drop connections at an even pace."""
    ready()
    began, made = time.monotonic(), 0
    while not over.is_set():
        due = (time.monotonic() - began) * CHURN_PER_SECOND
        while made < due and not over.is_set():
            connection(address).close()
            made += 1
        over.wait(_TICK)
    return f"{made / (time.monotonic() - began):.0f} a second"


def idle(address: str) -> str:
    """Hold connections open, and make those again that the pool has closed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poll = select.poll()
    held: dict[int, socket.socket] = {}
    told, made_again = False, 0
    while not over.is_set():
        for descriptor, _ in poll.poll(0):
            _let_go(poll, held, descriptor)
        for _ in range(min(200, IDLE - len(held))):
            try:
                made = connection(address)
            except OSError:
                break
            held[made.fileno()] = made
            made_again += told
            poll.register(made, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
        if not told and len(held) == IDLE:
            told = True
            ready()
        if len(held) == IDLE:
            over.wait(_TICK)
    return f"{len(held)} open at the end, {made_again} made again"


def _let_go(poll: select.poll, held: dict[int, socket.socket], descriptor: int) -> None:
    poll.unregister(descriptor)
    held.pop(descriptor).close()


def main() -> None:
    """Do what the command line names."""
    kinds: dict[str, Callable[[str], str]] = {"flood": flood, "churn": churn, "idle": idle}
    kind, address = sys.argv[1:]
    timer = threading.Timer(SECONDS_MAX, over.set)
    timer.daemon = True
    timer.start()

    def watch() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=watch, daemon=True).start()
    print(kinds[kind](address), flush=True)


if __name__ == "__main__":
    main()
