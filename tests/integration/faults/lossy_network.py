"""Two network namespaces joined by a wire that loses packets: TUN devices, and a thread that carries between them.

The kernels' own TCP runs over it, with its retransmissions, so it shows what packet loss does to heartbeats. A
supervisor listens on loopback only, so a relay beside it carries from the wire's near end to it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from fault_pool import TASKS, FaultPool, Program

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_TUN_NO_HEADER: Final = 0x1001
_NEAR, _FAR = "10.203.0.1", "10.203.0.2"

_PUMPS = """
import socket, sys, threading
def pump(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    for one in (a, b):
        try: one.shutdown(socket.SHUT_RDWR)
        except OSError: pass
while True:
    near, _ = listener.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((near, far), (far, near)): threading.Thread(target=pump, args=pair, daemon=True).start()
"""

_RELAY = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
print("listening", flush=True)
"""


_DOOR = """
import ctypes, os, socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
if ctypes.CDLL(None, use_errno=True).setns(os.open(sys.argv[1], os.O_RDONLY), 0):
    sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
print(listener.getsockname()[1], flush=True)
"""
"""Listens where the test is, and connects where the supervisor is."""


class Unavailable(Exception):
    """This machine or this user cannot make such a network."""


@dataclass
class Weather:
    """How bad a wire is, each way.

    Attributes:
        loss, duplicate, reorder: Chances of one packet; one that is reordered overtakes those that are delayed.
        delay, jitter: Seconds on the way, and by how much they differ up or down.
        rate: Bits in a second, or None.
        cut: Directions in which nothing arrives: `up` to the supervisor, `down` from it.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    cut: frozenset[str] = frozenset()


class LossyNetwork:
    """Near: the supervisor. Far: hosts. What happens to packets between them is the weather's, both ways.

    Attributes:
        weather: May be replaced at any time.
        passed, lost: Packets.
    """

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.passed = self.lost = 0
        self._relays: list[subprocess.Popen[str]] = []
        self._names: list[int] = []
        self._tuns: list[int] = []
        self._error: str | None = None
        self._on_the_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._free = {"up": 0.0, "down": 0.0}  # when the wire has sent what it was given, by its rate
        maker = threading.Thread(target=self._make)  # a namespace is its thread's: this one's end gives it up
        maker.start()
        maker.join(20)
        if self._error is not None or len(self._tuns) < 2:
            self.close()
            raise Unavailable(self._error or "it took too long")
        self._stop_read, self._stop_write = os.pipe()
        self._carrier = threading.Thread(target=self._carry, daemon=True)
        self._carrier.start()

    def _make(self) -> None:
        try:
            for address in (_NEAR, _FAR):
                if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "unshare")
                self._names.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
                tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                self._tuns.append(tun)
                fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"wire", _TUN_NO_HEADER))
                for command in ("link set lo up", f"addr add {address}/24 dev wire", "link set wire up"):
                    subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self._error = f"{error} {getattr(error, 'stderr', '')}"

    def _carry(self) -> None:
        chance = random.Random(28)
        near, far = self._tuns
        while True:
            wait = max(0.0, self._on_the_way[0][0] - time.monotonic()) if self._on_the_way else None
            ready, _, _ = select.select([near, far, self._stop_read], [], [], wait)
            if self._stop_read in ready:
                return
            for source in ready:
                with suppress(BlockingIOError):
                    packet = os.read(source, 65536)
                    way, sink = ("down", far) if source == near else ("up", near)
                    self._send(way, sink, packet, chance)
            while self._on_the_way and self._on_the_way[0][0] <= time.monotonic():
                _, _, sink, packet = heappop(self._on_the_way)
                with suppress(BlockingIOError):
                    os.write(sink, packet)
                    self.passed += 1

    def _send(self, way: str, sink: int, packet: bytes, chance: random.Random) -> None:
        weather, now = self.weather, time.monotonic()
        if way in weather.cut or chance.random() < weather.loss:
            self.lost += 1
            return
        for _ in range(2 if chance.random() < weather.duplicate else 1):
            due = now
            if weather.rate is not None:
                due = self._free[way] = max(now, self._free[way]) + 8 * len(packet) / weather.rate
            if chance.random() >= weather.reorder:
                due += max(0.0, weather.delay + chance.uniform(-weather.jitter, weather.jitter))
            self._count += 1
            heappush(self._on_the_way, (due, self._count, sink, packet))

    def _within(self, which: int) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._names[which]}")

    def listen_for(self, pool: FaultPool) -> str:
        """Start the pool's supervisor at the near end; the address at which the far end finds it."""
        port = pool.address.rpartition(":")[2]
        pool.supervisor = self._program(pool, 0, "supervisor", "supervisor", "--bind", pool.address)
        pool.supervisor.await_event("supervisor_started")
        assert self._relay(*self._within(0), sys.executable, "-c", _RELAY + _PUMPS, _NEAR, port) == "listening"
        return f"tcp://{_NEAR}:{port}"

    def door(self, pool: FaultPool) -> str:
        """The address at which the pool's supervisor is found from where the test is."""
        namespace = f"/proc/{os.getpid()}/fd/{self._names[0]}"
        port = self._relay(sys.executable, "-c", _DOOR + _PUMPS, namespace, pool.address.rpartition(":")[2])
        return f"tcp://127.0.0.1:{port}"

    def _relay(self, *command: str) -> str:
        """Start a relay; the line that it says when it listens."""
        relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._relays.append(relay)
        assert relay.stdout is not None
        return relay.stdout.readline().strip()

    def start_host(self, pool: FaultPool, name: str, address: str, *options: str) -> Program:
        """Start a host at the far end."""
        arguments = ("--join", address, "--name", name, *(options or ("--slots", "1")), str(TASKS))
        return self._program(pool, 1, name, "host", *arguments)

    def _program(self, pool: FaultPool, which: int, name: str, verb: str, *arguments: str) -> Program:
        words = (verb, "-c", pool.configuration_file(), *arguments)
        return pool.program(*words, called=name, before=self._within(which))

    def close(self) -> None:
        """Take the wire away. The namespaces go with the last process in them."""
        for relay in self._relays:
            relay.kill()
            relay.wait(10)
            if relay.stdout is not None:
                relay.stdout.close()
        if hasattr(self, "_carrier"):
            os.write(self._stop_write, b"\0")
            self._carrier.join(10)
            os.close(self._stop_read)
            os.close(self._stop_write)
        for number in (*self._tuns, *self._names):
            os.close(number)
