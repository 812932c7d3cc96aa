"""When a slot's process is not as good as new any more, and what is put back instead."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from workerhost.workers import wear
from workerhost.workers.wear import Figures, Wear

MIB = 1024 * 1024
WARM = Figures(100 * MIB, 20, 3, 0)


class Process:
    """A process whose figures the test sets; every task is looked at."""

    def __init__(self) -> None:
        self.now = WARM
        self.wear = Wear(lambda: self.now)

    def after(self, limit: float = 0.0, **figures: int) -> str:
        self.now = self.now._replace(**figures)
        return self.wear.after(limit)

    def warm(self) -> Process:
        assert [self.after() for _ in range(wear.WARM_LOOKS)] == [""] * wear.WARM_LOOKS
        return self


@pytest.fixture(autouse=True)
def every_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wear, "LOOK_SECONDS", 0.0)
    handler, folder = signal.getsignal(signal.SIGTERM), Path.cwd()
    yield
    signal.signal(signal.SIGTERM, handler)
    os.chdir(folder)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"memory": 356 * MIB}, ""),
        ({"memory": 357 * MIB}, "its memory grew from 100 to 357 MiB"),
        ({"descriptors": 120}, ""),
        ({"descriptors": 121}, "it has 121 descriptors, and had 20 when it was warm"),
        ({"threads": 44}, "it has 44 threads, and had 3 when it was warm"),
        ({"dead": 101}, "it has 101 ended processes that nobody has waited for, and had 0 when it was warm"),
    ],
)
def test_what_has_grown_is_a_reason(figures: dict[str, int], reason: str) -> None:
    assert Process().warm().after(**figures) == reason


def test_a_large_process_may_grow_to_double() -> None:
    process = Process()
    process.now = WARM._replace(memory=1000 * MIB)
    process.warm()
    assert process.after(memory=2000 * MIB) == ""
    assert process.after(memory=2001 * MIB) == "its memory grew from 1000 to 2001 MiB"


def test_where_a_node_allows_little_a_little_growth_counts() -> None:
    process = Process().warm()
    assert process.after(200.0 * MIB, memory=150 * MIB) == ""
    assert process.after(200.0 * MIB, memory=151 * MIB) == "its memory grew from 100 to 151 MiB"


def test_what_workers_set_up_is_no_growth() -> None:
    process = Process().warm()
    process.wear.settle()
    assert process.after(memory=9000 * MIB, threads=90) == ""
    process.warm()
    assert process.after(memory=9100 * MIB) == ""


def test_the_folder_and_the_handler_of_sigterm_are_put_back(tmp_path: Path) -> None:
    process = Process().warm()
    folder, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
    os.chdir(tmp_path)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert process.after() == ""
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM)) == (folder, handler)


def test_a_folder_that_is_gone_cannot_be_put_back(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    process = Process().warm()
    os.chdir(tmp_path)
    gone.rmdir()
    assert process.after() == "its folder was changed, and cannot be changed back: No such file or directory"


def test_figures_of_this_process() -> None:
    now = wear.figures(7)
    assert now.memory > 10 * MIB
    assert now.descriptors >= 3
    assert now.threads >= 1
    assert now.dead == 7
