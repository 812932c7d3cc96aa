"""What the command line takes, says and refuses, as far as that needs no pool."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workerhost import __version__
from workerhost.bin import arguments, documents, examples, exits, hosting, tables, views
from workerhost.bin.main import _COMMANDS, run  # pyright: ignore[reportPrivateUsage]
from workerhost.bin.up import free_address
from workerhost.config.loading import load
from workerhost.workers import errors
from workerhost.workers.source import Source

COMMANDS = (
    "up", "supervisor", "host", "try", "send", "wait", "ls", "show", "cancel", "retry", "priority", "move", "status",
    "top", "hosts", "types", "pause", "resume", "drain", "reload", "config",
)  # fmt: skip

TASKS = """\
from workerhost import BaseWorker, Fail, Release, Result, worker


@worker("text.length")
def length(text: str) -> int:
    return len(text)


@worker("text.repeat")
def repeat(text: str, times: int, *, upper: bool, sep: str = "-") -> str:
    return sep.join([text] * times)


class Boom(BaseWorker):
    type = "text.boom"

    def execute(self, task):
        how = task.params.get("how")
        if how == "fail":
            raise Fail("said no")
        if how == "release":
            raise Release("later", after=5)
        if how == "result":
            return Result(success=False, error="did not work")
        if how == "interrupt":
            raise KeyboardInterrupt
        raise ValueError("nope")
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WORKERHOST_CONFIG", "WORKERHOST_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    (tmp_path / "tasks.py").write_text(TASKS)
    return "tasks.py"


Captured = pytest.CaptureFixture[str]


def answer(capsys: Captured, *command: str) -> tuple[int, str, str]:
    """Runs a command: (exit code, stdout, stderr)."""
    code = run(list(command))
    out, err = capsys.readouterr()
    assert "Traceback" not in err or command[0] == "try", err
    return code, out, err


def refusal(capsys: Captured, code: int, *command: str) -> str:
    """The one line with which a command is refused."""
    got, out, err = answer(capsys, *command)
    assert (got, out) == (code, ""), err
    assert err.count("\n") == 1, err
    return err.removeprefix("workerhost: ").rstrip("\n")


# Help and usage -----------------------------------------------------------------------------------------------------


def test_help_lists_every_command_by_group(capsys: Captured) -> None:
    code, out, _ = answer(capsys, "--help")

    assert code == 0
    assert [group for group in ("Start:", "Tasks:", "Pool:", "Set-up:") if group not in out] == []
    assert [command for command in COMMANDS if f"\n  {command} " not in out] == []
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", [*COMMANDS, "config check", "config schema", "config show"])
def test_every_command_explains_itself(capsys: Captured, command: str) -> None:
    code, out, _ = answer(capsys, *command.split(), "--help")
    assert code == 0
    assert f"Usage: workerhost {command} " in out
    assert "--parent" not in out


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command line has loaded when it has ended."""
    program = f"""
