"""Slots whose limits the kernel keeps: on the machine's own cgroups where some are handed over to whoever runs the
tests, and on a folder that plays them elsewhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
from slot_host import Death, Host, task

from workerhost.actors import slot_cgroup
from workerhost.actors.slot_cgroup import Groups
from workerhost.actors.slot_spawner import spawner
from workerhost.transport.messages import Outcome
from workerhost.workers import values

MIB = 2**20
TASKS = """
import os, subprocess, sys, threading, time
from workerhost import worker

print("loaded")

@worker("tame")
def tame(): return os.getpid()

@worker("eats")
def eat(mebibytes):
    hoard = [b"x" * MIB for _ in range(mebibytes)]
    return len(hoard)

@worker("feeds")
def feed(mebibytes):
    return subprocess.run([sys.executable, "-c", f"x = [b'x' * {MIB} for _ in range({mebibytes})]"]).returncode

@worker("starts")
def start_threads():
    end, started = threading.Event(), 0
    try:
        while started < 3000:
            threading.Thread(target=end.wait).start()
            started += 1
    except RuntimeError:
        pass
    end.set()
    return started

@worker("flees")
def flee():
    print(subprocess.Popen(["/bin/sleep", "600"], env={}, start_new_session=True).pid)
    time.sleep(600)
""".replace("MIB", str(MIB))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path, TASKS)
    yield host
    host.close()


class Played:
    """A folder in place of the machine's cgroups."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, proc = folder / "cgroup", folder / "proc"
        self.top.mkdir()
        proc.mkdir()
        for name, text in (("controllers", "memory pids"), ("subtree_control", ""), ("procs", "")):
            (self.top / f"cgroup.{name}").write_text(text)
        (proc / "cgroup").write_text("0::/\n")
        (proc / "mountinfo").write_text(f"30 23 0:26 / {self.top} rw - cgroup2 cgroup2 rw\n")
        monkeypatch.setattr(slot_cgroup, "PROC", proc)
        monkeypatch.setattr(slot_cgroup, "_own", None)

    def groups(self) -> list[Path]:
        return [folder for folder in self.top.iterdir() if folder.is_dir()]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(tmp_path, monkeypatch)


def test_who_never_has_limits_has_no_group(host: Host, played: Played) -> None:
    slot = host.ready()
    slot.feed([task("tame")])
    host.results()
    assert played.groups() == []
    assert slot_cgroup.in_use() is None


def test_bounds_begin_when_the_slot_is_ready(host: Host, played: Played) -> None:
    slot = host.start()
    slot.confine(200.0 * MIB, inf)
    assert played.groups() == [], "it still loads its code"
    host.until(lambda news: news.ready is not None)
    [group] = played.groups()
    assert (group / "cgroup.procs").read_text() == str(slot.pid)
    assert (group / "memory.max").read_text() == str(200 * MIB)
    slot.confine(inf, inf)
    assert (group / "memory.max").read_text() == "max"
    host.forget()
    host.ready()
    assert len(played.groups()) == 2, "where there are limits, the next ones are in groups from their beginning"


@pytest.mark.parametrize(
    ("events", "cause", "message"),
    [
        (
            "oom 1\noom_kill 3\n",
            "oom",
            "its process was killed by signal 9 (SIGKILL): it was out of memory; its limit is",
        ),
        ("oom 0\noom_kill 0\n", "crash", "its process was killed by signal 9 (SIGKILL)"),
    ],
)
def test_the_groups_figures_say_who_killed(host: Host, played: Played, events: str, cause: str, message: str) -> None:
    slot = host.ready()
    slot.confine(200.0 * MIB, inf)
    [group] = played.groups()
    (group / "memory.events").write_text(events)
    os.kill(slot.pid, signal.SIGKILL)
    exited = host.exited()
    assert exited["cause"] == cause
    assert exited["message"].startswith(message)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[Groups]:
    """The machine's own."""
    monkeypatch.setattr(slot_cgroup, "_own", None)
    groups = slot_cgroup.own()
    if groups is None:
        pytest.skip("no cgroups of version 2 are handed over to this process")
    yield groups
    spawner().settle(5.0)
    assert [folder.name for folder in groups.base.glob("workerhost-*")] == [], "nothing is left"


def test_the_kernel_ends_who_uses_too_much_memory(groups: Groups, host: Host) -> None:
    slot = host.ready()
    slot.confine(100.0 * MIB, inf)
    slot.feed([task("eats", {"mebibytes": 60})])
    assert values.unpack(host.results()[0][3]) == 60
    slot.feed([task("eats", {"mebibytes": 4000}, id=2)])
    exited = host.exited()
    assert exited["cause"] == "oom"
    assert exited["message"].endswith("out of memory; its limit is 100 MiB")
    assert exited["started"] == [[2, 7]]
    host.forget()
    neighbour = host.ready()
    neighbour.confine(inf, inf)
    neighbour.feed([task("eats", {"mebibytes": 150}, id=3)])
    assert host.results()[0][2] == Outcome.COMPLETED


def test_all_below_the_slot_ends_with_the_one_that_used_the_memory(groups: Groups, host: Host) -> None:
    slot = host.ready()
    slot.confine(100.0 * MIB, inf)
    slot.feed([task("feeds", {"mebibytes": 4000})])
    assert host.exited()["cause"] == "oom"


def test_processes_without_end_are_refused_and_that_is_told_before_the_result(
    groups: Groups, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_cgroup, "_THREADS", 20)  # a thousand take long on a small machine
    slot = host.ready()
    slot.confine(inf, 4.0)
    slot.measure(1, 7, inf)
    slot.feed([task("starts")])
    [result] = host.results()
    assert 50 < values.unpack(result[3]) < 20 + 5 * 16
    assert host.news.usage is not None
    assert host.news.usage["refused"] >= 1


def test_who_has_left_group_session_and_environment_is_killed_all_the_same(groups: Groups, host: Host) -> None:
    slot = host.ready()
    slot.confine(500.0 * MIB, inf)
    slot.feed([task("flees")])
    host.until(lambda news: bool(news.lines))
    fled = Death(int(host.news.lines[0][1]))
    slot.kill()
    host.exited()
    assert fled.wait()


def test_what_a_killed_host_left_is_ended_by_the_next(
    groups: Groups, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = groups.make(f"workerhost-{Path('/proc/self/ns/pid').stat().st_ino}-{gone.pid}-0123")
    assert left is not None
    process = subprocess.Popen(["/bin/sleep", "600"])
    left.add([process.pid])
    monkeypatch.setattr(slot_cgroup, "_own", None)
    slot: Any = host.ready()
    slot.confine(500.0 * MIB, inf)
    assert process.wait(10) == -signal.SIGKILL
    spawner().settle(5.0)
    assert not left.folder.exists()
