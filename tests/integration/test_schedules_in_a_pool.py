"""A real pool sends by itself, goes on with that after a restart, and tells of it on the command line."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from workerhost import InvalidTask, WorkerHost, WorkerHostError, worker
from workerhost.bin.main import run

SECONDS = 10.0


@worker("tick")
def tick(word: str) -> str:
    return word


CONFIG: dict[str, Any] = {
    "pool": {"bind": "tcp://127.0.0.1:0"},
    "schedules": {
        "often": {"type": "tick", "params": {"word": "again"}, "every": "1s", "tags": ["by-itself"]},
        "rarely": {"type": "tick", "params": {"word": "once"}, "cron": "0 0 29 2 *", "zone": "Europe/Berlin"},
    },
}


def sent(pool: WorkerHost, count: int) -> list[dict[str, Any]]:
    """What the pool sends by itself is no event of this client."""

    def enough() -> list[dict[str, Any]]:
        found = pool.client.tasks(tag="by-itself", state="completed")
        return found if len(found) >= count else []

    return until(enough, f"{count} are completed", show=pool.client.schedules)


def test_a_pool_sends_by_itself_over_a_restart_and_each_instant_once(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"
    began = time.time()
    with WorkerHost(CONFIG, workers=[tick], database=database) as pool:
        first = sent(pool, 2)
        assert pool.client.task(first[0]["id"]).result(timeout=SECONDS) == "again"
    with WorkerHost(CONFIG, workers=[tick], database=database) as pool:
        found = sent(pool, len(first) + 2)
        pool.client.pause_schedule("often")
        found = pool.client.tasks(tag="by-itself")
        assert len(found) <= time.time() - began + 1
        (often, rarely) = pool.client.schedules()
        assert (often["paused"], often["task"], rarely["task"]) == (True, found[0]["id"], None)


def test_what_a_program_and_a_person_order(capsys: pytest.CaptureFixture[str]) -> None:
    with WorkerHost(CONFIG, workers=[tick]) as pool:
        client, address = pool.client, pool.address
        client.pause_schedule("often")
        said = client.schedule("mine", "tick", {"word": "x"}, every=3600, priority=7, timeout=5)
        assert (said["source"], said["every"], said["priority"], said["options"]) == (
            "client", 3600.0, 7, {"timeout": 5.0},
        )  # fmt: skip
        wrongs: tuple[dict[str, Any], ...] = (
            {"every": 0},
            {"cron": "61 * * * *"},
            {"cron": "0 3 * * *", "zone": "Nowhere"},
            {},
        )
        for wrong in wrongs:
            with pytest.raises(InvalidTask, match=r"cron|every|zone"):
                client.schedule("mine", "tick", **wrong)
        with pytest.raises(WorkerHostError, match="that of the configuration"):
            client.schedule("often", "tick", every=5)
        id = client.run_schedule("mine")
        assert client.task(id).result(timeout=SECONDS) == "x"

        assert run(["--address", address, "schedules"]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in shown] == ["NAME", "mine", "rarely", "often"]
        assert run(["--address", address, "schedule", "next", "mine"]) == 0
        coming = [datetime.fromisoformat(line).timestamp() for line in capsys.readouterr().out.splitlines()]
        assert [instant % 3600 for instant in coming] == [0] * 5
        assert coming == said["coming"]
        assert run(["--address", address, "schedule", "next", "often"]) == 0
        assert capsys.readouterr().err == "workerhost: schedule often sends nothing: it is paused\n"
        assert run(["--address", address, "schedule", "next", "none"]) == 2
        assert run(["--address", address, "schedule", "resume", "often"]) == 0
        assert run(["--address", address, "schedule", "pause", "often"]) == 0
        assert run(["--address", address, "schedule", "remove", "mine"]) == 0
        capsys.readouterr()
        assert run(["--address", address, "schedule", "remove", "mine"]) != 0
        assert "no schedule mine" in capsys.readouterr().err.replace("'", "")
        assert [one["name"] for one in client.schedules()] == ["often", "rarely"]


def test_a_person_adds_a_schedule_and_replaces_it(capsys: pytest.CaptureFixture[str]) -> None:
    with WorkerHost(CONFIG, workers=[tick]) as pool:
        client, add = pool.client, ["--address", pool.address, "schedule", "add"]
        assert run([*add, "typed", "tick", "word=y", "--every", "1h", "--priority", "7", "--tag", "t", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["name"], made["every"], made["priority"], made["options"]) == ("typed", 3600, 7, {"tags": ["t"]})
        assert client.task(client.run_schedule("typed")).result(timeout=SECONDS) == "y"
        assert run([*add, "typed", "tick", "--cron", "0 3 * * *", "--zone", "Europe/Berlin"]) == 0
        assert capsys.readouterr().err.startswith("workerhost: schedule typed sends tick next at ")
        assert client.schedules()[-1]["cron"] == "0 3 * * *", "it was replaced"
        assert run([*add, "typed", "tick"]) == 2
        assert "one of the two" in capsys.readouterr().err
        assert run([*add, "typed", "tick", "--cron", "61 3 * * *"]) == 2
        assert "'61 3 * * *' is not understood" in capsys.readouterr().err
