"""An embedded pool whose supervisor has failed: nobody waits for it, and whoever does is told why."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from workerhost import PoolUnreachable, WorkerHost, worker
from workerhost.actors.supervisor import SupervisorActor

SECONDS = 10.0
"""Longer than anything here takes, and less than a client's patience with a pool that is away."""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Breaks the open database, so that the next turn which writes a task fails."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(path: Any, **options: Any) -> sqlite3.Connection:
        made.append(connection := connect(path, **options))
        return connection

    monkeypatch.setattr(sqlite3, "connect", noted)
    return lambda: made[-1].execute("alter table task rename to gone") and None


def mended(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("alter table gone rename to task")


class Gate:
    """A task that waits until it may end."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def worker(self) -> Any:
        @worker("gate")
        def gate() -> str:
            self.entered.set()
            assert self.opened.wait(SECONDS)
            return "through"

        return gate


@pytest.fixture
def gate() -> Gate:
    return Gate()


def ended(program: Callable[[], object]) -> BaseException | None:
    """How a program ends, which must not take longer than anything here takes."""
    ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            program()
        except BaseException as error:
            ends.put(error)
        else:
            ends.put(None)

    threading.Thread(target=run, daemon=True).start()
    return ends.get(timeout=SECONDS)


def test_leaving_while_a_result_is_owed_says_why_nobody_takes_it_and_the_next_pool_goes_on(
    tmp_path: Path, gate: Gate, broken: Callable[[], None]
) -> None:
    file = tmp_path / "tasks.db"
    sent: list[int] = []

    def program() -> None:
        with WorkerHost(workers=[gate.worker()], database=file) as pool:
            sent.append(pool.client.send("gate").id)
            assert gate.entered.wait(SECONDS)
            broken()
            gate.opened.set()

    error = ended(program)
    assert isinstance(error, PoolUnreachable)
    assert "no such table" in str(error)
    assert f"what was accepted is in {file}" in str(error)

    mended(file)
    with WorkerHost(workers=[gate.worker()], database=file) as pool:
        assert pool.client.task(sent[0]).result(SECONDS) == "through"


def test_whoever_waits_for_a_result_is_told_at_once_and_what_runs_holds_nobody_up(
    tmp_path: Path, gate: Gate, broken: Callable[[], None]
) -> None:
    def program() -> None:
        with WorkerHost(workers=[gate.worker()], database=tmp_path / "tasks.db") as pool:
            handle = pool.client.send("gate")
            assert gate.entered.wait(SECONDS)
            broken()
            pool.client.send_soon("gate")
            with pytest.raises(PoolUnreachable, match="supervisor of this pool has failed"):
                handle.result()
            with pytest.raises(PoolUnreachable, match="supervisor of this pool has failed"):
                pool.client.status()
            gate.opened.set()

    error = ended(program)
    assert isinstance(error, PoolUnreachable)
    assert "no such table" in str(error)


def test_in_memory_too_and_an_error_of_the_block_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no memory left")

    def program(*, wrong: bool) -> None:
        with monkeypatch.context() as short, WorkerHost() as pool:
            short.setattr(SupervisorActor, "_turn", fail)
            with pytest.raises(PoolUnreachable, match=r"MemoryError: no memory left.*in memory and is lost"):
                pool.client.send("nobody")
            if wrong:
                raise KeyError("mine")

    def program_that_fails_first() -> None:
        with monkeypatch.context() as short, WorkerHost() as pool:
            pool.client.send("nobody")
            short.setattr(SupervisorActor, "_turn", fail)
            raise KeyError("mine")

    assert isinstance(ended(program_that_fails_first), KeyError), "leaving is what meets the failure"
    assert isinstance(ended(lambda: program(wrong=False)), PoolUnreachable)
    assert isinstance(ended(lambda: program(wrong=True)), KeyError)
