"""What `doctor` finds: each fault, made as far as it can be made, is named with its place and its cure."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from workerhost.bin import doctor, doctor_machine, doctor_pool
from workerhost.bin.doctor_machine import Setup
from workerhost.bin.doctor_pool import Answers
from workerhost.bin.finding import FINE, ODD, WRONG, Finding
from workerhost.bin.main import application, run
from workerhost.config.loading import load

ADDRESS = "tcp://127.0.0.1:7470"
FREE: dict[str, Any] = {"attempts": 0, "seconds": 0.0, "causes": {}, "queued": 0, "hosts": 1, "limits": {}}
HOST: dict[str, Any] = {
    "name": "one", "state": "joined", "slots": 4, "running": 1, "silent": 0.2, "machine": "m", "types": ["a.b"],
}  # fmt: skip


def answers(nodes: dict[str, dict[str, Any]] | None = None, **given: Any) -> Answers:
    about = {"version": "1", "durable": True, "secured": "identities", "uptime": 5.0, "database": "t.db"}
    about |= given.pop("about", {})
    status = {"supervisor": about, "tasks": given.pop("tasks", {}), "queue": given.pop("queue", {"max_size": 10})}
    snapshot = {"pool": {"attempts": 100}, "nodes": {name: {**FREE, **node} for name, node in (nodes or {}).items()}}
    return Answers(ADDRESS, "1", status, snapshot, given.pop("types", []), given.pop("hosts", [HOST]), **given)


def bad(found: Answers) -> list[Finding]:
    return [one for check in doctor_pool.CHECKS.values() for one in check(found) if one.level != FINE]


def test_of_a_pool_that_is_well_nothing_is_said_but_that() -> None:
    assert bad(answers({"a": {"queued": 3}, "a.b": {"queued": 3, "attempts": 100, "causes": {"exception": 5}}})) == []


TIMED = load({"workers": {"a.b": {"timeout": 60}}}).found_in(Path("workerhost.yaml"), Path())


TWO = {**HOST, "name": "two"}


def test_a_lost_host_whose_name_another_process_has_is_no_finding() -> None:
    found = list(doctor_pool.CHECKS["hosts"](answers(hosts=[{**HOST}, {**HOST, "state": "lost", "silent": 9}])))
    assert [(finding.level, finding.what) for finding in found] == [(FINE, "1 host joined, 1 of 4 slots are busy")]


FAULTS: list[tuple[Answers, str, str, str, str, str]] = [
    (answers(about={"version": "0"}), "supervisor", ODD, ADDRESS, "is version 0", "pip install"),
    (answers(about={"secured": "insecure"}), "supervisor", WRONG, ADDRESS, "may do everything", "--network"),
    (answers(about={"durable": False}), "supervisor", ODD, ADDRESS, "in memory", "persistence: sqlite"),
    (answers(clock=-90.0), "clock", WRONG, ADDRESS, "1m30s behind", "timedatectl"),
    (answers(queue={"disk_low": True}), "room", WRONG, "t.db", "almost full", "free"),
    (answers(queue={"unfinished": 9, "max_size": 10}), "room", ODD, "the queue", "9 unfinished", "max_size"),
    (answers(queue={"unfinished": 10, "max_size": 10}), "room", WRONG, "the queue", "10 unfinished", "hosts"),
    (answers(hosts=[]), "hosts", WRONG, ADDRESS, "no host has joined", f"workerhost host --join {ADDRESS} CODE"),
    (
        answers(hosts=[{**HOST, "state": "suspect", "silent": 9}]),
        "hosts", WRONG, "one", "last heard 9.0s ago", "reaches",
    ),
    (answers(hosts=[{**HOST, "state": "lost", "silent": 9}]), "hosts", WRONG, "one", "is lost", "reaches"),
    (answers(hosts=[TWO, {**HOST, "state": "lost", "silent": 9}]), "hosts", ODD, "one", "lost", ""),
    (answers(hosts=[{**HOST, "state": "draining"}]), "hosts", ODD, "one", "drains", "workerhost drain one --undo"),
    (answers(hosts=[{**HOST, "failed": {"x.y": "no av"}}]), "broken", WRONG, "one", "x.y: no av", "reload"),
    (
        answers(hosts=[{**HOST, "types": [], "start_failed": {"": "no libcuda"}}]),
        "broken", WRONG, "one", "cannot start its slots: no libcuda", "tries again by itself",
    ),
    (answers(hosts=[{**HOST, "levels": {"v": ["failed", "no key"]}}]), "broken", WRONG, "one", "no key", "reload"),
    (answers(types=[{"type": "a", "code": {"1": ["x"], "2": ["y"]}}]), "broken", ODD, "a", "1 on x; 2 on y", "rel"),
    (answers({"a.b": {"queued": 1, "hosts": 0}}), "served", WRONG, "a.b", "1 task waits", "workerhost host --join"),
    (answers(hosts=[{**HOST, "types": []}]), "served", ODD, "one", "serves no type", "workerhost host"),
    (
        answers({"a": {"limits": {"paused": {"until": None, "reason": "by hand"}}}}),
        "stopped", ODD, "a", "is paused (by hand), nothing waits", "workerhost resume a",
    ),
    (
        answers({"a": {"limits": {"breaker": "open"}, "queued": 2000}}),
        "stopped", WRONG, "a", "2,000 tasks wait", "workerhost ls --state failed --type a",
    ),
    (
        answers(stuck=[{"id": 7, "type": "a.b", "reasons": [{"text": "every slot is broken"}]}]),
        "claiming", WRONG, "a.b", "every slot is broken", "workerhost why 7",
    ),
    (
        answers({"a.b": {"attempts": 100, "causes": {"exception": 4, "crash": 2, "timeout": 5}}}),
        "failing", WRONG, "a.b", "6% of 100 attempts failed, mostly by exception", "workerhost ls --state failed",
    ),
    (
        answers({"a.b": {"attempts": 100, "causes": {"timeout": 6}}}, settings=TIMED),
        "timeouts", WRONG, "a.b", "6 of 100 attempts ran into the timeout of 1m00s", "{a.b: {timeout: 120s}}",
    ),
    (
        answers({"a.b": {"attempts": 20, "seconds": 1000.0}}, settings=TIMED),
        "timeouts", ODD, "a.b", "takes 50.0s on average, close to the timeout of 1m00s", "timeout: 120s",
    ),
    (answers(tasks={"quarantined": 2}), "quarantined", WRONG, "the queue", "2 tasks", "retry --state quarantined"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "check", "level", "where", "words", "cure"), FAULTS)
def test_each_fault_is_found_once_with_its_place_and_its_cure(
    found: Answers, check: str, level: str, where: str, words: str, cure: str
) -> None:
    (one,) = bad(found)
    assert (one.check, one.level, one.where) == (check, level, where)
    assert words in one.what
    assert cure in one.cure


def test_every_command_of_a_cure_is_one() -> None:
    known: Any = get_command(application())
    cures = {finding.cure.replace(" there;", ";") for found, *_ in FAULTS for finding in bad(found)}
    commands = {text.strip() for cure in cures for text in re.findall(r"\bworkerhost ([^,;]+)", cure)}
    assert {"reload one", "drain one --undo", "why 7"} <= commands
    for text in commands:
        command, words = known, ["1" if word == "ID" else word for word in text.split()]
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context("workerhost", words)  # raises about what cannot be understood


def test_a_host_is_silent_when_the_pool_says_so() -> None:
    assert bad(answers(hosts=[{**HOST, "silent": 7}])) == [], "its heartbeat may be every 10 s"


def test_where_there_is_no_file_nobody_knows_the_timeouts_of_the_pool() -> None:
    late = {"a.b": {"attempts": 100, "causes": {"timeout": 6}, "seconds": 100 * 299.0}}
    (one,) = bad(answers(late, settings=load({})))
    assert one.what == "6 of 100 attempts ran into the timeout"
    assert one.cure.startswith("raise workers.a.b.timeout where the supervisor reads its file, ")
    assert bad(answers({"a.b": {"attempts": 100, "seconds": 100 * 299.0}}, settings=load({}))) == []


def test_few_attempts_tell_no_rate() -> None:
    assert bad(answers({"a.b": {"attempts": 3, "causes": {"exception": 3}}})) == []


# The machine --------------------------------------------------------------------------------------------------------


def always(value: Any) -> Callable[..., Any]:
    """What the machine says, whatever it is asked."""

    def said(*_asked: Any) -> Any:
        return value

    return said


def setup(folder: Path, text: str | None = None, **environ: str) -> Setup:
    source = None
    if text is not None:
        source = folder / "workerhost.yaml"
        source.write_text(text)
    settings = load(source)
    return Setup(source, settings, [], "tcp://127.0.0.1:1", False, {"WORKERHOST_HOME": str(folder / "home"), **environ})


def test_what_is_installed_fits() -> None:
    (found,) = doctor_machine.installed(setup(Path("/nowhere")))
    assert found.level == FINE
    assert "all packages fit" in found.what


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["msgpack>=999", "surely-not-there>=1", "av>=16; extra == 'media'", "rich>=1"]
    monkeypatch.setattr(doctor_machine.metadata, "requires", always(needs))
    found = list(doctor_machine.installed(setup(Path("/nowhere"))))
    assert [(one.level, one.where) for one in found] == [(WRONG, "msgpack"), (WRONG, "surely-not-there")]
    assert found[0].cure.endswith("-m pip install 'msgpack>=999'")


def test_a_class_that_cannot_be_imported_is_named_with_its_line(tmp_path: Path) -> None:
    (found,) = doctor_machine.imports(setup(tmp_path, "workers:\n  a.b:\n    class: 'nothing.here:X'\n"))
    assert found.level == WRONG
    assert "workerhost.yaml:3" in found.what
    assert "No module named 'nothing'" in found.what


def test_secrets_that_others_can_read_are_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "supervisor.json").write_text("{}")
    (home / "supervisor.json").chmod(0o644)
    (found,) = doctor_machine.keys(setup(tmp_path))
    assert (found.level, found.cure) == (WRONG, f"chmod 600 {home / 'supervisor.json'}")


def test_a_database_whose_folder_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    (found,) = doctor_machine.database(setup(tmp_path, f"queue: {{database: {tmp_path}/absent/t.db}}"))
    assert (found.level, found.cure) == (WRONG, f"mkdir -p {tmp_path}/absent")
    (tmp_path / "link.db").symlink_to("elsewhere/t.db")
    (found,) = doctor_machine.database(setup(tmp_path, f"queue: {{database: {tmp_path}/link.db}}"))
    assert (found.level, found.cure) == (WRONG, f"mkdir -p {tmp_path}/elsewhere"), "where the link leads"
    (tmp_path / "link.db").unlink()
    (found,) = doctor_machine.database(setup(tmp_path, f"queue: {{database: {tmp_path}/t.db}}"))
    assert found.level in (FINE, ODD), "a slow disk is odd"
    assert [file.name for file in tmp_path.iterdir()] == ["workerhost.yaml"], "nothing is left behind"


def test_a_network_file_system_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workerhost.actors.stores import file_system

    wanted = setup(tmp_path, f"queue: {{database: {tmp_path}/t.db}}")
    device, mounts = tmp_path.stat().st_dev, tmp_path / "mountinfo"
    mounts.write_text(f"22 1 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - nfs4 server:/b rw\n")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(file_system, "network_file_system", partial(file_system.network_file_system, mounts=mounts))
        (found,) = doctor_machine.database(wanted)
    assert found.level == WRONG
    assert "(nfs4)" in found.what
    monkeypatch.setattr(shutil, "disk_usage", always(shutil.disk_usage(tmp_path)._replace(total=1 << 40, free=1 << 20)))
    found = next(iter(doctor_machine.database(wanted)))
    assert (found.level, found.what) == (WRONG, "its disk has 1 MiB left; below 64 MiB no new task is taken")


def test_a_slow_disk_is_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def slow(file: int) -> None:
        time.sleep(2 * doctor_machine.FSYNC_SECONDS_MAX)  # sleeps: the disk is a slow one
        sync(file)

    monkeypatch.setattr(os, "fsync", slow)
    (found,) = doctor_machine.database(setup(tmp_path, f"queue: {{database: {tmp_path}/t.db}}"))
    assert found.level == ODD
    assert re.match(r"its disk takes [4-9]\d+ ms to make a commit safe, so \d+ commits a second", found.what)


def test_a_port_that_another_program_has_is_named_with_the_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        wanted = replace(setup(tmp_path), address=address)
        (found,) = doctor_machine.port(wanted)
        assert (found.level, found.where) == (WRONG, address)
        assert f"(process {os.getpid()})" in found.what
        assert list(doctor_machine.port(replace(wanted, answered=True))) == [], "a supervisor may have it"
    assert list(doctor_machine.port(wanted)) == []


def test_without_a_pool_the_rest_is_looked_at_and_the_exit_code_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKERHOST_HOME", str(tmp_path / "home"))
    (tmp_path / "workerhost.yaml").write_text("quue: {}\n")

    assert run(["doctor", "--address", "tcp://127.0.0.1:9", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    wrong = {one["check"]: one for one in found["findings"] if one["level"] == WRONG}
    assert sorted(wrong) == ["configuration", "pool"]
    assert "quue" in wrong["configuration"]["what"]
    assert wrong["pool"]["cure"] == "start one with: workerhost up"
    assert found["wrong"] == 2


def test_for_a_person_the_cure_stands_on_a_line_of_its_own() -> None:
    finding = Finding("x", WRONG, "it is broken " * 9, "here", "workerhost cure " + "x" * 80)
    lines = finding.lines()
    assert lines[0].startswith("WRONG   here: it is broken")
    assert lines[-1] == "        -> workerhost cure " + "x" * 80
    assert doctor.doctor.__doc__