import sys
from workerhost.bin.main import run
run({list(arguments)!r})
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    return set(done.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    heavy = {"zmq", "pykka", "pydantic", "msgpack", "structlog", "rich", "yaml", "psutil", "sqlite3", "asyncio"}
    ours = {f"workerhost.{name}" for name in ("config.policy", "config.watching", "transport.client", "bin.batches")}
    assert (heavy | ours | {"hashlib", "zoneinfo"}) & loaded_by("--help") == set()


def test_a_command_loads_no_other_file_of_commands() -> None:
    files = {f"workerhost.bin.{file}" for commands in _COMMANDS.values() for file, _ in commands}
    assert files & loaded_by("--address", "tcp://127.0.0.1:1", "host", "--help") == {"workerhost.bin.start"}
    assert files & loaded_by("send", "--help") == {"workerhost.bin.tasks"}
    assert files & loaded_by("--help") == files


def test_every_command_is_where_the_table_says(capsys: Captured) -> None:
    for commands in _COMMANDS.values():
        for _, names in commands:
            for name in names:
                assert answer(capsys, name, "--help")[0] == 0, name


def test_python_m_workerhost_is_the_command_line() -> None:
    command = [sys.executable, "-m", "workerhost", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == f"workerhost {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        ("sned",), ("send",), ("send", "x", "--priority", "high"), ("show", "abc"), ("up", "--hosts", "0"),
        ("status", "--bogus"), ("config",), ("ls", "--limit", "0"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_says_why(capsys: Captured, command: tuple[str, ...]) -> None:
    code, _, err = answer(capsys, *command)
    assert code == 2
    assert err.startswith("Usage: ") or command == ("config",)


# Mistakes, each one line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("send", "x", "novalue"), "'novalue' is no parameter; write key=value, key:=JSON or key=@file"),
        (("send", "x", "a=1", "a=2"), "a is given twice"),
        (("send", "x", "a:=nope"), "a:= 'nope' is not JSON (Expecting value: line 1 column 1 (char 0))"),
        (("send", "x", "a:=NaN"), "a:= 'NaN' is not JSON (NaN is not JSON)"),
        (("send", "x", "--params", "[1", "--wait"), "--params '[1' is not JSON"),
        (("send", "x", "a=1", "--params", "[1]"), "--params is no JSON object, so 'a=1' cannot be added to it"),
        (("send", "x", "--delay", "soon"), "--delay 'soon' is not a duration; write seconds or 500ms, 30s, 5m"),
        (("send", "a b"), "type='a b': it must be one to three parts of letters"),
        (("send", "x", f"n:={2**70}"), 'params["n"]'),
        (("wait",), "name what to wait for: ids, or --tag TAG, or --idle"),
        (("wait", "1", "--idle"), "name what to wait for: ids, or --tag TAG, or --idle"),
        (("wait", "--idle", "--json"), "--json tells of tasks that are named by id"),
        (("wait", "--tag", "T", "--json"), "--json tells of tasks that are named by id; those of a tag: workerhost ls"),
        (("wait", "1", "--timeout", "0"), "--timeout '0' is out of range"),
        (
            ("cancel",),
            "name tasks: ids, or a filter (--state, --type, --tag, --tenant, --flow, --error, --older-than, --key)",
        ),
        (("ls", "--state", "done"), "--state 'done' is no state; use waiting, scheduled, queued, running"),
        (("host", "--slots", "many"), "--slots 'many' is not understood; write --slots 4 or --slots video=4,audio=2"),
        (("host", "--slots", "video=1,video=2"), "--slots 'video=1,video=2' is not understood"),
        (("host", "--slots", "0"), "--slots '0' is not understood"),
        (("up", "--slots", "-3"), "--slots '-3' is not understood"),
        (("host", "--serve", "a b"), "--serve: 'a b' is not a type"),
        (("config", "show", "a b"), "'a b' is not a type"),
    ],
)
def test_a_mistake_is_one_line_and_2(capsys: Captured, command: tuple[str, ...], expected: str) -> None:
    assert refusal(capsys, exits.USAGE, *command).startswith(expected)


@pytest.mark.parametrize(
    ("command", "code", "expected"),
    [
        (("send", "x", "a=@absent.txt"), exits.INPUT_OUTPUT, "[Errno 2] No such file or directory: 'absent.txt'"),
        (("up", "-c", "absent.yaml"), exits.CONFIGURATION, "absent.yaml: no such file; name one with -c FILE"),
        (("status", "--address", "here"), exits.CONFIGURATION, "'here' is no address; write tcp://HOST:PORT"),
        (("up", "--address", "here"), exits.CONFIGURATION, "'here' is no address; write tcp://HOST:PORT"),
        (("try", "absent.py"), exits.CONFIGURATION, "{folder}/absent.py: no such file"),
    ],
)
def test_what_is_missing_is_named(
    capsys: Captured, tmp_path: Path, command: tuple[str, ...], code: int, expected: str
) -> None:
    assert refusal(capsys, code, *command).startswith(expected.replace("{folder}", str(tmp_path)))


def test_a_file_that_is_no_text_is_refused(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe")
    assert refusal(capsys, exits.USAGE, "send", "x", "a=@a.bin").startswith("a=@a.bin: the file is not UTF-8 text")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exits.UsageError("x"), 2), (errors.InvalidTask("x"), 2), (errors.TooLarge("x"), 2), (errors.NoHost("x"), 1),
        (errors.ConfigError("x"), 78), (errors.PoolUnreachable("x"), 69), (errors.PoolRefused("x"), 77),
        (errors.QueueFull("x"), 75), (errors.DiskFull("x"), 75), (TimeoutError("x"), 75), (errors.TaskFailed(1), 1),
        (errors.TaskCancelled(1), 1), (errors.TaskUnknown("x"), 1), (OSError("x"), 74), (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 70),
    ],
)  # fmt: skip
def test_exit_codes(capsys: Captured, error: BaseException, code: int) -> None:
    assert exits.report(error) == code
    assert ("that was a bug of WorkerHost" in capsys.readouterr().err) is (code == exits.INTERNAL)


def test_what_others_wrote_cannot_move_the_terminal(capsys: Captured) -> None:
    exits.report(errors.TaskFailed(1, error_type="E", message="a\nb\x1b[31m"))
    assert capsys.readouterr().err == "workerhost: task 1 failed after 0 attempt(s): E: a\\nb\\x1b[31m\n"


# Params -------------------------------------------------------------------------------------------------------------


