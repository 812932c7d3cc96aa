"""Two hundred histories of mixed weather, and that a history can be seen again."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.core.pool import Pool
from workerhost.actors.core.queue import Queue
from workerhost.actors.simulation.ingredients import INGREDIENTS
from workerhost.actors.simulation.misfortune import FAULTS
from workerhost.actors.simulation.scenario import Scenario
from workerhost.bin import simulation

SEEDS = 200
STEPS = 2000
PART = 25
"""Seeds of one process; two run side by side. A part ends well before a test counts as hanging, on a busy machine too.
"""

DIGEST = """
import sys
from test_seeds import digest
print(digest(int(sys.argv[1])))
"""


def digest(seed: int) -> str:
    """Of everything that is told in a history."""
    told = hashlib.sha256()
    with Scenario.drawn(seed, 800).world() as world:
        tell = world.timeline.tell

        def also(who: str, what: Any) -> None:
            told.update(f"{world.timeline.now:.6f} {who} {what}\n".encode())
            tell(who, what)

        world.timeline.tell = also
        world.run(800).rest()
    return told.hexdigest()


@pytest.fixture(params=range(1, SEEDS + 1, 2 * PART))
def simulations(request: pytest.FixtureRequest) -> Iterator[list[subprocess.Popen[str]]]:
    """Each says what it plays before it does, so that also one that never ends has a name."""
    spans = [f"{first}-{first + PART - 1}" for first in (request.param, request.param + PART)]
    program = [sys.executable, "-m", "workerhost.bin.simulation", "--steps", str(STEPS)]
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen([*program, "--seeds", span], **output) for span in spans]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_two_hundred_seeds_of_mixed_weather(simulations: list[subprocess.Popen[str]]):
    deadline = time.monotonic() + 170
    for process in simulations:
        try:
            said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate(timeout=10)
        assert process.returncode == 0, said


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_is_a_history(seed: int, monkeypatch: pytest.MonkeyPatch):
    """In another process, whose sets of texts have another order, everything happens at the same time."""
    monkeypatch.setenv("PYTHONHASHSEED", "1234")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    command = [sys.executable, "-c", DIGEST, str(seed)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == digest(seed)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone(fault: str, capsys: pytest.CaptureFixture[str]):
    rate = 0.02 if fault in ("drop", "duplicate", "reorder", "clock_skew") else 0.3
    ended = simulation.main(["--seed", "7", "--steps", "3000", "--fault", f"{fault}={rate}"])
    said = capsys.readouterr().out
    assert ended == 0, said
    assert re.search(rf"happened: [1-9]\d* {fault}\n", said) or fault == "clock_skew", "which counts nothing"


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_each_ingredient_alone(ingredient: str, capsys: pytest.CaptureFixture[str]):
    assert simulation.main(["--seeds", "11-12", "--hosts", "3", "--with", ingredient]) == 0, capsys.readouterr().out


def test_a_failure_shows_the_events_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    back = Queue.back

    def forgetful(self: Queue, step: Any, row: Any, was: int) -> None:
        back(self, step, row, was)
        state, place, due, relative, attempt, _failures, *more = step.persist.returns[-1]
        step.persist.returns[-1] = (state, place, due, relative, attempt, 0, *more)

    monkeypatch.setattr(Queue, "back", forgetful)
    assert simulation.main(["--seeds", "3-9", "--fault", "crash_host=0.2", "--hosts", "2"]) == 1
    said = capsys.readouterr().out
    assert "Violation: task" in said
    assert "host-0 -> supervisor" in said
    command = said.splitlines()[-1].removeprefix("again: bin/simulate ")
    assert "--fault crash_host=0.2" in command
    assert simulation.main(command.split()) == 1
    assert capsys.readouterr().out == said


def test_a_world_that_fails_as_it_begins_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(self: Pool, now: float, wall: float) -> Any:
        raise LookupError("no beginning")

    monkeypatch.setattr(Pool, "start", broken)
    assert simulation.main(["--seeds", "3-4"]) == 1
    said = capsys.readouterr()
    assert said.out.endswith("\nLookupError: no beginning\nagain: bin/simulate --seed 3 --steps 3000\n")
    assert said.err.startswith("seed 3: 1 of 2")


@pytest.mark.parametrize(
    "mistake", [["--fault", "rain=1"], ["--fault", "drop=much"], ["--seeds", "x"], ["--seeds", "9-3"]]
)
def test_a_mistake_is_told(mistake: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit:
        simulation.main(mistake)
    assert exit.value.code == 2
    assert "bin/simulate: error: " in capsys.readouterr().err
