"""Who else is at a pool's door, in a process of its own: `crowd.py KIND ADDRESS`.

It says `ready` when it is in full swing, goes on until its input ends (a minute at most), and says how much it did. It
takes what processors the pool leaves it: as if it were on a machine of its own, it costs others what the pool does for
it.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import zmq

from workerhost import Client
from workerhost.transport.client import access_to
from workerhost.transport.codec import decode, encode
from workerhost.transport.contract import Credentials
from workerhost.transport.messages import PROTOCOL_VERSION, Hello, Refused, Submit
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


def flood(address: str, type: str = "bench.nothing") -> str:
    """Send tasks as fast as it can, whatever is answered."""
    taken = refused = 0
    with Client(address, timeout=2.0) as client:
        client.status()
        ready()
        while not over.is_set():
            try:
                client.send_many(type, [{"path": "a", "frame": i} for i in range(1000)])
                taken += 1000
            except WorkerHostError:
                refused += 1
    return f"{taken} tasks taken, {refused} times an error"


def waits(address: str) -> str:
    """The same with tasks that no host takes: what is left of the flood is the supervisor's alone."""
    return flood(address, type="bench.nobody")


def hostile(address: str) -> str:
    """Say the largest submissions there may be as fast as the socket takes them, and wait for no answer."""
    groups = [["bench.nobody", 5, None, [b"\xc0"] * 2000]]
    return _say_without_end(address, lambda number: encode(Submit(number, number, groups), number))


def garbage(address: str) -> str:
    """Say what means nothing, as fast as the socket takes it."""
    noise = os.urandom(2000)
    return _say_without_end(address, lambda number: noise[number % 1000 :])


def _say_without_end(address: str, frame: Callable[[int], bytes]) -> str:
    with Client(address, timeout=10.0) as client:
        client.status()  # known there from now on
        where = client.address
    credentials = access_to(where, 10.0).next().credentials
    assert credentials is not None
    said = connections = number = 0
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    door = _knock(context, where, credentials)
    ready()
    while not over.is_set():
        try:
            if number == 0:
                connections += 1
                hello = Hello("client", [PROTOCOL_VERSION, PROTOCOL_VERSION], os.urandom(16), "crowd", {})
                door.send(encode(hello, 0), zmq.NOBLOCK)
            number += 1
            door.send(frame(number), zmq.NOBLOCK)
            said += 1
        except zmq.Again:
            door.poll(int(1000 * _TICK), zmq.POLLOUT)
        while door.poll(0):
            if decode(door.recv())[1].KIND == Refused.KIND:
                number = 0  # the session is over: begin another
    door.close(linger=0)
    context.term()
    return f"{said} messages, {connections} sessions"


def _knock(context: zmq.Context[zmq.Socket[bytes]], where: str, credentials: Credentials) -> zmq.Socket[bytes]:
    door = context.socket(zmq.DEALER)
    door.setsockopt(zmq.CURVE_PUBLICKEY, credentials.pair.public.encode())
    door.setsockopt(zmq.CURVE_SECRETKEY, credentials.pair.secret.encode())
    door.setsockopt(zmq.CURVE_SERVERKEY, credentials.server.encode())
    door.connect(where)
    return door


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
    kinds: dict[str, Callable[[str], str]] = {
        one.__name__: one for one in (flood, waits, hostile, garbage, churn, idle)
    }
    kind, address = sys.argv[1:]
    os.nice(19)
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
