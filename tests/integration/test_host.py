"""Hosts with real slots and a real supervisor: joining, working, dying, being away, coming back, leaving."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import until

from workerhost import Client, TaskCancelled, TaskFailed, TaskQuarantined, TaskState, worker
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.config.policy import PolicyTree
from workerhost.workers.errors import ConfigError

SECONDS = 20.0

TASKS = """
import os, signal, time
from pathlib import Path
from workerhost import worker

@worker("text.length")
def length(text): return len(text)

@worker("text.gated")
def gated(gate, note):
    with open(note, "a") as file: file.write(f"{os.getpid()}\\n")
    while not Path(gate).exists(): time.sleep(0.01)
    return os.getpid()

@worker("text.deaf")
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try: time.sleep(60)
        except BaseException: pass

@worker("text.die")
def die(): os._exit(3)
"""

HOST = """
import sys, workerhost.actors.host as host
running = host.Host.start(host.HostSettings(address=sys.argv[1], name=sys.argv[2], slots={"": 1}, code=(sys.argv[3],)))
running.join()
"""


class House:
    """A supervisor on a port of its own, and whatever joins it; everything ends with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.code = folder / "tasks.py"
        self.code.write_text(TASKS)
        self.gate, self.note = folder / "gate", folder / "note"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.supervisor: Supervisor | None = None

    def supervise(self, *, in_memory: bool = False, **more: Any) -> None:
        pool = PoolSettings(heartbeat=0.2, lost_after=1.0, **more)
        database = None if in_memory else self.folder / "tasks.db"
        self.supervisor = Supervisor.start(SupervisorSettings(address=self.address, database=database, pool=pool))
        self.stack.callback(self.supervisor.stop)

    def absent(self) -> None:
        assert self.supervisor is not None
        self.supervisor.stop()

    def host(self, *, wait: bool = True, **more: Any) -> Host:
        settings: dict[str, Any] = {"address": self.address, "slots": {"": 1}, "code": (str(self.code),)}
        host = Host.start(HostSettings(**settings | more))
        self.stack.callback(host.join, SECONDS)
        self.stack.callback(host.stop)
        assert not wait or host.wait_joined(SECONDS)
        return host

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """A host in a process of its own, joined."""
        process = subprocess.Popen([sys.executable, "-c", HOST, self.address, name, str(self.code)])
        self.stack.callback(process.wait, SECONDS)
        self.stack.callback(process.kill)
        with self.client() as client:
            until(lambda: name in hosts(client), f"{name} joins")
        return process

    def client(self) -> Client:
        return Client(self.address, timeout=SECONDS)

    def gated(self, client: Client) -> Any:
        """A task that runs until the gate opens, and does run."""
        handle = client.send("text.gated", {"gate": str(self.gate), "note": str(self.note)})
        until(lambda: handle.state == TaskState.RUNNING and self.executions(), "the task runs")
        return handle

    def open(self) -> None:
        self.gate.touch()

    def executions(self) -> list[int]:
        return [int(line) for line in self.note.read_text().split()] if self.note.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


def hosts(client: Client, state: str = "joined") -> list[str]:
    return [host["name"] for host in client.hosts() if host["state"] == state]


