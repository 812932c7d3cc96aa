"""The client in Node.js, which knows nothing but docs/protocol.md, works with a real pool."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workerhost import BaseWorker, WorkerHost, worker

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "node"
INSTALL_SECONDS, SECONDS = 150, 60

let_go = threading.Event()


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("text.boom")
def boom() -> None:
    raise ValueError("no")


class Hold(BaseWorker):
    type = "hold"

    def execute(self, task: Any) -> str:
        self.report_progress(0.5, "half-way")
        let_go.wait(SECONDS)
        return "held"


SCRIPT = """
import { Client } from "./workerhost.js";
const client = new Client(process.argv[2]);
const said = [];
client.on("progress", (id, fraction, note) => said.push([fraction, note]));
const ids = await Promise.all(["a", "grüße", "ccc"].map((text) => client.send("text.length", { text })));
const values = await Promise.all(ids.map((id) => client.result(id)));
const failing = await client.send("text.boom", null, { max_attempts: 1 });
const failed = await client.result(failing).catch((error) => [error.state, error.detail.error_type, error.message]);
const refused = await client.send("no type").catch((error) => error.code);
const holding = await client.send("hold", null, { priority: 7, tags: ["node"] });
while (!said.length) await new Promise((go) => client.once("progress", go));
const cancelled = await client.cancel(holding, ids[0]);
const ended = await client.result(holding).catch((error) => error.state);
const status = await client.query("status");
const why = await client.query("show", { id: 10 ** 6 }).catch((error) => error.code);
await client.close();
const completed = status.tasks.completed;
console.log(JSON.stringify({ ids, values, failed, refused, said, cancelled, ended, completed, why, holding }));
"""


def run(folder: Path, *command: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with what it needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = shutil.copytree(
        EXAMPLE, tmp_path_factory.mktemp("node") / "node", ignore=shutil.ignore_patterns("node_m*")
    )
    try:
        done = run(folder, "npm", "install", "--no-audit", "--no-fund", seconds=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm install took longer than {INSTALL_SECONDS} s")
    if done.returncode != 0:
        pytest.skip(f"npm install failed: {done.stderr[-300:]}")
    return folder


@pytest.fixture
def pool() -> Iterator[WorkerHost]:
    let_go.clear()
    settings = {"pool": {"bind": "tcp://127.0.0.1:0"}}
    with WorkerHost(settings, workers=[length, boom, Hold], slots=2) as pool:
        yield pool
        let_go.set()


def test_it_sends_watches_and_cancels(pool: WorkerHost, folder: Path) -> None:
    (folder / "script.js").write_text(SCRIPT, encoding="utf-8")
    done = run(folder, "node", "script.js", pool.address)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["values"] == [1, 5, 3]
    assert said["failed"] == ["failed", "ValueError", f"task {max(said['ids']) + 1} failed: no"]
    assert said["refused"] == "invalid"
    assert said["said"][0] == [0.5, "half-way"]
    assert (said["cancelled"], said["ended"]) == ([said["holding"]], "cancelled")
    assert (said["completed"], said["why"]) == (3, "unknown")
    assert pool.client.show(said["holding"])["priority"] == 7


def test_its_program_prints_the_value_or_the_reason(pool: WorkerHost, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WORKERHOST_ADDRESS", pool.address)
    good = run(folder, "node", "send.js", "text.length", '{"text": "hello"}')
    assert (good.returncode, good.stdout) == (0, "5\n")
    bad = run(folder, "node", "send.js", "text.boom")
    assert bad.returncode == 1
    assert "failed: no" in bad.stderr


def test_it_finds_its_tasks_again_when_the_supervisor_was_away(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = {"pool": {"bind": f"tcp://127.0.0.1:{free.getsockname()[1]}"}}
    monkeypatch.setenv("WORKERHOST_ADDRESS", settings["pool"]["bind"])
    with WorkerHost(settings, workers=[length], database=tmp_path / "tasks.db") as pool:
        pool.client.pause("text.length")
        command = ["node", "send.js", "text.length", '{"text": "hello"}']
        node = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert node.stderr is not None
        assert node.stderr.readline() == "task 1\n"
    try:
        with WorkerHost(settings, workers=[length], database=tmp_path / "tasks.db") as pool:
            pool.client.resume("text.length")
            assert node.communicate(timeout=SECONDS)[0] == "5\n"
    finally:
        node.kill()
        node.communicate()


def test_it_is_short_enough_to_be_read() -> None:
    assert len((EXAMPLE / "workerhost.js").read_text(encoding="utf-8").splitlines()) < 150
