"""Groups of processes on a folder that plays the cgroup file system; a real one is in the integration tests."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

import pytest

from workerhost.actors import slot_cgroup
from workerhost.actors.slot_cgroup import LEAF, Group, Groups, find

USER = 4711
"""Somebody whom nothing here belongs to."""


class System:
    """A machine whose cgroup file system is a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.top = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        self.top.mkdir()
        self.stands_in("/")

    def stands_in(self, own: str, shown: str = "/") -> None:
        """Where the process is, and which part of the tree is seen at its mount point."""
        (self.proc / "cgroup").write_text(f"5:pids:/elsewhere\n0::{own}\n")
        lines = [
            "22 28 0:20 / /proc rw,nosuid - proc proc rw",
            "31 28 0:27 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids",
            f"30 23 0:26 {shown} {self.top} rw,nosuid shared:4 - cgroup2 cgroup2 rw",
        ]
        (self.proc / "mountinfo").write_text("\n".join(lines))

    def group(self, path: str, controllers: str = "cpu memory pids", enabled: str = "") -> Path:
        folder = self.top / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers + "\n")
        (folder / "cgroup.subtree_control").write_text(enabled + "\n")
        (folder / "cgroup.procs").write_text("")
        return folder

    def find(self, user: int = USER) -> Path | None:
        groups = find(self.proc, user)
        return None if groups is None else groups.base


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_the_top_of_what_a_container_sees_is_its_own(system: System) -> None:
    top = system.group("")
    assert system.find() == top
    assert (top / "cgroup.subtree_control").read_text().split() == ["+memory", "+pids"]


def test_who_was_moved_into_the_leaf_finds_the_same_place(system: System) -> None:
    top = system.group("")
    system.group(LEAF)
    system.stands_in(f"/{LEAF}")
    assert system.find() == top


def test_a_unit_that_systemd_has_handed_over(system: System) -> None:
    unit = system.group("system.slice/pool.service")
    system.stands_in("/system.slice/pool.service")
    assert system.find() is None, "that it can be written to does not make it ours"
    try:
        os.setxattr(unit, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"the file system of the temporary folder keeps no attributes: {error}")
    assert system.find() == unit
    system.group("system.slice/pool.service/payload")
    system.stands_in("/system.slice/pool.service/payload")
    assert system.find() == unit, "systemd has put the process into a group of its own (DelegateSubgroup)"
    system.group("system.slice/pool.service/app/terminal.scope")
    system.stands_in("/system.slice/pool.service/app/terminal.scope")
    assert system.find() is None, "somebody between has it by now"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_tree_that_belongs_to_the_user(system: System) -> None:
    unit = system.group("system.slice/pool.service")
    system.stands_in("/system.slice/pool.service")
    os.chown(unit, USER, USER)
    assert system.find(user=0) is None
    assert system.find() == unit
    os.chown(unit.parent, USER, USER)
    assert system.find() is None, "what stands above is the user's too: it belongs to their session, not to this unit"


def test_only_part_of_the_tree_is_mounted(system: System) -> None:
    top = system.group("")
    system.stands_in("/docker/4fe1", shown="/docker/4fe1")
    assert system.find() == top
    system.stands_in("/elsewhere", shown="/docker/4fe1")
    assert system.find() is None


def test_nowhere(system: System) -> None:
    assert system.find() is None, "a mount without controllers"
    system.group("", controllers="cpu hugetlb")
    assert system.find() is None, "they are in use elsewhere, as on machines with version 1"
    system.group("")
    system.stands_in("/gone")
    assert system.find() is None
    system.stands_in(f"/{LEAF}-1-2-3")
    assert system.find() is None, "inside of a slot"
    (system.proc / "mountinfo").write_text("22 28 0:20 / /proc rw,nosuid - proc proc rw\n")
    assert system.find() is None
    (system.proc / "cgroup").unlink()
    assert system.find() is None, "no such system"


def test_what_is_enabled_already_is_left_as_it_is(system: System) -> None:
    top = system.group("", controllers="pids", enabled="cpu pids")
    assert system.find() == top
    assert (top / "cgroup.subtree_control").read_text() == "cpu pids\n"


def read(group: Group, *names: str) -> list[str]:
    return [(group.folder / name).read_text() for name in names]


def test_bounds_of_a_group(tmp_path: Path) -> None:
    group = Groups(tmp_path).make("one")
    assert group is not None
    assert read(group, "memory.swap.max", "memory.oom.group") == ["0", "1"]
    group.add([17])
    group.bound(200.0 * 2**20, 20.0)
    assert read(group, "cgroup.procs", "memory.max", "pids.max") == ["17", "209715200", "1360"]
    group.bound(inf, inf)
    assert read(group, "memory.max", "pids.max") == ["max", "max"]
    (group.folder / "memory.max").unlink()
    group.bound(inf, 3)
    assert not (group.folder / "memory.max").exists(), "what has not changed is not written again"
    assert Groups(tmp_path).make("one") is None, "there is one of that name"


@pytest.mark.parametrize(
    ("events", "limit"),
    [
        ("low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n", 100.0),
        ("low 0\nhigh 0\nmax 31\noom 0\noom_kill 2\n", 0),  # the machine's memory ended, not the group's
        ("low 0\nhigh 0\nmax 31\noom 1\noom_kill 0\n", 0),
        (None, 0),
    ],
)
def test_whether_memory_was_why_they_were_killed(tmp_path: Path, events: str | None, limit: float) -> None:
    group = Group(tmp_path)
    group.bound(100.0, inf)
    if events is not None:
        (tmp_path / "memory.events").write_text(events)
    assert group.memory_ended() == limit


def test_how_many_processes_were_refused(tmp_path: Path) -> None:
    group = Group(tmp_path)
    group.bound(100.0, 3.0)
    assert group.refused() == 0
    (tmp_path / "pids.events").write_text("max 12\n")
    assert group.refused() == 12
    group.bound(100.0, inf)
    assert group.refused() == 0, "it was not our bound"


def test_what_killed_hosts_have_left_is_removed_by_its_name(tmp_path: Path) -> None:
    for name in ("workerhost-1-dead", "workerhost-1-dead/inner", "workerhost-2-lives", "other"):
        (tmp_path / name).mkdir()
    Groups(tmp_path).sweep(lambda name: name.endswith("dead"))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["other", "workerhost-2-lives"]
    Groups(tmp_path / "none").sweep(lambda _: True)


def test_a_place_is_looked_for_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_cgroup, "PROC", system.proc)
    monkeypatch.setattr(slot_cgroup, "_own", None)
    assert slot_cgroup.in_use() is None, "nobody has asked"
    assert slot_cgroup.own() is None
    system.group("")
    assert slot_cgroup.own() is None
    monkeypatch.setattr(slot_cgroup, "_own", None)
    groups = slot_cgroup.own()
    assert groups is not None
    assert slot_cgroup.in_use() is groups
