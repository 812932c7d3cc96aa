"""What tasks leave running behind them: what left the slot's group ends with the task, all of it with the slot."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slot_host import SECONDS, Death, Host, task

from workerhost.actors import slot_process
from workerhost.workers import values

TASKS = """
import os, signal, subprocess, sys, time
from pathlib import Path
from typing import Any
from workerhost import BaseWorker, worker

print("loaded")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
DAEMON = '''
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)
'''

def daemon(folder):
    file = Path(folder, "daemon")
    subprocess.run([sys.executable, "-c", DAEMON, file], check=True)
    while not file.exists() or not file.read_text(): time.sleep(0.005)
    return int(file.read_text())

@worker("daemon")
def leave_daemon(folder):
    print("before")
    pid = daemon(folder)
    print("after")
    return pid

@worker("stays")
def stay_with_daemon(folder):
    print(daemon(folder))
    time.sleep(600)

@worker("below")
def leave_below(folder):
    script = f"setsid '{SLEEPER[0]}' -c 'import time; time.sleep(600)' & echo $! > '{folder}/below'; wait"
    shell = subprocess.Popen(["/bin/sh", "-c", script])
    file = Path(folder, "below")
    while not file.exists() or not file.read_text(): time.sleep(0.005)
    pid = int(file.read_text())
    while os.getsid(pid) == os.getsid(0): time.sleep(0.005)
    return [shell.pid, pid]

@worker("helper")
def leave_helper(): return subprocess.Popen(SLEEPER).pid

class Server(BaseWorker):
    type = "server"
    def initialize(self):
        self.server = subprocess.Popen(SLEEPER, start_new_session=True)
    def execute(self, task):
        return [self.server.pid, self.server.poll()]

@worker("leak")
def leak(): kept.extend(open(os.devnull) for _ in range(60)); time.sleep(0.11)

kept = []

@worker("move")
def move(folder):
    os.chdir(folder)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.11)

@worker("here")
def here(): return [os.getcwd(), str(signal.getsignal(signal.SIGTERM))]

@worker("rings")
def ring():
    signal.setitimer(signal.ITIMER_REAL, 600)
    raise RuntimeError("before it was put off")

@worker("alarm")
def alarm(): return signal.getitimer(signal.ITIMER_REAL)

class Beats(BaseWorker):
    type = "beats"
    def initialize(self): signal.setitimer(signal.ITIMER_REAL, 600, 300)
    def execute(self, task): return alarm()

@worker("children")
def children():
    try: return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError: return None
"""


WORN_WHILE_TOLD = """
import fcntl, os, sys, termios
from workerhost import worker
from workerhost.workers import slots

print("loaded")
slots.FLUSH_SECONDS = 60.0  # so that a result waits until the next task proves to be slow

@worker("large")
def large(): return b"x" * 900_000

def is_socket(number):
    try: return os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    except OSError: return False

@worker("wears")
def wear(fifo):
    control = next(number for number in range(3, 256) if is_socket(number))
    while not any(fcntl.ioctl(control, termios.TIOCOUTQ, bytes(4))): pass
    sys.stdout.close()
    os.close(os.open(fifo, os.O_WRONLY))
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path, TASKS)
    yield one
    one.close()


def answer(host: Host, slot: Any, type: str, params: Any = None) -> Any:
    """The value of one task."""
    slot.feed([task(type, params)])
    [result] = host.results()
    host.forget()
    assert result[2] == 0, result
    return values.unpack(result[3])


def alive(pid: int) -> bool:
    """Whether it runs and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_left_its_session_is_gone_before_the_task_is_reported(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    pid = answer(host, slot, "daemon", str(tmp_path))
    assert not Path(f"/proc/{pid}").exists(), "dead, and waited for too"
    assert answer(host, slot, "children") is None
    assert alive(slot.pid)


def test_what_is_below_a_child_that_stayed_is_found_too(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    [_, below] = answer(host, slot, "below", str(tmp_path))
    assert not alive(below)


def test_what_stays_in_the_group_lives_until_the_slot_ends(host: Host) -> None:
    slot = host.ready()
    pid = answer(host, slot, "helper")
    assert isinstance(pid, int)
    assert answer(host, slot, "children") is False
    assert alive(pid)
    death = Death(pid)
    slot.close()
    host.exited()
    assert death.wait()


def test_what_a_worker_started_for_good_lives_on(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    [server, _] = answer(host, slot, "server")
    answer(host, slot, "daemon", str(tmp_path))
    assert answer(host, slot, "server") == [server, None]
    death = Death(server)
    slot.kill()
    host.exited()
    assert death.wait(), "it bears the slot's mark"


def test_what_left_its_session_dies_when_the_slot_is_killed(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    slot.feed([task("stays", str(tmp_path))])
    death = Death(int(host.until(lambda news: bool(news.lines)).lines[0][1]))
    slot.kill()
    assert death.wait()
    host.exited()


def test_what_a_killed_host_left_is_ended_by_the_next_one() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(SECONDS)
    prefix = slot_process._prefix()  # pyright: ignore[reportPrivateUsage]

    def start(host: int) -> subprocess.Popen[bytes]:
        environ = {**os.environ, slot_process.MARK: f"{prefix}{host}-x"}
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environ)

    with start(ended.pid) as orphan, start(os.getpid()) as child:
        slot_process._sweep.__wrapped__()  # pyright: ignore[reportPrivateUsage]
        assert orphan.wait(SECONDS) == -signal.SIGKILL
        slot_process.spawner().settle(SECONDS)
        assert child.poll() is None
        child.kill()


def test_a_process_that_leaks_says_so_once(host: Host) -> None:
    slot = host.ready()
    for id in range(1, 8):
        slot.feed([task("leak", id=id)])
        host.results(id)
    assert "descriptors, and had" in host.news.worn
    slot.close()
    assert host.exited()["cause"] == "stopped"


def test_that_a_process_is_worn_is_not_said_in_the_middle_of_a_result(host: Host, tmp_path: Path) -> None:
    host.code.write_text(WORN_WHILE_TOLD)
    slot = host.ready()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    slot.feed([task("large", id=1), task("wears", str(fifo), id=2)])
    poller = select.poll()
    poller.register(end, 0)
    assert poller.poll(SECONDS * 1000), "nobody has read the result, so it is still being told"
    os.close(end)
    assert [result[:3] for result in host.results(2)] == [[1, 7, 0], [2, 7, 0]]
    assert "stdout or stderr was closed" in host.news.worn


def test_the_folder_and_the_handler_of_sigterm_are_put_back(host: Host, tmp_path: Path) -> None:
    slot = host.ready()
    before = answer(host, slot, "here")
    answer(host, slot, "move", str(tmp_path))
    assert answer(host, slot, "here") == before


def test_the_alarm_that_a_task_leaves_behind_strikes_no_other_and_that_of_a_worker_stays(host: Host) -> None:
    slot = host.ready()
    slot.feed([task("rings")])
    assert host.results()[0][6]["error_type"] == "RuntimeError"
    host.forget()
    assert answer(host, slot, "alarm") == [0.0, 0.0]
    assert [answer(host, slot, type)[1] for type in ("beats", "beats", "alarm")] == [300.0] * 3
