"""The client in Node.js, which knows nothing but docs/protocol.md, works with a real pool.

What a real one does once in years, a supervisor does here that says what the test wants.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import zmq

from workerhost import BaseWorker, WorkerHost, worker
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import Accepted, Bye, Events, Heartbeat, Hello, Refused, Submit, Watch, Welcome

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "node"
INSTALL_SECONDS, SECONDS = 150, 60

let_go = threading.Event()

Heard = TypeVar("Heard")


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("text.boom")
def boom() -> None:
    raise ValueError("no")


@worker("value.same")
def same(value: Any) -> Any:
    return value


@worker("value.proto")
def proto() -> dict[str, int]:
    return {"__proto__": 1}  # the one key that no object of JavaScript takes


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
    with WorkerHost(settings, workers=[length, boom, same, proto, Hold], slots=2) as pool:
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


def said_by(folder: Path, script: str, *arguments: str) -> Any:
    """What a script prints, as JSON."""
    (folder / "script.js").write_text(BEGIN + script, encoding="utf-8")
    done = run(folder, "node", "script.js", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


BEGIN = """
import { Client } from "./workerhost.js";
const client = new Client(process.argv[2]);
const fault = (error) => error.code ?? error.state ?? error.message;
const said = (value) => console.log(JSON.stringify(value, (_, part) => typeof part === "bigint" ? `${part}n` : part));
"""

TWICE = """
const send = (options) => client.send("text.length", { text: "hello" }, options);
const ids = [await send({ key: "one", delay: 0.5 }), await send({ key: "one" })];
const values = await Promise.all(ids.map((id) => client.result(id)));
const cached = [await send({ cache: 60 })];
values.push(await client.result(cached[0]));
cached.push(await send({ cache: 60 }));
values.push(await client.result(cached[1]));
said({ ids, cached, values });
await client.close();
"""


def test_a_task_that_stands_for_another_has_the_id_of_that(pool: WorkerHost, folder: Path) -> None:
    said = said_by(folder, TWICE, pool.address)
    assert said["values"] == [5, 5, 5, 5]
    for first, second in (said["ids"], said["cached"]):
        assert first == second


TOO_LARGE = """
const faults = [];
for (const [params, options] of [
  [Buffer.alloc(9 * 1024 * 1024)],
  [Buffer.alloc(1024 * 1024)],
  [null, { tags: ["x".repeat(9 * 1024 * 1024)] }],
  [null, { tags: ["\\ud800"] }],
  [null, { at: new Date() }],
  [null, { after: Array(100001).fill(1) }],
  [NaN],
]) faults.push(await client.send("value.same", params, options).catch(fault));
faults.push(await client.query("show", { id: 1, more: "\\ud800" }).catch(fault));
faults.push(await client.cancel("1").catch(fault), await client.result("1").catch(fault));
const id = await client.send("value.same", { value: "x".repeat(1024 * 1024 - 100) });
said({ faults, length: (await client.result(id)).length });
await client.close();
"""


def test_what_the_pool_would_not_read_is_refused_before_it_is_said(pool: WorkerHost, folder: Path) -> None:
    said = said_by(folder, TOO_LARGE, pool.address)
    half, number = (
        "text with half a character (a lone surrogate) cannot travel",
        "1 is no task's id: that is a whole number",
    )
    assert said["faults"] == [
        "too_large", "too_large", "too_large",
        half,
        "Date cannot travel there: use seconds since 1970",
        "100001 items at once, of at most 10000",
        "NaN cannot travel: use null",
        half, number, number,
    ]  # fmt: skip
    assert said["length"] == 1024 * 1024 - 100


VALUES = """
const same = async (value) => client.result(await client.send("value.same", { value }));
const values = [];
for (const value of [2n ** 60n + 1n, 5n, 2 ** 40, -(2 ** 40), [{ constructor: 2n ** 63n }], { a: 1.5 }]) {
  values.push(await same(value));
}
const instant = await same(new Date(1234567890123));
const unreadable = await client.result(await client.send("value.proto")).catch((error) => error.message);
said({ values, instant: instant.getTime(), unreadable, after: await same("on") });
await client.close();
"""


def test_values_come_back_as_they_were_sent(pool: WorkerHost, folder: Path) -> None:
    said = said_by(folder, VALUES, pool.address)
    assert said["values"] == [
        f"{2**60 + 1}n", 5, 2**40, -(2**40), [{"constructor": f"{2**63}n"}], {"a": 1.5},
    ]  # fmt: skip
    assert said["instant"] == 1234567890123
    assert "completed: its result cannot be read" in said["unreadable"]
    assert said["after"] == "on"


MANY = """
const ids = await Promise.all(Array.from({ length: 1000 }, (_, value) => client.send("value.same", { value })));
const values = await Promise.all(ids.map((id) => client.result(id)));
said(values.every((value, place) => value === place));
await client.close();
"""


def test_many_tasks_at_once_are_said_a_few_at_a_time(pool: WorkerHost, folder: Path) -> None:
    assert said_by(folder, MANY, pool.address) is True


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
    assert len((EXAMPLE / "workerhost.js").read_text(encoding="utf-8").splitlines()) < 350


# A supervisor that says what the test wants.


class Scripted:
    """Hears one client, connection after connection."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.address = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"
        self.peer, self.number = b"", 0

    def hear(self, kind: type[Heard], seconds: float = SECONDS) -> Heard:
        """The next message; it must be of this kind."""
        end = time.monotonic() + seconds
        while self.socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            peer, frame = self.socket.recv_multipart()
            _, message = decode(frame)
            if isinstance(message, Hello):
                self.peer, self.number = peer, 0
            if peer == self.peer and not isinstance(message, Heartbeat):
                assert isinstance(message, kind), message
                return message
        raise AssertionError(f"no {kind.__name__}")

    def say(self, message: Any) -> None:
        opening = isinstance(message, Welcome | Refused)
        self.number += not opening
        self.socket.send_multipart([self.peer, encode(message, 0 if opening else self.number)])

    def welcome(self, epoch: int, settings: dict[str, Any] | None = None) -> Hello:
        hello = self.hear(Hello)
        self.say(Welcome(1, "", epoch, 60.0, 60.0, settings or {}))
        return hello

    def accept(self, number: int, id: int, others: list[Any] | None = None) -> Submit:
        submit = self.hear(Submit)
        assert submit.submission == number
        self.say(Accepted(number, id, 1, others or []))
        return submit

    def lose(self) -> None:
        self.say(Refused("unknown_session", "something was lost"))


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.context.destroy()


