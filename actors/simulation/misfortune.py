"""What goes wrong in a world, by name, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from .client import SimulatedClient
from .disk import Image
from .host import SimulatedHost
from .network import Network, Weather
from .supervisor import SimulatedSupervisor
from .timeline import Timeline
from .vigil import Executions

FAULTS: Final = {
    "drop": 0.01,
    "duplicate": 0.01,
    "reorder": 0.005,
    "old_hello": 0.1,
    "delay": 0.02,
    "partition": 0.05,
    "half_partition": 0.05,
    "pause_host": 0.05,
    "crash_host": 0.05,
    "drain_host": 0.02,
    "crash_slot": 0.1,
    "crash_client": 0.02,
    "crash_supervisor": 0.03,
    "stop_supervisor": 0.01,
    "stall_supervisor": 0.02,
    "commit_failure": 0.02,
    "io_error": 0.01,
    "power_cut": 0.01,
    "restore": 0.005,
    "wall_jump": 0.02,
    "clock_skew": 0.02,
}
"""Each fault's usual rate: per message for `drop`, `duplicate` and `reorder`, per connection for `old_hello`, the
largest deviation for `clock_skew`, and per second for the others.
"""


def weather_of(faults: Mapping[str, float]) -> Weather:
    """The network's part."""
    rate = faults.get
    return Weather(rate("drop", 0.0), rate("duplicate", 0.0), rate("reorder", 0.0), rate("old_hello", 0.0))


class Misfortune:
    """Does harm to the parts of a world; each harm ends by itself after a while."""

    def __init__(
        self,
        timeline: Timeline,
        random: Random,
        network: Network,
        supervisor: SimulatedSupervisor,
        hosts: list[SimulatedHost],
        clients: list[SimulatedClient],
        executions: Executions,
    ) -> None:
        self._timeline, self._random, self._network = timeline, random, network
        self._supervisor, self._hosts, self._clients = supervisor, hosts, clients
        self._executions = executions
        self._backup: tuple[Image, Any] | None = None
        self._happened: Counter[str] = Counter()

    def named(self, name: str) -> Callable[[], None] | None:
        """The fault of this name that happens at random times, if there is one."""
        fault: Callable[[], None] | None = getattr(self, name, None)
        if fault is None:
            return None

        def happen() -> None:
            self._happened[name] += 1
            fault()

        return happen

    @property
    def has_backup(self) -> bool:
        """Whether a backup was made that was not put in the database's place yet."""
        return self._backup is not None

    def happened(self) -> Counter[str]:
        """How often each fault has happened by now."""
        return self._happened + self._network.happened

    def _tell(self, what: str) -> None:
        self._timeline.tell("(misfortune)", what)

    def _later(self, first: float, last: float, event: Callable[..., None], *arguments: Any) -> None:
        self._timeline.after(self._random.uniform(first, last), event, *arguments)

    # The network.

    def delay(self) -> None:
        """For a while everything takes long on its way."""
        self._tell("the network is slow")
        self._network.weather.delay = self._random.choice((0.02, 0.1, 0.3))
        self._later(1, 10, setattr, self._network.weather, "delay", 0.002)

    def partition(self) -> None:
        """A node is cut off for a while."""
        self.cut(self._random.choice([*self._hosts, *self._clients]).name, ("up", "down"))

    def half_partition(self) -> None:
        """A node is cut off in one direction."""
        self.cut(self._random.choice([*self._hosts, *self._clients]).name, (self._random.choice(("up", "down")),))

    def cut(self, node: str, directions: tuple[str, ...]) -> None:
        """Cut a node off for a while."""
        self._tell(f"{node} is cut off: {' and '.join(directions)}")
        cuts = {(direction, node) for direction in directions}
        self._network.weather.cut |= cuts
        self._later(0.5, 15, self._network.weather.cut.difference_update, cuts)

    # Hosts and clients.

    def pause_host(self) -> None:
        """A host's process stands still."""
        host = self._random.choice(self._hosts)
        host.pause()
        self._later(0.5, 12, host.resume)

    def crash_host(self) -> None:
        """A host's process is killed, and started again later."""
        host = self._random.choice(self._hosts)
        host.crash()
        self._later(0.1, 10, host.start)

    def drain_host(self) -> None:
        """A host is told to leave, and started again when it has left."""
        host = self._random.choice(self._hosts)
        host.drain()
        self._later(4, 10, self._start_again, host)

    def _start_again(self, host: SimulatedHost) -> None:
        if host.left:
            host.start()

    def crash_slot(self) -> None:
        """A slot's process is killed."""
        self._random.choice(self._hosts).crash_slot()

    def crash_client(self) -> None:
        """A client's process is killed, and another one takes its place."""
        client = self._random.choice(self._clients)
        client.crash()
        self._later(0.1, 5, client.start)

    # The supervisor and its disk.

    def crash_supervisor(self) -> None:
        """The supervisor is killed: between two turns, around a commit, or while it speaks."""
        moment = self._random.random()
        if moment < 0.4:
            self._supervisor.kill()
            self._later(0.1, 12, self._supervisor.start)
        elif moment < 0.8:
            self._supervisor.disk.fate = self._random.choice(("lost", "written"))
        else:
            self._supervisor.fall_silent = self._random.randint(1, 6)

    def stop_supervisor(self) -> None:
        """The supervisor leaves as it should, and is started again later."""
        self._supervisor.stop()
        self._later(0.1, 12, self._supervisor.start)

    def stall_supervisor(self) -> None:
        """The supervisor stands still."""
        self._tell("the supervisor stands still")
        self._supervisor.stall(self._random.uniform(0.5, 8))

    def commit_failure(self) -> None:
        """The disk is full at the next commit."""
        self._supervisor.disk.fate = "refused"

    def io_error(self) -> None:
        """The next commit fails, and nobody knows whether it is on the disk."""
        self._supervisor.disk.fate = self._random.choice(("lost", "written"))

    def power_cut(self) -> None:
        """The supervisor's machine goes off. Hosts and clients are on others: they know what its disk has forgotten."""
        if self._supervisor.pool is not None and not self._supervisor.disk.full:
            self._executions.another_history()
        self._supervisor.power_cut()
        self._later(0.1, 12, self._supervisor.start)

    def restore(self) -> None:
        """A backup is made now, and some time later the database is lost and the backup is put in its place."""
        if self._backup is None and self._supervisor.pool is not None:
            self._tell("a backup is made")
            self._backup = self._supervisor.disk.backup()
            self._later(0.5, 20, self._put_back)

    def _put_back(self) -> None:
        backup, self._backup = self._backup, None
        if backup is not None:
            self._tell("the backup is put in the database's place")
            self._supervisor.kill()
            self._supervisor.disk.restore(backup)
            self._executions.another_history()
            self._later(0.1, 5, self._supervisor.start)

    def wall_jump(self) -> None:
        """Somebody sets the supervisor's wall clock."""
        seconds = self._random.choice((-3600.0, 3600.0, -86400.0, 1.5))
        self._tell(f"the wall clock jumps by {seconds} s")
        self._supervisor.jump(seconds)

    def end(self) -> None:
        """Nothing goes wrong any more, but that a backup which was made is still put in the database's place. The wall
        clock stays where it was set to: to set it back would be one more jump, which may heal what an earlier one has
        broken.
        """
        self._put_back()
        self._network.weather.calm()
        self._supervisor.disk.fate = ""
        self._supervisor.fall_silent = None
