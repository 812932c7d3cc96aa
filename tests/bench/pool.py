"""A real pool to measure: one supervisor process and one host process, started by the command line as a user would."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import psutil

from workerhost import Client, PoolUnreachable

PATIENCE = 30.0
"""Seconds a pool may take for anything before the measurement is given up."""

POLL_SECONDS = 0.005

NOTHING = "bench.nothing"
CODE = Path(__file__).with_name("nothing.py")


class Pool:
    """A durable pool on a loopback port, running while the `with` block lasts; `client` is connected to it.

    Args:
        slots: Of each host.
        isolation: Of the slots.
        hosts: How many.
        guarded: Whether other machines could reach it: everything is encrypted, and everybody has an identity.
    """

    def __init__(self, *, slots: int, isolation: str = "process", hosts: int = 1, guarded: bool = False) -> None:
        self._guarded = guarded
        self._host_arguments = ["--slots", str(slots), "--isolation", isolation]
        self._hosts = hosts
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="workerhost-bench-")
        self._log = Path(self._folder.name, "log").open("w+b")
        self.address = f"tcp://127.0.0.1:{free_port()}"
        try:
            if self._guarded:
                os.environ["WORKERHOST_HOME"] = str(Path(self._folder.name, "home"))
                port = self.address.rpartition(":")[2]
                self._start("supervisor", "--network", "--bind", f"tcp://0.0.0.0:{port}", "--database", "queue.db")
                self._wait_for_identities()
            else:
                self._start("supervisor", "--bind", self.address, "--database", "queue.db")
            self.client = Client(self.address, timeout=PATIENCE)
            self._wait_for_supervisor()
            self.seconds_from_start, self.seconds_from_up = self._join()
            for number in range(2, self._hosts + 1):
                self._start_host()
                self._wait_for_hosts(number)
            assert self.client.status()["supervisor"]["durability"] == "full"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "client"):
            self.client.close()
        for group in (self._processes[1:], self._processes[:1]):  # hosts hand back what they hold, so they go first
            for process in group:
                process.terminate()
            for process in group:
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if self._guarded:
            os.environ.pop("WORKERHOST_HOME", None)
        self._log.close()
        self._folder.cleanup()

    def memory(self) -> tuple[int, int]:
        """Resident bytes of the supervisor and of the host, without the host's slots."""
        supervisor, host = (psutil.Process(process.pid).memory_info().rss for process in self._processes[:2])
        return supervisor, host

    def slots_memory(self) -> int:
        """Resident bytes of the first host's slots, together."""
        return sum(slot.memory_info().rss for slot in psutil.Process(self._processes[1].pid).children())

    def processor_seconds(self) -> dict[str, float]:
        """What supervisor, hosts and slots have taken so far, all processors together."""
        supervisor, *hosts = (psutil.Process(process.pid) for process in self._processes)
        slots = [slot for host in hosts for slot in host.children()]
        return {name: sum(map(_seconds, group)) for name, group in _groups(supervisor, hosts, slots).items()}

    def _start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "workerhost", *arguments, "--parent", str(os.getpid())]
        self._processes.append(
            subprocess.Popen(
                command,
                cwd=self._folder.name,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C at the terminal reaches only this process, which ends them in order
            )
        )

    def _wait_for_identities(self) -> None:
        """Until the supervisor has written down who may reach it from here."""
        deadline = time.monotonic() + PATIENCE
        while not list(Path(self._folder.name, "home").glob("pools/*.json")):
            self._check_alive(deadline)
            time.sleep(POLL_SECONDS)  # sleeps: as below

    def _wait_for_supervisor(self) -> None:
        deadline = time.monotonic() + PATIENCE
        with Client(self.address, timeout=1.0) as probe:
            while True:
                self._check_alive(deadline)
                try:
                    probe.status()
                except PoolUnreachable:
                    continue
                return

    def _join(self) -> tuple[float, float]:
        """Start the host. Seconds until the supervisor took it in, from its start and from when it was up.

        It is up when it has loaded its code and starts its slots.
        """
        started = time.time()
        self._start_host()
        hosts = self._wait_for_hosts(1)
        host = psutil.Process(self._processes[-1].pid)
        up = min(slot.create_time() for slot in host.children()) - host.create_time()
        joined = hosts[0]["since"] - started
        return joined, joined - up

    def _start_host(self) -> None:
        self._start("host", "--join", self.address, str(CODE), *self._host_arguments)

    def _wait_for_hosts(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE
        while len(hosts := self.client.status()["hosts"]) < count:
            self._check_alive(deadline)
            time.sleep(POLL_SECONDS)  # sleeps: asking without a pause would take the processor that is measured
        return hosts

    def _check_alive(self, deadline: float) -> None:
        if all(process.poll() is None for process in self._processes) and time.monotonic() < deadline:
            return
        self._log.seek(0)
        raise RuntimeError("the pool did not come up:\n" + self._log.read().decode(errors="replace")[-4000:])


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _groups(
    supervisor: psutil.Process, hosts: list[psutil.Process], slots: list[psutil.Process]
) -> dict[str, list[psutil.Process]]:
    return {"supervisor": [supervisor], "hosts": hosts, "slots": slots}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tasks_per_second(client: Client, count: int, params: dict[str, Any], **sending: Any) -> float:
    """Send `count` tasks and take all their results; `sending` as for `Client.send`."""
    sent: Iterable[dict[str, Any]] = ({**params, "frame": i} for i in range(count))
    started = time.perf_counter()
    results = client.send_many(NOTHING, sent, **sending).results(timeout=PATIENCE)
    seconds = time.perf_counter() - started
    assert [result["frame"] for result in results] == list(range(count))
    return count / seconds


def single_tasks_per_second(client: Client, count: int, params: dict[str, Any]) -> float:
    """The same with one call of `send_soon` for each task."""
    started = time.perf_counter()
    handles = [client.send_soon(NOTHING, {**params, "frame": i}) for i in range(count)]
    results = [handle.result(timeout=PATIENCE) for handle in handles]
    seconds = time.perf_counter() - started
    assert [result["frame"] for result in results] == list(range(count))
    return count / seconds


def submits_per_second(client: Client, count: int, params: dict[str, Any]) -> float:
    """Send `count` tasks that no host takes, until all are on disk."""
    sent: Iterable[dict[str, Any]] = ({**params, "frame": i} for i in range(count))
    started = time.perf_counter()
    batch = client.send_many("bench.nobody", sent)
    seconds = time.perf_counter() - started
    assert len(batch) == count
    batch.cancel()
    return count / seconds


def round_trips(client: Client, count: int, params: dict[str, Any]) -> list[float]:
    """Seconds from sending one task to its result, `count` times, one after the other."""
    trips: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        client.send(NOTHING, params, priority=9).result(timeout=PATIENCE)
        trips.append(time.perf_counter() - started)
    return trips
