"""What slots keep on the disk is gone with them, also when their host was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workerhost.actors import slot_process

SECONDS = 10.0


def test_folders_of_hosts_that_were_killed_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_process.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(SECONDS)
    prefix = slot_process._prefix()  # pyright: ignore[reportPrivateUsage]
    old, own, other = (tmp_path / f"{prefix}{ended.pid}-x", tmp_path / f"{prefix}{os.getpid()}-x", tmp_path / "else")
    for folder in (old, own, other):
        folder.mkdir()
    slot_process._sweep.__wrapped__()  # pyright: ignore[reportPrivateUsage]
    slot_process.spawner().settle(SECONDS)
    assert (old.exists(), own.exists(), other.exists()) == (False, True, True)
