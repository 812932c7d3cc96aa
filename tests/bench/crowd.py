"""Who else is at a pool's door, in a process of its own: `crowd.py KIND ADDRESS`.

It says `ready` when it is in full swing, goes on until its input ends (a minute at most), and says as JSON how much it
did, {unit: count}. It has the lowest priority and takes what processors the pool leaves it: who has a machine of its
own would do more.
"""

from __future__ import annotations

import json
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
Did = dict[str, float]
"""How much of what: first what makes the crowd one."""
_RESET: Final = struct.pack("ii", 1, 0)  # a connection closed by it leaves no port behind that waits
_TICK: Final = 0.01

over = threading.Event()


def ready() -> float:
    """Tell who measures that it may begin; when that was."""
    print("ready", flush=True)
    return time.monotonic()


def since(began: float) -> float:
    """Seconds."""
    return time.monotonic() - began


def awake(_address: str) -> Did:
    """Keep a processor awake that has nothing else to do: who is woken on one that sleeps waits twice as long."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    ready()
    while not over.is_set():
        pass
    return {}


def connection(address: str) -> socket.socket:
    """A stranger's: it says nothing."""
    place, _, port = address.removeprefix("tcp://").rpartition(":")
    made = socket.create_connection((place, int(port)), timeout=5)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return made


def flood(address: str, type: str = "bench.nothing") -> Did:
    """Send tasks as fast as it can, whatever is answered."""
    taken = refused = 0
    with Client(address, timeout=2.0) as client:
        client.status()
        began = ready()
        while not over.is_set():
            try:
                client.send_many(type, [{"path": "a", "frame": i} for i in range(1000)])
                taken += 1000
            except WorkerHostError:
                refused += 1
    return {"tasks/s": taken / since(began), "errors": refused}


def waits(address: str) -> Did:
    """The same with tasks that no host takes: what is left of the flood is the supervisor's alone."""
    return flood(address, type="bench.nobody")


def hostile(address: str) -> Did:
    """Say the largest submissions there may be as fast as the socket takes them, and wait for no answer."""
    groups = [["bench.nobody", 5, None, [b"\xc0"] * 2000]]
    return _say_without_end(address, lambda number: encode(Submit(number, number, groups), number))


def garbage(address: str) -> Did:
    """Say what means nothing, as fast as the socket takes it."""
    noise = os.urandom(2000)
    return _say_without_end(address, lambda number: noise[number % 1000 :])


def _say_without_end(address: str, frame: Callable[[int], bytes]) -> Did:
    with Client(address, timeout=10.0) as client:
        client.status()  # known there from now on
        where = client.address
    credentials = access_to(where, 10.0).next().credentials
    assert credentials is not None
    said = connections = number = 0
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    door = _knock(context, where, credentials)
    began = ready()
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
    seconds = since(began)
    door.close(linger=0)
    context.term()
    return {"messages/s": said / seconds, "sessions": connections}


def _knock(context: zmq.Context[zmq.Socket[bytes]], where: str, credentials: Credentials) -> zmq.Socket[bytes]:
    door = context.socket(zmq.DEALER)
    door.setsockopt(zmq.CURVE_PUBLICKEY, credentials.pair.public.encode())
    door.setsockopt(zmq.CURVE_SECRETKEY, credentials.pair.secret.encode())
    door.setsockopt(zmq.CURVE_SERVERKEY, credentials.server.encode())
    door.connect(where)
    return door


def churn(address: str) -> Did:
    """Make and drop connections at an even pace."""
    began, made = ready(), 0
    while not over.is_set():
        due = since(began) * CHURN_PER_SECOND
        while made < due and not over.is_set():
            connection(address).close()
            made += 1
        over.wait(_TICK)
    return {"connections/s": made / since(began)}


def idle(address: str) -> Did:
    """Hold connections open, and make those again that the pool has closed; how many were open, on average."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poll = select.poll()
    held: dict[int, socket.socket] = {}
    told, made_again = False, 0
    began = looked = time.monotonic()
    held_seconds = 0.0
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
        before, looked = looked, time.monotonic()
        held_seconds += told * len(held) * (looked - before)
        if not told and len(held) == IDLE:
            told, began = True, ready()
        if len(held) == IDLE:
            over.wait(_TICK)
    return {"connections": held_seconds / since(began), "made again": made_again}


def _let_go(poll: select.poll, held: dict[int, socket.socket], descriptor: int) -> None:
    poll.unregister(descriptor)
    held.pop(descriptor).close()


def main() -> None:
    """Do what the command line names."""
    kinds: dict[str, Callable[[str], Did]] = {
        one.__name__: one for one in (awake, flood, waits, hostile, garbage, churn, idle)
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
    print(json.dumps(kinds[kind](address)), flush=True)


if __name__ == "__main__":
    main()
