"""Who owns what a restore makes: whoever had the database, also where it was root who restored it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.stores.restore import restore
from workerhost.actors.stores.sqlite import SqliteStore

IS_ROOT = os.name == "posix" and os.geteuid() == 0
OWNER = (12345, 12346) if IS_ROOT else (os.getuid(), os.getgid())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a service has its database."""
    found = tmp_path / "service"
    found.mkdir()
    os.chown(found, *OWNER)
    return found


@pytest.fixture
def path(folder: Path) -> Path:
    """Its database."""
    found = folder / "tasks.db"
    store = SqliteStore(found, durability="relaxed")
    store.open()
    store.close()
    os.chown(found, *OWNER)
    return found


@pytest.fixture
def backup(path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(path, tmp_path / "copy.db"))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """To whom files were given by root, which the tests need not be."""
    found: list[tuple[int, int]] = []
    give = os.fchown

    def note(number: int, user: int, group: int) -> None:
        found.append((user, group))
        give(number, user, group)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", note)
    return found


def owner(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_uid, found.st_gid


def test_root_restores_a_database_for_its_owner(path: Path, backup: Path, given: list[tuple[int, int]]) -> None:
    kept = restore(backup, path).kept
    assert given == [OWNER]
    assert kept is not None
    assert owner(path) == owner(kept) == OWNER
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_there_was_none_it_is_for_the_owner_of_the_folder(
    path: Path, backup: Path, given: list[tuple[int, int]]
) -> None:
    path.unlink()
    restore(backup, path)
    assert given == [OWNER]
    assert owner(path) == OWNER


def test_what_is_kept_as_a_copy_is_its_owners_too(
    path: Path, backup: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> None:
        raise OSError("no such thing here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    kept = restore(backup, path).kept
    assert given == [OWNER, OWNER]
    assert kept is not None
    assert owner(kept) == OWNER


def test_nobody_else_gives_anything_away(
    path: Path, backup: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    restore(backup, path)
    assert given == []
