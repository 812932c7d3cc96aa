"""A process that may open no more files: the slots that it has no room for say so, and nothing else ends of it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from slot_host import SECONDS, Host, task
from up_pool import Up

from workerhost.actors import open_files, slot_process
from workerhost.actors.slot_spawner import spawner
from workerhost.workers import values
from workerhost.workers.processes import Family

TASKS = """
import resource
from workerhost import worker

print("loaded")

@worker("limit")
def limit(): return resource.getrlimit(resource.RLIMIT_NOFILE)
"""

POOL = """
import resource, sys
from waiting import until
from workerhost import WorkerHost

resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))

def main():
    workers, host = {"limit": {"class": "tasks:limit"}}, {"isolation": "process", "slots": 60}
    with WorkerHost({"workers": workers, "host": host}) as pool:
        print(pool.client.send("limit").result(60))
        # the first result may be there before the last slots have failed, and been reported
        print(*until(lambda: pool.client.hosts()[0]["start_failed"], "slots have failed").values())

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    one.close()


def descriptors() -> set[int]:
    """Those that are open, when no other thread opens any."""
    slot_process._sweep()  # pyright: ignore[reportPrivateUsage]
    spawner().settle(SECONDS)
    found: set[int] = set()
    for number in range(1024):
        with suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


@contextmanager
def limited(soft: int) -> Generator[None]:
    """This process may open files with numbers below this one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("room", [*range(10), 20])
def test_a_slot_that_there_is_no_room_for_says_so_and_leaves_nothing_open(host: Host, room: int) -> None:
    before = descriptors()
    free = [number for number in range(1024) if number not in before]
    with limited(free[room]):
        slot = host.start()
        exited = host.exited()
    assert (exited["cause"], slot.pid) == ("start_failed", 0)
    assert "Too many open files" in exited["message"]
    assert "ulimit -n" in exited["message"]
    assert descriptors() == before


def test_a_slot_whose_process_cannot_be_watched_ends_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before, children = descriptors(), Family().children(os.getpid())
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", refuse)
        slot = host.start()
        assert host.exited()["cause"] == "start_failed"
    assert slot.pid == 0
    assert descriptors() == before
    assert Family().children(os.getpid()) == children, "it is waited for, too"
    slot.feed([task("limit")])
    slot.kill()


def test_a_slots_process_keeps_the_limit_that_its_host_was_started_with(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(open_files, "_before", None)
    with limited(400):
        open_files.allow_all()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        slot = host.ready()
    slot.feed([task("limit")])
    assert values.unpack(host.results()[0][3]) == [400, hard]


def test_a_pool_with_more_slots_than_there_is_room_for_works_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "pool.py").write_text(POOL)
    shared = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run: Any = subprocess.run(
        [sys.executable, "pool.py"], cwd=tmp_path, env=shared, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "(150, 150)" in run.stdout or "[150, 150]" in run.stdout
    assert "Too many open files" in run.stdout


def test_up_has_as_many_slots_as_are_wanted_whatever_limit_it_was_started_with(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with limited(100):
        pool = Up(tmp_path, "host: {slots: 20}\n", "tasks.py", tasks=TASKS)
    try:
        assert pool.answer("send", "limit", "--wait")["result"] == [100, hard]
        [host] = pool.answer("hosts")["hosts"]
        assert host["start_failed"] == {}
    finally:
        pool.discard()
