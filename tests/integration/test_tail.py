"""`tail`: what tasks of real slots write, while they run and afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from workerhost import Client, TaskUnknown
from workerhost.actors.host import Host, HostSettings
from workerhost.actors.supervisor import Supervisor, SupervisorSettings
from workerhost.bin import main

SECONDS = 20.0

TASKS = """
import os, sys
from pathlib import Path
from time import sleep
from workerhost import Fail, worker

@worker("quiet")
def quiet(): return 1

@worker("say")
def say(count, gate=None):
    for number in range(count): print(f"line {number}")
    os.write(2, b"from below\\n")
    while gate and not Path(gate).exists(): sleep(0.01)
    print("the end", end="")

@worker("twice")
def twice(note):
    first = not Path(note).exists()
    Path(note).touch()
    print("first" if first else "second")
    if first: raise Fail("again", retry=True, after=0.01)
"""


class House:
    """A supervisor and a host with real slots."""

    def __init__(self, folder: Path, stack: ExitStack, isolation: str) -> None:
        code = folder / "tasks.py"
        code.write_text(TASKS)
        self.gate = folder / "gate"
        supervisor = Supervisor.start(SupervisorSettings(address="tcp://127.0.0.1:0", database=folder / "tasks.db"))
        stack.callback(supervisor.stop)
        self.address = supervisor.address
        settings: dict[str, Any] = {"address": self.address, "slots": {"": 2}, "isolation": isolation}
        host = Host.start(HostSettings(**settings, code=(str(code),)))
        stack.callback(host.join, SECONDS)
        stack.callback(host.stop)
        assert host.wait_joined(SECONDS)
        self.client = stack.enter_context(Client(self.address, timeout=SECONDS))


@pytest.fixture(params=["process", "thread"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack, request.param)


def test_lines_come_while_the_task_runs_and_are_kept_afterwards(house: House) -> None:
    handle = house.client.send("say", {"count": 3, "gate": str(house.gate)})
    lines = house.client.tail(handle, follow=True)

    seen = [next(lines) for _ in range(4)]

    assert not handle.wait(0), "it still runs"
    assert sorted(line.text for line in seen) == ["from below", "line 0", "line 1", "line 2"]
    assert {line.attempt for line in seen} == {1}
    assert all(line.at is not None for line in seen)
    assert [line.text for line in house.client.tail(handle.id)] == [line.text for line in seen], "as far as it is"
    house.gate.touch()
    assert [line.text for line in lines] == ["the end"]
    assert handle.result(SECONDS) is None
    assert [line.text for line in house.client.tail(handle)] == [*(line.text for line in seen), "the end"]
    assert not house.client.hosts()[0]["tasks"]


def test_a_queued_task_is_waited_for_and_its_attempts_are_told_apart(house: House) -> None:
    handle = house.client.send("twice", {"note": str(house.gate)}, delay=0.5)
    assert list(house.client.tail(handle)) == []
    assert [(line.attempt, line.text) for line in house.client.tail(handle, follow=True)] == [
        (1, "first"),
        (2, "second"),
    ]


def test_a_task_that_writes_nothing_has_no_lines(house: House) -> None:
    handle = house.client.send("quiet")
    assert list(house.client.tail(handle, follow=True)) == []
    assert house.client.show(handle.id)["attempts"][0]["detail"] is None


def test_many_lines_end_with_the_last_and_say_what_is_missing(house: House) -> None:
    handle = house.client.send("say", {"count": 2000})
    handle.result(SECONDS)
    texts = [line.text for line in house.client.tail(handle)]
    assert len(texts) == 65
    assert texts[0] == "[1938 lines before]"
    assert texts[-1] == "the end"


def test_who_stops_listening_disturbs_nobody(house: House) -> None:
    handle = house.client.send("say", {"count": 1, "gate": str(house.gate)})
    lines = house.client.tail(handle, follow=True)
    next(lines)
    lines.close()
    house.gate.touch()
    assert handle.result(SECONDS) is None


def test_an_unknown_task_is_said_to_be_one(house: House) -> None:
    with pytest.raises(TaskUnknown):
        house.client.tail(4711)


def test_the_command_prints_lines_and_nothing_else(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    handle = house.client.send("say", {"count": 2, "gate": str(house.gate)})
    threading.Timer(0.5, house.gate.touch).start()

    assert main.run(["--address", house.address, "tail", "-f", str(handle.id)]) == 0

    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["from below", "line 0", "line 1", "the end"]
    assert "attempt 1:" in err
    assert main.run(["--address", house.address, "tail", "--json", str(handle.id)]) == 0
    out, _ = capfd.readouterr()
    assert '{"attempt": 1, "text": "the end", "at": null}' in out
