"""Who descends from whom: by the kernel's lists of children, and without them by looking through all processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from workerhost.workers import processes
from workerhost.workers.processes import Family, end_marked, is_starting, process


class Proc:
    """A /proc of our own: 1 has the children 2 and 3, and 3 has 4."""

    def __init__(self, folder: Path, *, lists: bool) -> None:
        self.folder = folder
        for pid, parent, children in ((1, 0, "2 3"), (2, 1, ""), (3, 1, "4"), (4, 3, "")):
            (folder / f"{pid}/task/{pid}").mkdir(parents=True)
            fields = ["S", parent, pid, pid, *[0] * 7, 1, 2, 3, 4, *[0] * 4, 100 + pid, 0, 5]
            (folder / f"{pid}/stat").write_text(f"{pid} (a ) b) {' '.join(map(str, fields))} 0 0\n")
            if lists:
                (folder / f"{pid}/task/{pid}/children").write_text(children)


@pytest.mark.parametrize("lists", [True, False])
def test_descendants_are_found_with_and_without_lists_of_children(tmp_path: Path, lists: bool) -> None:
    Proc(tmp_path, lists=lists)
    assert sorted(one.pid for one in Family(str(tmp_path)).below(1)) == [2, 3, 4]
    assert [one.pid for one in Family(str(tmp_path)).below(1, {(3, 103)})] == [2], "nor what is below it"
    assert sorted(one.pid for one in Family(str(tmp_path)).below(1, {(3, 99)})) == [2, 3, 4], "a later one of that id"
    assert list(Family(str(tmp_path)).below(5)) == []


def test_what_is_told_of_a_process(tmp_path: Path) -> None:
    Proc(tmp_path, lists=True)
    four = process(4, str(tmp_path))
    assert four is not None
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert four == (4, "S", 3, 4, 10 / ticks, 104, 5 * page)
    assert process(5, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("state", "flags", "environment_ends", "expected"),
    [("R", 0x400000, 0, True), ("S", 0x400000, 4096, False), ("S", 0x200040, 0, False), ("Z", 0x400000, 0, False)],
)
def test_a_process_without_an_environment_may_be_about_to_get_one(
    tmp_path: Path, state: str, flags: int, environment_ends: int, expected: bool
) -> None:
    fields = [state, 1, 5, 5, 0, -1, flags, *[0] * 38, 4096, 4096, 4096, environment_ends, 0]
    (tmp_path / "5").mkdir()
    (tmp_path / "5/stat").write_text(f"5 (a) {' '.join(map(str, fields))}\n")
    assert is_starting(5, str(tmp_path)) is expected
    assert is_starting(6, str(tmp_path)) is False
    assert is_starting(os.getpid()) is False


def test_one_that_gets_its_environment_between_two_looks_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "5"
    folder.mkdir()
    (folder / "environ").touch()
    fields = ["S", 1, 5, 5, *[0] * 41, 4096, 4096, 4096, 4096, 4096, 0]
    (folder / "stat").write_text(f"5 (a) {' '.join(map(str, fields))}\n")
    killed: list[tuple[int, int]] = []

    def look(path: str, mode: str) -> Any:
        if path.endswith("stat"):
            (folder / "environ").write_bytes(b"A=1\0MARK=mine\0")
        return open(path, mode)  # noqa: PTH123 -- as it is called

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        rmtree(folder)

    monkeypatch.setattr(processes, "_PROC", str(tmp_path))
    monkeypatch.setattr(processes, "open", look, raising=False)
    monkeypatch.setattr(os, "kill", kill)
    end_marked("MARK", {b"mine"})
    assert killed == [(5, signal.SIGKILL)]