class Program:
    """A script that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def said(self) -> Any:
        """What it printed, as JSON; it ends."""
        printed, errors = self.process.communicate(timeout=SECONDS)
        assert (self.process.returncode, errors) == (0, "")
        return json.loads(printed)


@contextmanager
def running(folder: Path, script: str, address: str) -> Generator[Program]:
    (folder / "script.js").write_text(BEGIN + script, encoding="utf-8")
    process = subprocess.Popen(
        ["node", "script.js", address], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        process.communicate()


STANDS_FOR_ANOTHER = """
const id = await client.send("a", null, { key: "one" });
const value = client.result(id);
said([id, await client.send("b"), await value]);
await client.close();
"""


def test_it_repeats_what_was_not_answered_and_names_then_what_it_waits_for(scripted: Scripted, folder: Path) -> None:
    with running(folder, STANDS_FOR_ANOTHER, scripted.address) as program:
        assert scripted.welcome(3).offer == {"name": "node"}
        scripted.accept(1, 2, [[0, 1, 0]])
        assert scripted.hear(Watch).ids == []
        assert scripted.hear(Submit).submission == 2
        assert scripted.hear(Watch).ids == [1]
        scripted.lose()
        assert scripted.welcome(3).offer["submitted"] == 2
        assert scripted.accept(2, 3).below == 2
        assert scripted.hear(Watch).ids == [1, 3]  # 3 was not known before the answer
        scripted.say(Events([[1, 0, 4, b"\x07", None]]))
        assert program.said() == [1, 3, 7]
        scripted.hear(Bye)


TWO = """
const ids = [await client.send("a"), await client.send("b")];
said(await Promise.all(ids.map((id) => client.result(id).catch(fault))));
await client.close();
"""


@pytest.mark.parametrize(
    ("epoch", "settings", "after"),
    [(4, {}, 9), (3 + 8192, {}, 0), (4, {"forgotten": True}, 0)],
    ids=["restarted", "restored", "forgotten"],
)
def test_it_asks_about_its_tasks_when_a_pool_comes_back(
    scripted: Scripted, folder: Path, epoch: int, settings: dict[str, Any], after: int
) -> None:
    with running(folder, TWO, scripted.address) as program:
        scripted.welcome(3)
        scripted.accept(1, 1)
        assert scripted.hear(Watch).ids == []
        scripted.accept(2, 2)
        assert scripted.hear(Watch).ids == [1, 2]
        scripted.say(Events([[1, 9, 5, b"", {"message": "no"}]]))
        scripted.lose()
        scripted.welcome(epoch, settings)
        watch = scripted.hear(Watch)
        assert (watch.after, watch.ids) == (after, [2])
        scripted.say(Events([], [], [[2, -1]]))
        assert program.said() == ["failed", "unknown"]


ANOTHER_DATABASE = """
const id = await client.send("a");
const values = [await client.result(id)];
values.push(await client.result(await client.send("b")).catch(fault));
values.push(await client.result(id));
said(values);
await client.close();
"""


@pytest.mark.parametrize(("epoch", "settings"), [(1, {}), (4, {"durable": False})], ids=["database", "in memory"])
def test_another_queue_does_not_know_its_tasks(
    scripted: Scripted, folder: Path, epoch: int, settings: dict[str, Any]
) -> None:
    with running(folder, ANOTHER_DATABASE, scripted.address) as program:
        scripted.welcome(3)
        scripted.accept(1, 1)
        assert scripted.hear(Watch).ids == []
        assert scripted.hear(Watch).ids == [1]
        scripted.say(Events([[1, 9, 4, b"\x01", None]]))
        scripted.accept(2, 2)
        assert scripted.hear(Watch).ids == [2]
        scripted.lose()
        scripted.welcome(epoch, settings)
        watch = scripted.hear(Watch)
        assert (watch.after, watch.ids) == (0, [])
        assert scripted.hear(Watch).ids == [1]
        scripted.say(Events([[1, 0, 4, b"\x02", None]]))  # its number is another's now
        assert program.said() == [1, "unknown", 2]


CALLS = """
const calls = [() => client.send("a"), () => client.result(1), () => client.query("status"), () => client.cancel(1)];
const all = () => Promise.all(calls.map((call) => call().catch((error) => error.message)));
"""


def test_a_client_that_is_refused_says_why_at_every_call(scripted: Scripted, folder: Path) -> None:
    with running(folder, CALLS + "said([await all(), await all()]); client.close();", scripted.address) as program:
        scripted.hear(Hello)
        scripted.say(Refused("forbidden", "not allowed here"))
        assert program.said() == [4 * ["the pool refused this client: not allowed here"]] * 2


def test_a_closed_client_leaves_nobody_waiting(scripted: Scripted, folder: Path) -> None:
    closing = "const waiting = all(); await client.close(); said([await waiting, await all()]);"
    with running(folder, CALLS + closing, scripted.address) as program:
        assert program.said() == [4 * ["the client was closed"]] * 2


TWO_THOUSAND = """
const sent = Array.from({ length: 2000 }, () => client.send("a").catch(fault));
said([...new Set(await Promise.all(sent))]);
"""


def test_a_few_submissions_are_under_way_at_a_time(scripted: Scripted, folder: Path) -> None:
    with running(folder, TWO_THOUSAND, scripted.address) as program:
        scripted.welcome(1)
        first = [scripted.hear(Submit) for _ in range(8)]
        assert [(submit.submission, submit.below) for submit in first] == [(number, 1) for number in range(1, 9)]
        scripted.hear(Watch)
        for answered, then, below in ((2, 9, 1), (1, 10, 3)):
            scripted.say(Accepted(answered, answered, 1))
            submit = scripted.hear(Submit)  # one for each answer
            assert (submit.submission, submit.below) == (then, below)
        scripted.say(Refused("forbidden", "enough"))
        assert program.said() == [1, 2, "forbidden"]


def test_a_pool_that_welcomes_and_is_gone_is_not_called_in_a_loop(scripted: Scripted, folder: Path) -> None:
    with running(folder, "", scripted.address):
        began = time.monotonic()
        for _ in range(6):
            scripted.welcome(1)
            scripted.hear(Watch)
            scripted.lose()
        scripted.hear(Hello)
        assert time.monotonic() - began > 1.3  # 0.05, 0.15, 0.35, 0.75 and 1 s, less a quarter at most


LISTENER = """
process.once("uncaughtException", (error) => { said(error.message); client.close(); });
client.on("progress", () => { throw new Error("the listener's own"); });
await client.send("a");
"""


def test_an_error_of_a_listener_is_not_one_of_the_connection(scripted: Scripted, folder: Path) -> None:
    with running(folder, LISTENER, scripted.address) as program:
        scripted.welcome(1)
        scripted.accept(1, 1)
        scripted.hear(Watch)
        scripted.say(Events([], [[1, 0.5, "half-way", 0.0]]))
        assert program.said() == "the listener's own"
        scripted.hear(Bye)