def runs(pid: int) -> bool:
    """Whether a process lives; one that only waits to be buried by its parent does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class TestWorking:
    def test_a_host_joins_runs_tasks_and_shows_its_levels(self, house: House):
        house.supervise()
        house.host(name="one", slots={"": 2})
        with house.client() as client:
            assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5
            assert list(client.map("text.length", ({"text": "x" * n} for n in range(500)))) == list(range(500))

            levels = until(lambda: client.hosts()[0]["levels"], "the host tells of its levels")
            assert set(levels) == {"text", "text.length", "text.gated", "text.deaf", "text.die"}

    @pytest.mark.parametrize("isolation", ["thread", "inline"])
    def test_so_does_one_of_another_isolation(self, house: House, isolation: str):
        house.supervise(in_memory=True)
        house.host(isolation=isolation, slots={"": 3})
        with house.client() as client:
            assert list(client.map("text.length", ({"text": "x" * n} for n in range(100)))) == list(range(100))

    def test_workers_of_this_process_are_served_over_a_memory_link(self, house: House):
        @worker("double")
        def double(number: int) -> int:
            return 2 * number

        house.address = f"memory://{house.folder}"
        house.supervise(in_memory=True)
        house.host(isolation="inline", code=(), workers=(double,))
        with house.client() as client:
            assert client.send("double", {"number": 21}).result(SECONDS) == 42

    def test_code_that_cannot_be_loaded_is_seen_with_its_reason(self, house: House):
        house.code.write_text("import nothing_of_that_name\n")
        house.supervise()
        house.host()
        with house.client() as client:
            (host,) = client.hosts()
            assert "nothing_of_that_name" in host["failed"][str(house.code)]

    def test_a_timeout_kills_what_does_not_listen_and_the_slot_lives_on(self, house: House):
        house.supervise(policies=PolicyTree({"text.deaf": {"timeout": 0.2, "retry": {"max_attempts": 1}}}))
        house.host()
        with house.client() as client:
            with pytest.raises(TaskFailed, match=r"ran longer than 0\.2 s") as failed:
                client.send("text.deaf").result(SECONDS)
            assert failed.value.cause == "timeout"
            assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5

    def test_a_cancelled_task_gives_its_slot_free(self, house: House):
        house.supervise()
        house.host()
        with house.client() as client:
            handle = house.gated(client)
            assert handle.cancel()
            with pytest.raises(TaskCancelled):
                handle.result(SECONDS)
            assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5

    def test_a_task_that_kills_its_process_is_quarantined_and_others_go_on(self, house: House):
        house.supervise()
        house.host()
        with house.client() as client:
            poison = client.send("text.die")
            good = client.send("text.length", {"text": "hello"})
            assert good.result(SECONDS) == 5
            with pytest.raises(TaskQuarantined, match="exit code 3"):
                poison.result(SECONDS)


class TestTheSupervisorIsAway:
    def test_a_host_that_comes_first_waits_for_it(self, house: House):
        host = house.host(wait=False)
        assert not host.wait_joined(0.3)
        house.supervise()
        assert host.wait_joined(SECONDS)

    @pytest.mark.parametrize("ends", ["while it is away", "after it is back"])
    def test_a_running_task_goes_on_and_is_adopted(self, house: House, ends: str):
        house.supervise()
        house.host(name="one")
        with house.client() as client:
            handle = house.gated(client)
            house.absent()
            if ends == "while it is away":
                house.open()
            house.supervise()
            until(lambda: hosts(client) == ["one"], "the host is back")
            house.open()

            assert handle.result(SECONDS) == house.executions()[0]
            assert (len(house.executions()), client.show(handle.id)["attempt"]) == (1, 1)

    def test_a_task_that_must_not_run_alone_is_stopped_before_its_lease_ends(self, house: House):
        house.supervise(policies=PolicyTree({"text": {"cut_off": None}}))
        house.host()
        with house.client() as client:
            house.gated(client)
            (first,) = house.executions()
            house.absent()
            until(lambda: not runs(first), "its process is stopped", 3.0)


class TestDying:
    def test_the_tasks_of_a_killed_host_run_elsewhere(self, house: House):
        house.supervise()
        victim = house.process("victim")
        with house.client() as client:
            handle = house.gated(client)
            house.host(name="rescuer")
            victim.kill()
            until(lambda: len(house.executions()) == 2, "another host runs it")
            house.open()

            assert handle.result(SECONDS) == house.executions()[1]
            shown = client.show(handle.id)
            assert (shown["attempt"], shown["host"], shown["attempts"][0]["outcome"]) == (2, "rescuer", "host lost")

    def test_the_slots_of_a_killed_host_die_with_it(self, house: House):
        house.supervise()
        victim = house.process("victim")
        with house.client() as client:
            house.gated(client)
            (slot,) = house.executions()
            victim.kill()
            until(lambda: not runs(slot), "the slot ends with its host", 3.0)

    def test_a_late_result_of_a_host_given_up_changes_nothing(self, house: House):
        house.supervise()
        zombie = house.process("zombie")
        with house.client() as client:
            handle = house.gated(client)
            os.kill(zombie.pid, signal.SIGSTOP)
            house.host(name="rescuer")
            until(lambda: len(house.executions()) == 2, "another host runs it")
            house.open()
            value = handle.result(SECONDS)
            os.kill(zombie.pid, signal.SIGCONT)
            until(lambda: set(hosts(client)) == {"zombie", "rescuer"}, "the host given up is back")

            assert value == house.executions()[1]
            shown = client.show(handle.id)
            assert (shown["state"], shown["host"], shown["attempt"]) == ("completed", "rescuer", 2)

    def test_a_host_given_up_comes_back_to_what_nobody_has_taken(self, house: House):
        house.supervise()
        only = house.process("only")
        with house.client() as client:
            handle = house.gated(client)
            os.kill(only.pid, signal.SIGSTOP)
            until(lambda: hosts(client, "lost") == ["only"], "the host is given up")
            os.kill(only.pid, signal.SIGCONT)
            until(lambda: hosts(client) == ["only"], "the host is back")
            house.open()

            assert handle.result(SECONDS) == house.executions()[0]
            assert (len(house.executions()), client.show(handle.id)["attempt"]) == (1, 1)

    def test_a_zombies_copy_is_stopped_when_it_comes_back(self, house: House):
        house.supervise()
        zombie = house.process("zombie")
        with house.client() as client:
            handle = house.gated(client)
            os.kill(zombie.pid, signal.SIGSTOP)
            house.host(name="rescuer")
            until(lambda: len(house.executions()) == 2, "another host runs it")
            os.kill(zombie.pid, signal.SIGCONT)
            until(lambda: not runs(house.executions()[0]), "the first execution is ended")
            house.open()
            assert handle.result(SECONDS) == house.executions()[1]


class TestLeaving:
    def test_a_drain_finishes_what_runs_and_takes_nothing_new(self, house: House):
        house.supervise()
        host = house.host(name="one")
        with house.client() as client:
            handle = house.gated(client)
            waits = client.send("text.length", {"text": "hello"})
            host.drain()
            house.open()

            assert host.join(SECONDS)
            assert handle.result(SECONDS) == house.executions()[0]
            assert (hosts(client, "left"), waits.state, host.error) == (["one"], TaskState.QUEUED, None)

    def test_what_does_not_finish_in_time_is_given_back_and_nobodys_fault(self, house: House):
        house.supervise()
        host = house.host()
        with house.client() as client:
            handle = house.gated(client)
            host.drain(0.1)

            assert host.join(5.0)
            until(lambda: handle.state == TaskState.QUEUED, "the task is given back")
            shown = client.show(handle.id)
            assert (shown["failures"], shown["crashes"], shown["losses"]) == (0, 0, 0)
            assert shown["attempts"][0]["outcome"] == "released"

    def test_stop_is_at_once(self, house: House):
        house.supervise()
        host = house.host()
        with house.client() as client:
            handle = house.gated(client)
            host.stop()
            assert host.join(2.0)
            until(lambda: handle.state == TaskState.QUEUED, "the task is given back")
            assert not runs(house.executions()[0])

    def test_a_drain_by_command_can_be_undone(self, house: House):
        house.supervise()
        house.host(name="one")
        with house.client() as client:
            handle = house.gated(client)
            client.drain("one")
            client.drain("one", undo=True)
            house.open()
            handle.result(SECONDS)
            assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5

    def test_a_host_without_a_supervisor_leaves_too(self, house: House):
        host = house.host(wait=False)
        host.drain()
        assert host.join(5.0)


class TestRefusals:
    def test_a_name_that_is_taken_is_free_when_its_holder_has_left(self, house: House):
        house.supervise()
        first = house.host(name="one")
        second = house.host(name="one", wait=False)
        assert not second.wait_joined(0.5)
        first.stop()
        assert second.wait_joined(SECONDS)

    def test_unnamed_hosts_of_one_machine_get_names_of_their_own(self, house: House):
        house.supervise()
        house.host()
        house.host()
        with house.client() as client:
            assert hosts(client) == [socket.gethostname(), f"{socket.gethostname()}-2"]

    def test_a_malformed_address_ends_the_host_with_the_reason(self, house: House):
        house.address = "http://nowhere"
        host = house.host(wait=False)
        assert host.join(SECONDS)
        assert isinstance(host.error, ConfigError)
        assert "http://nowhere" in str(host.error)

    def test_settings_of_the_supervisor_for_a_host_are_taken_over(self, house: House):
        house.supervise(hosts={"o*": {"slots": {"text": 2}, "serve": ["text"]}})
        house.host(name="one", slots={"": 1})
        with house.client() as client:
            (host,) = until(lambda: [h for h in client.hosts() if h["slots"] == 2], "it has two slots")
            assert host["serve"] == ["text"]
            assert client.send("text.length", {"text": "hello"}).result(SECONDS) == 5
