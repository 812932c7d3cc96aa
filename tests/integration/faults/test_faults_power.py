"""Power cuts: every write of a store is recorded, and the disk is made anew as it might have been at any moment.

What was not synced by then is there, or is not, or half of it is, as chance has it; what was synced is there.
"""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workerhost.actors.stores.contract import StoreBroken
from workerhost.actors.stores.sqlite import SqliteStore

pytestmark = pytest.mark.faults

PROGRAM = """
import os, sys
from workerhost.actors.core.effects import Persist
from workerhost.actors.stores.sqlite import SqliteStore

class Hasty(SqliteStore):
    def hurry(self):
        self._database.execute("pragma wal_autocheckpoint = 20")

store = Hasty(sys.argv[1], durability=sys.argv[2])
store.open()
store.hurry()
for id in range(1, 151):
    store.begin()
    row = (id, 1, 5, id, 2, 1, 0, 0, 0, 0, 0, 0, 1.5, None, False, 0, None, None, os.urandom(700))
    store.apply(Persist(lanes=[(1, "a", "", "")] if id == 1 else [], tasks=[row], meta={"last_id": id}))
    store.commit()
    os.write(1, b"acknowledged %d" % id)
store.close()
"""
CUTS = 300
SECTOR = 512
_CALL = re.compile(r"""^\d+\s+(\w+)\((\d+)<([^>]*)>(?:, (?:"([^"]*)"(?:, (\d+)(?:, (\d+))?)?|(\d+)))?.*\) += (\d+)""")
_UNLINK = re.compile(r'^\d+\s+unlink\("([^"]*)"\) += 0')


@dataclass
class File:
    """What of a file is on the disk for certain, and what may be."""

    certain: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])

    def settle(self) -> None:
        for at, data in self.since:
            put(self.certain, at, data)
        self.since.clear()


def put(content: bytearray, at: int, data: bytes | None) -> None:
    """Write, or cut to a length if there is no data."""
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class Disk:
    """The files that a process wrote, as its system calls tell."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.acknowledged = 0

    def heed(self, line: str) -> bool:
        """Take over a system call; whether it changed anything."""
        if (gone := _UNLINK.match(line)) is not None:
            return self.files.pop(_text(gone[1]).decode().rsplit("/", 1)[-1], None) is not None
        match = _CALL.match(line)
        if match is None:
            return False
        call, number, path, data, _, at, length, _ = match.groups()
        name = _text(path).decode().rsplit("/", 1)[-1]
        text = _text(data or "")
        if call == "write" and number == "1" and text.startswith(b"acknowledged "):
            self.acknowledged = int(text.split()[1])
        elif not name.startswith("tasks.db"):
            return False
        elif call in ("fdatasync", "fsync"):
            self.files.setdefault(name, File()).settle()
        elif call == "ftruncate":
            self.files.setdefault(name, File()).since.append((int(length), None))
        elif call == "pwrite64":
            self.files.setdefault(name, File()).since.append((int(at), text))
        else:
            return False
        return True

    def after_a_cut(self, chance: random.Random, folder: Path) -> None:
        """The files as they may be when the power is back."""
        for name, file in self.files.items():
            content = bytearray(file.certain)
            share = chance.choice((0.0, 0.5, 0.9))
            for at, data in file.since:
                if data is None:
                    if chance.random() < share:
                        put(content, at, None)
                    continue
                for start in range(0, len(data), SECTOR):
                    if chance.random() < share:
                        put(content, at + start, data[start : start + SECTOR])
            (folder / name).write_bytes(content)


def _text(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


def recorded(folder: Path, durability: str) -> list[str]:
    """The system calls of a process that stores and acknowledges."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: nobody tells what was written and what was synced")
    calls = "trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink"
    trace = folder / "trace"
    command = ["strace", "-f", "-y", "-xx", "-s", "70000", "-e", calls, "-o", str(trace)]
    program = [sys.executable, "-c", PROGRAM, str(folder / "tasks.db"), durability]
    done = subprocess.run([*command, *program], capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"no process may be traced here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return trace.read_text().splitlines()


def after_cuts(folder: Path, lines: list[str], seed: int) -> tuple[int, int, int]:
    """Cut the power at many moments: (how often, how many acknowledged tasks were gone, how many files damaged)."""
    chance = random.Random(seed)
    moments = set(chance.sample(range(len(lines) // 10, len(lines)), CUTS))
    disk = Disk()
    cuts = lost = damaged = 0
    for number, line in enumerate(lines):
        if not disk.heed(line) or number not in moments or not disk.acknowledged:
            continue
        cuts += 1
        place = folder / f"cut-{number}"
        place.mkdir()
        disk.after_a_cut(chance, place)
        store = SqliteStore(place / "tasks.db")
        try:
            store.open()
        except StoreBroken:
            damaged += 1
            continue
        lost += sum(store.show(id) is None for id in range(1, disk.acknowledged + 1))
        store.close()
        with closing(sqlite3.connect(place / "tasks.db")) as database:
            damaged += database.execute("pragma integrity_check").fetchone() != ("ok",)
        shutil.rmtree(place)
    return cuts, lost, damaged


def test_what_was_acknowledged_survives_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    cuts, lost, damaged = after_cuts(tmp_path, recorded(tmp_path, "full"), seed=19)
    print(f"{cuts} cuts, {lost} acknowledged tasks lost, {damaged} files damaged")
    assert cuts > CUTS / 3
    assert (lost, damaged) == (0, 0)


def test_with_relaxed_durability_a_power_cut_may_take_the_last_ones_but_damages_nothing(tmp_path: Path) -> None:
    """Which also shows that these cuts find what is not synced."""
    cuts, lost, damaged = after_cuts(tmp_path, recorded(tmp_path, "relaxed"), seed=19)
    print(f"{cuts} cuts, {lost} acknowledged tasks lost, {damaged} files damaged")
    assert damaged == 0
    assert lost > 0
