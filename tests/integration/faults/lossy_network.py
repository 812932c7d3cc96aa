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
from contextlib import suppress
from typing import Final

from fault_pool import TASKS, FaultPool, Program

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_TUN_NO_HEADER: Final = 0x1001
_NEAR, _FAR = "10.203.0.1", "10.203.0.2"

_RELAY = """
import socket, sys, threading
def pump(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    for one in (a, b):
        try: one.shutdown(socket.SHUT_RDWR)
        except OSError: pass
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
print("listening", flush=True)
while True:
    near, _ = listener.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((near, far), (far, near)): threading.Thread(target=pump, args=pair, daemon=True).start()
"""


class Unavailable(Exception):
    """This machine or this user cannot make such a network."""


class LossyNetwork:
    """Near: the supervisor. Far: hosts. Between them each packet is lost with a fixed chance, both ways.

    Attributes:
        passed, lost: Packets.
    """

    def __init__(self, loss: float) -> None:
        self._loss = loss
        self.passed = self.lost = 0
        self._relay: subprocess.Popen[str] | None = None
        self._names: list[int] = []
        self._tuns: list[int] = []
        self._error: str | None = None
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
            ready, _, _ = select.select([near, far, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for source in ready:
                with suppress(BlockingIOError):
                    packet = os.read(source, 65536)
                    if chance.random() < self._loss:
                        self.lost += 1
                        continue
                    os.write(far if source == near else near, packet)
                    self.passed += 1

    def _within(self, which: int) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._names[which]}")

    def listen_for(self, pool: FaultPool) -> str:
        """Start the pool's supervisor at the near end; the address at which the far end finds it."""
        port = pool.address.rpartition(":")[2]
        pool.supervisor = self._program(pool, 0, "supervisor", "supervisor", "--bind", pool.address)
        pool.supervisor.await_event("supervisor_started")
        self._relay = subprocess.Popen(
            [*self._within(0), sys.executable, "-c", _RELAY, _NEAR, port], stdout=subprocess.PIPE, text=True
        )
        assert self._relay.stdout is not None
        assert self._relay.stdout.readline() == "listening\n"
        return f"tcp://{_NEAR}:{port}"

    def start_host(self, pool: FaultPool, name: str, address: str) -> Program:
        """Start a host at the far end."""
        arguments = ("--join", address, "--name", name, "--slots", "1", str(TASKS))
        return self._program(pool, 1, name, "host", *arguments)

    def _program(self, pool: FaultPool, which: int, name: str, verb: str, *arguments: str) -> Program:
        words = (verb, "-c", pool.configuration_file(), *arguments)
        return pool.program(*words, called=name, before=self._within(which))

    def close(self) -> None:
        """Take the wire away. The namespaces go with the last process in them."""
        if self._relay is not None:
            self._relay.kill()
            self._relay.wait(10)
            if self._relay.stdout is not None:
                self._relay.stdout.close()
        if hasattr(self, "_carrier"):
            os.write(self._stop_write, b"\0")
            self._carrier.join(10)
            os.close(self._stop_read)
            os.close(self._stop_write)
        for number in (*self._tuns, *self._names):
            os.close(number)
