"""What is started again, how soon, how often, and that whoever keeps it gives up where that does not help."""

from __future__ import annotations

import queue
import sys
from typing import Any

import pytest

from workerhost.actors.core.restarts import LEVEL, ChildSpec, Restart, Restarts
from workerhost.bin import up
from workerhost.bin.keeper import Child, Exited
from workerhost.bin.up import Plan, Up

WAIT_SECONDS = 20.0
NEVER_WELL = [sys.executable, "-c", "raise SystemExit(70)"]


class TestRestarts:
    def test_the_first_is_at_once_and_then_it_waits_longer_and_longer(self):
        restarts = Restarts()
        assert [restarts.died(0.0) for _ in range(11)] == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]

    def test_a_minute_in_health_starts_afresh_and_the_wait_is_no_health(self):
        restarts = Restarts()
        assert [restarts.died(now) for now in (0.0, 1.0, 61.0, 121.5)] == [0, 0.2, 0.4, 0]

    def test_five_restarts_of_a_level_are_enough(self):
        restarts = Restarts(LEVEL)
        counts: list[bool] = []
        for _ in range(6):
            restarts.died(0.0)
            counts.append(restarts.too_many())
        assert counts == [False, False, False, False, False, True]

    @pytest.mark.parametrize(
        ("restart", "died", "ended_well"),
        [(Restart.PERMANENT, 0.0, 0.0), (Restart.TRANSIENT, 0.0, None), (Restart.TEMPORARY, None, None)],
    )
    def test_what_is_started_again(self, restart: Restart, died: float | None, ended_well: float | None):
        assert Restarts(ChildSpec(restart)).ended(0.0, well=False) == died
        assert Restarts(ChildSpec(restart)).ended(0.0, well=True) == ended_well


def test_a_child_process_that_dies_too_often_is_not_due_again():
    ends: queue.SimpleQueue[Exited] = queue.SimpleQueue()
    child = Child("sick", ChildSpec(Restart.PERMANENT, deaths_max=2), NEVER_WELL, ends.put)
    due: list[float | None] = []
    for now in (0.0, 1.0, 2.0):
        child.start()
        assert ends.get(timeout=WAIT_SECONDS).code == 70
        child.ended(now, well=False)
        due.append(child.due)
    assert due == [0.0, 1.2, None]
    assert child.restarts.too_many()


class Sick(Up):
    """A pool whose supervisor never lives."""

    def _command(self, verb: str, *arguments: str) -> list[str]:
        return NEVER_WELL

    def _tell_when_ready(self) -> None:
        """It never is."""


@pytest.mark.usefixtures("signals_as_before")
def test_up_ends_with_70_when_starting_again_does_not_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]
):
    monkeypatch.setattr(up, "SUPERVISOR", ChildSpec(Restart.PERMANENT, shutdown_seconds=1.0, deaths_max=2))
    plan = Plan(
        "tcp://127.0.0.1:1", ("--bind", "tcp://127.0.0.1:1"), None, 1, None, (), (), drain_timeout=0.1, local=False
    )
    assert Sick(plan).run() == 70
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "workerhost: supervisor ended with code 70; it is started again",
        "workerhost: supervisor ended with code 70; it is started again",
        "workerhost: supervisor ended with code 70, 3 times in a row: starting it again does not help",
    ]


@pytest.fixture
def signals_as_before():
    import signal

    from workerhost.bin.signals import ENDING

    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