def test_params(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("from a file\n", encoding="utf-8")

    assert arguments.params([]) == {}
    assert arguments.params(["a=1", "b:=1", 'c:={"x": [null, true]}', "d=", "e=x=y", "f=@text.txt"]) == {
        "a": "1", "b": 1, "c": {"x": [None, True]}, "d": "", "e": "x=y", "f": "from a file\n",
    }  # fmt: skip
    assert arguments.params([], "[1, 2]") == [1, 2]
    assert arguments.params(["a=2"], '{"a": 1, "b": 1}') == {"a": "2", "b": 1}


def test_slots() -> None:
    assert arguments.slots(None) is None
    assert arguments.slots("4") == {"": 4}
    assert arguments.slots("video=2, audio.x=1") == {"video": 2, "audio.x": 1}


# host -----------------------------------------------------------------------------------------------------------------


WISHES = hosting.Wishes(
    address=None, codes=("tasks.py",), name=None, slots=None, serve=None, refuse=None, isolation=None, parent=None
)


def test_a_host_is_what_the_command_line_says_then_the_file_then_the_default(tmp_path: Path) -> None:
    nothing = hosting.combined(WISHES, load({}))
    assert (nothing.address, nothing.slots, nothing.isolation, nothing.fixed) == (
        "tcp://127.0.0.1:7470", None, "process", frozenset(),
    )  # fmt: skip
    assert (nothing.code, nothing.paths[0]) == (("tasks.py",), str(tmp_path))

    file = load({
        "pool": {"bind": "tcp://127.0.0.1:7000"},
        "host": {"slots": 3, "serve": ["video"], "not": ["audio"], "name": "builder", "isolation": "thread"},
        "workers": {"video": {"class": "my.video:Video"}},
    })  # fmt: skip
    said = hosting.combined(WISHES, file)
    assert (said.address, said.name, said.slots) == ("tcp://127.0.0.1:7000", "builder", {"": 3})
    assert (said.serve, said.not_, said.isolation) == (("video",), ("audio",), "thread")
    assert said.sources == {"video": Source("my.video:Video")}
    assert said.fixed == frozenset(), "what `hosts:` says of this host may change what only a file said"

    wishes = replace(WISHES, address="tcp://127.0.0.1:1", name="me", slots={"a": 1}, serve=[], refuse=["b"])
    wins = hosting.combined(wishes, file)
    assert (wins.address, wins.name, wins.slots) == ("tcp://127.0.0.1:1", "me", {"a": 1})
    assert (wins.serve, wins.not_) == ((), ("b",))
    assert wins.fixed == {"slots", "serve", "not"}


def test_a_host_of_its_own_runs_no_task_code_itself(capsys: Captured, tmp_path: Path) -> None:
    assert refusal(capsys, exits.USAGE, "host", "--isolation", "inline") == (
        "--isolation 'inline' is not for a host of its own; use process or thread"
    )
    assert refusal(capsys, exits.USAGE, "host", "--name", "a b").startswith("--name 'a b' is not a host name")
    (tmp_path / "pool.yaml").write_text("host: {isolation: inline}")
    _, _, err = answer(capsys, "host", "-c", "pool.yaml")
    assert err.endswith("workerhost: host.isolation 'inline' is not for a host of its own; use process or thread\n")


# try ----------------------------------------------------------------------------------------------------------------


def test_try_prints_the_value(capsys: Captured, tasks: str) -> None:
    assert answer(capsys, "try", "tasks.py:length", "text=hello")[:2] == (0, "5\n")
    assert answer(capsys, "try", tasks, "--type", "text.length", "text=hi")[:2] == (0, "2\n")


def test_try_shows_the_workers_own_traceback(capsys: Captured, tasks: str) -> None:
    code, out, err = answer(capsys, "try", "tasks.py:Boom", "how=raise")

    assert (code, out) == (1, "")
    assert 'tasks.py", line 27, in execute' in err
    assert err.endswith("ValueError: nope\n")
    assert "runner.py" not in err


@pytest.mark.parametrize(
    ("how", "expected"),
    [("result", "workerhost: failed: did not work\n"), ("release", "workerhost: released: later (after 5 s)\n")],
)
def test_try_says_how_it_ended(capsys: Captured, tasks: str, how: str, expected: str) -> None:
    assert answer(capsys, "try", "tasks.py:Boom", f"how={how}") == (1, "", expected)


def test_ctrl_c_ends_with_130_and_no_traceback(capsys: Captured, tasks: str) -> None:
    code, out, err = answer(capsys, "try", "tasks.py:Boom", "how=interrupt")
    assert (code, out) == (exits.INTERRUPTED, "")
    assert err in ("", "workerhost: interrupted\n")  # typer may take it for itself


def test_try_with_wrong_params_names_them(capsys: Captured, tasks: str) -> None:
    code, _, err = answer(capsys, "try", "tasks.py:length", "txt=hello")
    assert code == 1
    assert err == "TypeError: length() got an unexpected keyword argument 'txt'\n"


def test_try_asks_which_worker_is_meant(capsys: Captured, tasks: str) -> None:
    assert refusal(capsys, exits.USAGE, "try", tasks) == (
        "tasks.py has 3 workers; name one of tasks.py:length, tasks.py:repeat, tasks.py:Boom"
    )


# config -------------------------------------------------------------------------------------------------------------


def test_config_check_tells_every_mistake(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "workerhost.yaml"
    file.write_text("queue:\n  type: lifo\n  maxsize: 3\n")
    code, out, err = answer(capsys, "config", "check")
    assert (code, out) == (78, "")
    assert err.splitlines() == [
        "workerhost: workerhost.yaml:2: queue.type \"lifo\" is not supported; use priority or fifo",
        "workerhost: workerhost.yaml:3: queue.maxsize is an unknown key; did you mean max_size?",
    ]  # fmt: skip

    code, out, _ = answer(capsys, "config", "check", str(file), "--json")
    assert (code, len(json.loads(out)["problems"])) == (78, 2)

    file.write_text("queue: {type: fifo}\n")
    assert answer(capsys, "config", "check") == (0, "", "workerhost: workerhost.yaml is right\n")


def test_config_schema_is_json_schema(capsys: Captured) -> None:
    _, out, _ = answer(capsys, "config", "schema")
    schema = json.loads(out)
    assert schema["additionalProperties"] is False
    assert "class" in schema["$defs"]["NodeSettings"]["properties"]


# What is shown ------------------------------------------------------------------------------------------------------


def test_a_send_line_is_made_up_from_the_source(tasks: str) -> None:
    assert examples.best(["text.length", "text.boom"], [tasks]) == "text.length text=hello"
    assert examples.best(["text.repeat"], [tasks]) == "text.repeat text=hello times:=1 upper:=true"
    assert examples.best(["video.probe"], [tasks, "absent.py", "json"]) == "video.probe"


def test_tables_fit(capsys: Captured) -> None:
    rows = [[1, "a" * 60, "b" * 60], [1000, "c", None]]
    lines = tables.table(["ID", "NAME", "NOTE"], rows, 80)

    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("  ID  NAME")
    assert lines[2].startswith("1000  c  ")
    assert lines[2].endswith("  -")
    assert tables.table(["ID"], []) == []


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0042, "4ms"), (0.9999, "1.0s"), (7.12, "7.1s"), (59.97, "1m00s"), (192, "3m12s"), (7500, "2h05m"), (None, "-")],
)
def test_spans(seconds: float | None, expected: str) -> None:
    assert tables.span(seconds) == expected


