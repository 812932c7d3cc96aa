"""`doctor` on a real pool in which things are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from workerhost import WorkerHost, worker


@worker("doctored.fails")
def fails() -> None:
    """Always."""
    raise ValueError("no")


@worker("doctored.works")
def works() -> int:
    """Always."""
    return 1


@pytest.fixture
def pool(tmp_path: Path) -> Generator[WorkerHost]:
    config = {
        "pool": {"bind": "tcp://127.0.0.1:0"},
        "workers": {"doctored.fails": {"retry": {"max_attempts": 1}}},
    }
    with WorkerHost(config, workers=[fails, works], database=tmp_path / "tasks.db") as made:
        yield made


def diagnosis(address: str, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "workerhost", "doctor", "--json", "--address", address],
        cwd=folder, env={**os.environ, "WORKERHOST_HOME": str(folder / "home")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def test_doctor_on_a_pool_that_is_well_and_then_is_not(pool: WorkerHost, tmp_path: Path) -> None:
    client = pool.client
    assert client.send("doctored.works").result(30) == 1
    code, found = diagnosis(pool.address, tmp_path)
    assert (code, [one for one in found if one["level"] == "wrong"]) == (0, [])

    batch = client.send_many("doctored.fails", ({} for _ in range(30)))
    assert batch.wait(60)
    client.send("doctored.unknown")
    client.pause("doctored.works")
    client.send("doctored.works")
    code, found = diagnosis(pool.address, tmp_path)
    said = {(one["check"], one["where"]): one for one in found if one["level"] != "fine"}

    assert code == 1
    assert "30 attempts failed, mostly by exception" in said["failing", "doctored.fails"]["what"]
    assert "1 task waits" in said["served", "doctored.unknown"]["what"]
    assert said["stopped", "doctored.works"]["cure"] == "workerhost resume doctored.works"
    client.resume("doctored.works")
    client.cancel([task["id"] for task in client.tasks(type="doctored.unknown")])
