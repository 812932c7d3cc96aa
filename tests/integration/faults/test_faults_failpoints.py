"""A supervisor that dies at one labelled point, once and twenty times, with clients that send all the while."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from fault_pool import FaultPool, Load, broken_at
from waiting import until

from workerhost.actors.stores.schema import APPLICATION_ID, SCHEMA_VERSION

pytestmark = pytest.mark.faults

TWENTY = [pytest.param(5, id=f"5, part {part} of 4", marks=pytest.mark.slow) for part in range(1, 5)]
"""Twenty deaths, in parts none of which takes longer than a test may on a machine that does other work."""
TABLES = Path(__file__).parents[2] / "unit" / "schema_1.sql"
"""The tables of version 1, as they were."""


def wait_for_all(pool: FaultPool) -> None:
    client = pool.client()
    waiting = ("queued", "running", "scheduled")
    until(lambda: not sum(client.status()["tasks"][state] for state in waiting), "all has ended", 60)


@pytest.mark.parametrize("times", [2, *TWENTY])
@pytest.mark.parametrize("point", ["before_commit", "after_commit", "between_sends", "before_grant"])
def test_deaths_at_a_failpoint_under_load_lose_and_double_nothing(pool: FaultPool, point: str, times: int) -> None:
    fail = pool.folder / "fail"
    pool.impatient()
    pool.start_supervisor(**broken_at(point, fail))
    pool.start_host("one", slots=1)
    over = threading.Event()
    loads = [Load(pool.client(60), over) for _ in range(2)]
    for _ in range(times):
        pool.await_trace(count=len(pool.traces()) + 1)
        fail.touch()
        assert pool.supervisor.ended() == -signal.SIGKILL
        fail.unlink()
        pool.start_supervisor(**broken_at(point, fail))
    acknowledged = [id for load in loads for id in load.finish()]
    wait_for_all(pool)
    assert set(pool.audit(acknowledged)) == {"completed"}


@pytest.mark.parametrize("times", [1, *TWENTY])
def test_a_death_within_a_checkpoint_loses_nothing(pool: FaultPool, times: int) -> None:
    """The kernel kills it at the n-th page that it writes into the database's file."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: nothing kills a process within a call of its own")
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    pool.start_supervisor()
    acknowledged: list[int] = []
    for _ in range(times):
        page = chance.randrange(1, 20)
        kill = (f"--attach={pool.supervisor.pid}", "-f", "-q", "-P", str(pool.database), "-e", "trace=pwrite64")
        tracer = pool.tracer(*kill, "-e", f"inject=pwrite64:signal=KILL:when={page}")
        client = pool.client(60)
        batch = client.send_many("quick", [{"padding": "x" * 500}] * 300)
        acknowledged += [id for ids in batch.ids() for id in ids]
        pool.supervisor.send(signal.SIGTERM)  # it brings the log into the file before it leaves
        assert pool.supervisor.ended() == -signal.SIGKILL, "it met the page"
        tracer.wait(10)
        pool.start_supervisor()
    pool.start_host("one")
    wait_for_all(pool)
    assert pool.audit(acknowledged) == {"completed": 300 * times}


@pytest.mark.parametrize("times", [1, *TWENTY])
def test_a_death_within_a_migration_leaves_the_old_tables_and_the_next_start_does_it(
    pool: FaultPool, times: int
) -> None:
    fail = pool.folder / "fail"
    header = f"pragma application_id = {APPLICATION_ID}; pragma user_version = 1;"
    rows = "insert into lane values (1, 'quick', '', ''); insert into tally values (1, 2, 9); insert into meta values"
    rows += " ('epoch', 7), ('last_id', 9), ('last_finish', 0), ('clean', 1); " + "".join(
        f"insert into task values ({id}, 1, 5, {id}, 2, 1, 0, 0, 0, 0, 0, 0, 1.5, null, 0, 0, null, null, x'c0',"
        " null, null, null, null, null);"
        for id in range(1, 10)
    )
    with closing(sqlite3.connect(pool.database, isolation_level=None)) as database:
        database.executescript(f"begin; {TABLES.read_text()} {header} {rows} commit;")
    fail.touch()
    for _ in range(times):
        arguments = ("supervisor", "-c", pool.configuration_file(), "--bind", pool.address)
        died = pool.program(*arguments, **broken_at("in_migration", fail))
        assert died.ended() == -signal.SIGKILL
        with closing(sqlite3.connect(pool.database)) as database:
            assert database.execute("pragma user_version").fetchone() == (1,)
            assert database.execute("select count(*) from sqlite_master where name = 'half_way'").fetchone() == (0,)
    fail.unlink()

    pool.start_supervisor(**broken_at("in_migration", fail))
    assert pool.supervisor.events("database_migrated")[0]["copy"] == f"{pool.database}.schema-1"
    pool.start_host("one")
    wait_for_all(pool)
    assert pool.audit(range(1, 10), executions_max=1) == {"completed": 9}
    with closing(sqlite3.connect(pool.database)) as database:
        assert database.execute("pragma user_version").fetchone() == (SCHEMA_VERSION,)


def test_an_error_of_fsync_ends_the_supervisor_with_74_and_nothing_is_acknowledged_after_it(pool: FaultPool) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: no disk fails when it is told to")
    pool.start_supervisor()
    client = pool.client(60)
    before = client.send("quick").id
    fail = (f"--attach={pool.supervisor.pid}", "-f", "-q", "-e", "trace=fdatasync,fsync")
    tracer = pool.tracer(*fail, "-e", "inject=fdatasync,fsync:error=EIO")
    late = client.send_soon("quick")
    assert pool.supervisor.ended() == 74
    tracer.wait(10)
    last = pool.supervisor.text().splitlines()[-1]
    assert last.startswith("workerhost: ")
    assert "disk I/O error" in last
    assert "workerhost restore FILE" in last
    with closing(sqlite3.connect(pool.database)) as database:
        stored = {id for (id,) in database.execute("select id from task")}
    assert before in stored

    pool.start_supervisor()  # the disk is as it should be again
    pool.start_host("one")
    assert late.result(30)["attempt"] == 1, "the client has sent it once more, and it is there once"
    assert client.task(before).wait(30), "it runs beside that, in the other slot"
    assert pool.audit({before, late.id}, executions_max=1) == {"completed": 2}


def test_every_failpoint_is_one_of_the_package_as_it_is() -> None:
    """A failpoint that is never reached would prove nothing: each is reached by a test above or beside this one."""
    from failpoints import sitecustomize

    used = "".join(file.read_text() for file in Path(__file__).parent.glob("test_faults_*.py"))
    assert [point for point in sitecustomize.BREAKS if f'"{point}"' not in used] == []