def test_status_fits_80_columns() -> None:
    host = {"name": "h" * 70, "state": "joined", "slots": 4, "running": 2, "since": 50.0, "serve": ["video"] * 20}
    reply = {
        "supervisor": {
            "address": "tcp://127.0.0.1:7470", "uptime": 3.0, "pid": 4000000, "version": "0.1.0", "durable": True,
            "durability": "full", "database": "/a/" + "long/" * 30 + "tasks.db",
        },
        "hosts": [host, {**host, "name": "b"}],
        "tasks": dict.fromkeys(["waiting", "scheduled", "queued", "running", "completed", "failed"], 10_000_000),
        "queue": {"unfinished": 40_000_000, "max_size": 1_000_000, "depth_warning": True},
        "notes": ["no host serves video.x"],
    }  # fmt: skip
    lines = views.status(reply, now=100.0)

    assert max(map(len, lines)) <= 80
    assert lines[-1] == "note: no host serves video.x"


def test_documents_hold_times_as_text_and_nothing_that_json_has_not() -> None:
    document = documents.task(
        {
            "id": 1, "type": "x", "state": "completed", "sent_at": 0.25, "params": {"sent_at": 5}, "detail": {"a": 1},
            "result": [b"ab", float("inf")], "progress": [0.5, "half", 1.0], "attempts": [{"started_at": 1.0}],
        }
    )  # fmt: skip

    assert document["sent_at"] == "1970-01-01T00:00:00.250Z"
    assert document["attempts"][0]["started_at"] == "1970-01-01T00:00:01.000Z"
    assert document["params"] == {"sent_at": 5}, "what the user sent is left as it is"
    assert document["result"] == [{"base64": "YWI="}, "inf"]
    assert document["progress"] == {"fraction": 0.5, "note": "half", "at": "1970-01-01T00:00:01.000Z"}
    assert document["error"] is None
    json.loads(documents.line(document))


def test_a_free_port_is_chosen_once_for_all() -> None:
    address = free_address("tcp://127.0.0.1:*")
    assert address.startswith("tcp://127.0.0.1:")
    assert int(address.rpartition(":")[2]) > 0
    assert free_address("tcp://127.0.0.1:7470") == "tcp://127.0.0.1:7470"
    assert free_address("ipc:///x") == "ipc:///x"
