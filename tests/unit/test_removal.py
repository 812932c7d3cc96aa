"""A folder goes with all that is in it, however deep; what lies beside it and behind links stays."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workerhost import BaseWorker, Task
from workerhost.transport.messages import Outcome
from workerhost.workers import values
from workerhost.workers.removal import remove
from workerhost.workers.runner import run

DEEP = 1100
"""Deeper than Python's stack, than a path may be long and than files may be open."""


def dig(folder: Path, depth: int = DEEP) -> None:
    """Folders in folders and a file below, as a program makes them that goes down and down."""
    number = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("inner", dir_fd=number)
        below = os.open("inner", os.O_RDONLY, dir_fd=number)
        os.close(number)
        number = below
    os.close(os.open("file", os.O_CREAT, dir_fd=number))
    os.close(number)


def test_a_folder_goes_however_deep_it_is_and_with_few_files_open(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    dig(folder)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 6, before[1]))
    try:
        remove(str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        left = list(tmp_path.iterdir())
        subprocess.run(["rm", "-rf", str(folder)], check=True)  # pytest itself could not
    assert left == []


def test_all_kinds_of_things_go_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (kept / "inner" / "file").write_text("kept")
    folder = tmp_path / "folder"
    for inner in ("a/b/c", "a/d", "e"):
        (folder / inner).mkdir(parents=True)
        (folder / inner / "file").write_text("x")
        (folder / inner / "link").symlink_to(kept)
    os.mkfifo(folder / "a" / "pipe")
    (folder / "a" / "b" / "no target").symlink_to("nowhere")
    (folder / "e" / os.fsdecode(b"\xff")).mkdir()
    remove(str(folder))
    assert list(tmp_path.iterdir()) == [kept]
    assert (kept / "inner" / "file").read_text() == "kept"


def test_a_link_to_a_folder_and_one_that_is_not_there_are_left_alone(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.mkdir()
    (kept / "file").touch()
    link.symlink_to(kept)
    remove(str(link))
    remove(str(tmp_path / "nothing"))
    assert (link.is_symlink(), (kept / "file").exists()) == (True, True)


def test_where_nothing_may_be_moved_all_goes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "folder").mkdir()
    dig(tmp_path / "folder", 100)
    monkeypatch.setattr(os, "rename", refuse)
    remove(str(tmp_path / "folder"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["open", "rmdir"])
def test_a_link_that_takes_the_place_of_a_folder_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    (kept / "y").mkdir(parents=True)
    if step == "open":
        (kept / "y" / "file").touch()
    (folder / "x" / "y").mkdir(parents=True)

    def swap() -> None:
        """Something that still runs there, as soon as x/y was seen, or emptied."""
        if not (folder / "x").is_symlink():
            rename(folder / "x", tmp_path / "aside")
            (folder / "x").symlink_to(kept)

    def refuse(*args: Any, **kwargs: Any) -> None:
        if step == "open":
            swap()
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def swap_and_remove(*args: Any, **kwargs: Any) -> None:
        swap()
        rmdir(*args, **kwargs)

    rename, rmdir = os.rename, os.rmdir
    monkeypatch.setattr(os, "rename", refuse)
    if step == "rmdir":
        monkeypatch.setattr(os, "rmdir", swap_and_remove)
    remove(str(folder))
    assert sorted(path.name for path in kept.rglob("*")) == (["file", "y"] if step == "open" else ["y"])


def test_a_task_that_leaves_a_deep_folder_has_succeeded() -> None:
    class Deep(BaseWorker):
        type = "deep"

        def execute(self, task: Task) -> str:
            dig(self.workdir)
            return str(self.workdir)

    task = Task(
        id=1, type="deep", params=None, priority=5, attempt=1, failures=0, deadline=None, key=None, tags=(),
        sent_at=datetime.now(UTC), fence=1, checkpoint=None,
    )  # fmt: skip
    end = run(Deep, task)
    assert end.outcome == Outcome.COMPLETED
    assert not Path(values.unpack(end.body)).exists()
