"""A supervisor that is killed at any moment, fails within a turn, or must not start."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fault_pool import TASKS, FaultPool, Load, Program, broken_at, clock, free_address
from raw_peer import RawPeer
from waiting import until

from workerhost import WorkerHostError
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.transport.messages import Accepted, Submit
from workerhost.workers.values import pack

pytestmark = pytest.mark.faults

BUSY = 2.0
"""How much longer than promised a start may take here, on a machine that runs other tests beside."""


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 10))])
def test_a_supervisor_killed_at_random_under_load_loses_and_doubles_nothing(pool: FaultPool, part: int) -> None:
    """Ten parts of twenty kills: two hundred in all, none of them for longer than a test may take."""
    kills = 20
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"part {part}, seed {seed}")
    chance = random.Random(seed)
    pool.configure(queue={"durability": "full"})
    pool.start("one", "two")
    over = threading.Event()
    loads = [Load(pool.client(60), over) for _ in range(4)]
    took: list[tuple[float, float]] = []
    for _ in range(kills):
        pool.await_trace(count=len(pool.traces()) + 1)
        time.sleep(chance.uniform(0, 0.15))  # sleeps: the kill comes at any moment
        pool.supervisor.kill()
        began = clock()
        pool.start_supervisor()
        epoch = pool.supervisor.events("supervisor_started")[0]["epoch"]
        first = until(lambda e=epoch: [t for t in pool.traces() if t["fence"] >> 40 == e], "it grants again")[0]
        took.append((first["at"] - began, stretched(pool.supervisor.pid)))
    acknowledged = [id for load in loads for id in load.finish()]

    client = pool.client()
    until(lambda: not sum(client.status()["tasks"][state] for state in ("queued", "running", "scheduled")), "all ended")
    assert set(pool.audit(acknowledged)) == {"completed"}
    executions = len(pool.traces())
    print(f"{kills} kills, {len(acknowledged)} tasks, {executions} executions")
    print("from a start to its first grant:", ", ".join(f"{wall:.2f} s (x{factor:.1f})" for wall, factor in took))
    for seconds, factor in took:
        assert seconds < 2.0 * factor


def stretched(pid: int) -> float:
    """How many times as long a process took as it had taken with a processor to itself.

    The kernel counts how long its main thread computed, and how long it could have and others did. So two seconds mean
    two seconds on a machine that does nothing else, and as much of the machine's time on one that is busy.
    """
    computed, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    return (computed + waited) / computed


@pytest.mark.slow
def test_a_supervisor_with_a_million_queued_tasks_grants_as_soon_after_a_kill(pool: FaultPool) -> None:
    pool.start("one")
    client = pool.client(60)
    first = client.send("gated", {"gate": "go"})
    pool.await_trace()
    for _ in range(5):
        client.send_many("quick", [None] * 199_000, full="wait")
    client.pause("quick")
    pool.supervisor.kill()
    began = clock()
    pool.start_supervisor()
    pool.open("go")
    assert first.result(20)["attempt"] == 1
    urgent = client.send("patient", {"seconds": 0}, priority=9)
    urgent.result(20)
    seconds = clock() - began
    queued = client.status()["tasks"]["queued"]
    print(f"{queued} queued, {seconds:.2f} s from the start to the end of a task")
    assert queued > 900_000
    assert seconds < 2.0 * BUSY


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "between_sends", "in_turn", "exit_in_turn"])
def test_a_supervisor_that_ends_at_a_failpoint_goes_on_where_its_store_is(pool: FaultPool, point: str) -> None:
    pool.impatient()
    pool.start_supervisor(**broken_at(point, pool.folder / "fail"))
    pool.start_host("one")
    client = pool.client(60)
    client.send("quick").result(20)
    peer = RawPeer(pool)
    peer.hello("twice", role="client")
    submit = Submit(1, 1, [["quick", 5, None, [pack(None)] * 3]])
    pool.open("fail")
    peer.say(submit)
    code = pool.supervisor.ended()
    assert code == (70 if "in_turn" in point else -signal.SIGKILL)
    if code == 70:
        assert pool.supervisor.events("supervisor_failed")
    (pool.folder / "fail").unlink()

    pool.start_supervisor()
    assert peer.hello("twice", role="client")
    peer.say(submit)
    first = peer.receive(Accepted)
    peer.say(submit)
    assert peer.receive(Accepted) == first, "the same submission, the same ids"
    assert (first.count, first.first) == (3, 2)
    ids = [1, *range(first.first, first.first + 3)]
    until(lambda: all(client.show(id)["state"] == "completed" for id in ids), "all are completed")
    assert pool.audit(ids) == {"completed": 4}


def test_up_starts_a_supervisor_again_that_failed_within_a_turn(pool: FaultPool) -> None:
    fail = pool.folder / "fail"
    arguments = ("up", str(TASKS), "--slots", "1", "--address", pool.address)
    up = pool.program(*arguments, **broken_at("in_turn", fail))
    until(lambda: "the pool is up" in up.text(), "the pool is up")
    client = pool.client()
    held = client.send("gated", {"gate": "go"})
    pool.await_trace()

    fail.touch()
    until(lambda: "supervisor ended with code 70; it is started again" in up.text(), "it is started again")
    fail.unlink()
    pool.open("go")
    assert held.result(20)["attempt"] == 1, "a supervisor that is away kills nothing"
    up.send(signal.SIGTERM)
    assert up.ended() == 0


def test_a_supervisor_away_for_longer_than_a_lease_has_killed_nothing(pool: FaultPool) -> None:
    pool.impatient()
    pool.start("one")
    client = pool.client()
    handles = [client.send("gated", {"gate": "go"}), client.send("gated", {"gate": "never"})]
    pool.await_trace(count=2)
    pool.supervisor.kill()
    ticks = len(pool.traces("tick", id=handles[1].id))
    pool.open("go")
    pool.await_trace("tick", id=handles[1].id, count=ticks + 20)  # two seconds: twice `lost_after`

    pool.start_supervisor()
    assert handles[0].result(20)["attempt"] == 1, "what ended meanwhile was kept"
    pool.open("never")
    assert handles[1].result(20)["attempt"] == 1
    assert pool.audit([handle.id for handle in handles], executions_max=1) == {"completed": 2}


def test_a_second_supervisor_on_the_same_database_is_refused_in_one_line_and_the_first_goes_on(pool: FaultPool) -> None:
    pool.start("one")
    # What it takes is computing alone: so much on a machine that does nothing else, however long on one that does.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    second = pool.program("supervisor", "--bind", free_address(), "--database", str(pool.database))
    assert second.ended() == 78
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert_one_line(second, "tasks.db", f"(process {pool.supervisor.pid})")
    assert pool.client().send("quick").result(10)["attempt"] == 1


def assert_one_line(program: Program, *expected: str) -> None:
    (line,) = program.text().splitlines()
    assert line.startswith("workerhost: ")
    assert all(text in line for text in expected), line


def test_a_database_that_cannot_be_is_refused_with_its_path(pool: FaultPool) -> None:
    no_database, folder, nowhere = pool.folder / "letter.db", pool.folder / "folder.db", pool.folder / "no" / "tasks.db"
    no_database.write_text("Dear database, " * 1000)
    folder.mkdir()
    for path in (no_database, folder, nowhere):
        refused = pool.program("supervisor", "--bind", free_address(), "--database", str(path))
        assert refused.ended() == 78, path
        assert_one_line(refused, str(path))
    assert no_database.read_text().startswith("Dear database"), "it was left as it was"


def test_a_read_only_folder_is_refused_with_its_path(pool: FaultPool) -> None:
    sealed = pool.folder / "sealed"
    sealed.mkdir(mode=0o500)
    arguments = [sys.executable, "-m", "workerhost", "supervisor", "--bind", free_address()]
    arguments += ["--database", str(sealed / "tasks.db")]
    if os.geteuid() == 0:  # root writes where it likes, but not on a file system that is mounted read-only
        script = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
        arguments = ["unshare", "--mount", "sh", "-c", script, str(sealed), *arguments]
    done = subprocess.run(arguments, cwd=pool.folder, capture_output=True, text=True, timeout=20, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout) == (78, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("workerhost: ")
    assert str(sealed) in line


@pytest.mark.parametrize("what", ["a file of somebody else", "a file that may not be written", "a folder of others"])
def test_what_may_not_be_used_is_refused_with_its_path(pool: FaultPool, what: str) -> None:
    folder = pool.folder / "theirs"
    folder.mkdir()
    database = folder / "tasks.db"
    before: list[str] = []
    if os.geteuid() == 0:  # root that obeys the rights of files like anybody else
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is missing: root may do everything")
        before = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
    if what == "a folder of others":
        folder.chmod(0o500)
    else:
        store = SqliteStore(database)
        store.open()
        store.close()
        database.chmod(0o400 if what == "a file that may not be written" else 0o000)
    arguments = ("supervisor", "--bind", free_address(), "--database", str(database))
    refused = pool.program(*arguments, before=before)
    assert refused.ended() == 78
    assert_one_line(refused, str(database))
    folder.chmod(0o700)


def test_a_supervisor_never_imports_task_code(pool: FaultPool) -> None:
    code = "import os\nfrom workerhost import BaseWorker\nopen('imported', 'a').write(f'{os.getpid()}\\n')\n"
    code += "class Mine(BaseWorker):\n    type = 'mine'\n    def execute(self, task):\n        return os.getpid()\n"
    (pool.folder / "mine.py").write_text(code)
    pool.configure(workers={"mine": {"class": "mine:Mine"}})
    pool.start("one", slots=1)
    ran_in: int = pool.client().send("mine").result(10)

    imported = {int(line) for line in (pool.folder / "imported").read_text().splitlines()}
    assert imported == {ran_in}, "only the slot imports it: neither the supervisor nor the host"


def test_a_client_without_a_pool_is_told_in_time(pool: FaultPool) -> None:
    client = pool.client(0.5)
    began = clock()
    with pytest.raises(WorkerHostError, match="refused"):
        client.send("quick")
    assert clock() - began < 0.5 + BUSY
