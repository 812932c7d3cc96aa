"""What takes no pool down that `up` keeps: nobody to hear its words, no room to start a child, a host in trouble."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from up_pool import Up

from workerhost import Client

SECONDS = 30.0
TASKS = """\
import os
import time
from pathlib import Path

from workerhost import worker


@worker("slow")
def slow(folder: str) -> int:
    here = Path(folder, "here")
    here.write_text(str(os.getppid()))
    here.rename(Path(folder, "host"))
    while not Path(folder, "go").exists():
        time.sleep(0.02)  # sleeps: the task is a slow one
    Path(folder, "done").touch()
    return 7
"""
NO_ROOM = """\
import subprocess
import sys
from pathlib import Path
from workerhost.bin.main import main

popen, flag = subprocess.Popen, Path(sys.argv.pop(1))

def start(*arguments, **more):
    if flag.exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return popen(*arguments, **more)

subprocess.Popen = start
main()
"""


class Pool(Up):
    """A pool of two hosts that `up` keeps, each with one slot, and a task that runs on one of them until it may end."""

    def __init__(self, folder: Path, program: tuple[str, ...] = ("-m", "workerhost"), *, piped: bool = False) -> None:
        self.folder, self.log, work = folder, folder / "up.log", folder / "work"
        work.mkdir()
        (folder / "tasks.py").write_text(TASKS)
        (folder / "workerhost.yaml").write_text("queue: {database: tasks.db}\n")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WORKERHOST")}
        environ |= {"WORKERHOST_HOME": str(folder / "home"), "WORKERHOST__MONITORING__HTTP": "null"}
        command = [
            sys.executable,
            *program,
            "up",
            "-c",
            str(folder / "workerhost.yaml"),
            "--hosts",
            "2",
            "--slots",
            "1",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--address", "tcp://127.0.0.1:*", str(folder / "tasks.py")],
                cwd=work, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if piped else log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout
        line = next(line for line in self.said if line.endswith("--wait\n") or "--address" in line)
        self.address = line.split()[-1]

    def begin(self, client: Client) -> Any:
        """Send the task and wait until it runs."""
        handle = client.send("slow", {"folder": str(self.folder)})
        self.until((self.folder / "host").exists, "the task runs")
        return handle

    def let_go(self) -> None:
        """The task may end."""
        (self.folder / "go").touch()

    def hosts(self, client: Client) -> dict[int, str]:
        """The hosts' processes and their states."""
        return {host["pid"]: host["state"] for host in client.hosts()}

    def busy(self) -> int:
        """The process of the host that runs the task."""
        return int((self.folder / "host").read_text())

    def kill_idle(self, client: Client) -> int:
        """Kill the other one."""
        (idle,) = self.hosts(client).keys() - {self.busy()}
        os.kill(idle, signal.SIGKILL)
        return idle


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def start(*program: str, piped: bool = False) -> Pool:
        pools.append(Pool(tmp_path, *([program] if program else []), piped=piped))
        return pools[-1]

    yield start
    for pool in pools:
        pool.discard()


def test_it_drains_when_whoever_read_its_words_was_interrupted_as_well(pool: Callable[..., Pool]) -> None:
    up = pool(piped=True)
    with Client(up.address, timeout=SECONDS) as client:
        up.begin(client)
        up.said.close()  # `workerhost up 2>&1 | tee log`, and Ctrl-C
        up.process.send_signal(signal.SIGINT)

        up.until(lambda: up.process.poll() is not None or up.hosts(client).get(up.busy()) == "draining", "it drains")
        assert up.process.poll() is None
    up.let_go()
    assert up.process.wait(SECONDS) == 0
    assert (up.folder / "done").exists()


def test_a_host_that_there_is_no_room_for_harms_no_other(pool: Callable[..., Pool], tmp_path: Path) -> None:
    flag = tmp_path / "no room"
    up = pool("-c", NO_ROOM, str(flag))
    with Client(up.address, timeout=SECONDS) as client:
        handle = up.begin(client)
        flag.touch()
        killed = up.kill_idle(client)
        up.until_logged("cannot be started ([Errno 11] Resource temporarily unavailable); it is started again")
        flag.unlink()
        up.until(lambda: len(up.hosts(client).keys() - {killed}) == 2, "two hosts serve")
        assert up.busy() in up.hosts(client)
        up.let_go()
        assert handle.result(SECONDS) == 7
        assert client.show(handle.id)["attempt"] == 1
    assert up.process.poll() is None


def test_a_host_that_cannot_read_or_write_harms_no_other(pool: Callable[..., Pool]) -> None:
    up = pool()
    with Client(up.address, timeout=SECONDS) as client:
        handle = up.begin(client)
        shutil.rmtree(up.folder / "work")  # what a deployment does to the folder that all this was started in
        up.kill_idle(client)
        up.until_logged("ended with code 74; it is started again")
        assert up.process.poll() is None
        assert psutil.pid_exists(up.busy())
        up.let_go()
        assert handle.result(SECONDS) == 7
        assert client.show(handle.id)["attempt"] == 1
