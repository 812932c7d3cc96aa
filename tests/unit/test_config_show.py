"""`config show`: what it says of a type is what a host with this file does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from workerhost.bin.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of the folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKERHOST_CONFIG", raising=False)
    return tmp_path / "workerhost.yaml"


def said(capsys: Captured, *arguments: str) -> str:
    assert run(["config", "show", *arguments]) == 0
    return capsys.readouterr().out


def settings_of(capsys: Captured, type: str) -> dict[str, tuple[Any, str]]:
    """What is said of a type: {setting: (value, where it is from)}."""
    settings: dict[str, Any] = json.loads(said(capsys, type, "--json"))["settings"]
    return {name: (row["value"], row["from"]) for name, row in settings.items()}


def test_config_show_is_a_configuration(file: Path, capsys: Captured) -> None:
    file.write_text("workers: {video.youtube: {timeout: 1m}}\n")
    out = said(capsys)
    assert "timeout: 60.0" in out

    file.write_text(out)
    assert said(capsys) == out


def test_what_is_shown_of_a_type_tells_where_settings_come_from(file: Path, capsys: Captured) -> None:
    file.write_text("defaults: {crash_limit: 9}\nworkers: {video: {timeout: 1m, cut_off: stop, class: 'a:B'}}\n")
    settings = settings_of(capsys, "video.youtube")

    assert settings["timeout"] == (60.0, "video")
    assert settings["cut_off"] == ("stop", "video")
    assert settings["class"] == ("a:B", "video")
    assert settings["crash_limit"] == (9, "defaults")
    assert settings["retry.base"] == (1.0, "built in")
    assert re.search(r"crash_limit +9 +defaults", said(capsys, "video.youtube"))


def test_what_a_host_must_offer_comes_from_several_nodes(file: Path, capsys: Captured) -> None:
    file.write_text("{defaults: {requires: {zone: eu}}, workers: {video: {requires: {gpu: 1}}}}")
    settings = settings_of(capsys, "video.youtube")

    assert (settings["requires.zone"], settings["requires.gpu"]) == (("eu", "defaults"), (1, "video"))
    assert "requires" not in settings


def test_what_runs_a_type_and_in_what_is_what_a_host_with_this_file_does(file: Path, capsys: Captured) -> None:
    file.write_text("""
        defaults: {isolation: thread}
        workers:
          video: {class: "a:B", python: ./envs/x, concurrency: 4, isolation: process}
          video.youtube: {isolation: command, command: [cat, x]}
          video.other: {python: ./envs/y}
    """)
    below = settings_of(capsys, "video.x")
    assert (below["class"], below["python"]) == (("a:B", "video"), (f"{file.parent}/envs/x", "video"))
    assert (below["concurrency"], below["isolation"]) == ((4, "video"), ("process", "video"))
    other = settings_of(capsys, "video.other")
    assert (other["concurrency"], other["python"]) == ((4, "video"), (f"{file.parent}/envs/y", "video.other"))
    assert other["class"] == (None, "built in"), "that of `video` lives in another environment"
    audio = settings_of(capsys, "audio")
    assert (audio["isolation"], audio["python"]) == (("thread", "defaults"), (None, "built in"))


def test_a_command_runs_its_own_type_and_nothing_below_it(file: Path, capsys: Captured) -> None:
    file.write_text("""
        defaults: {concurrency: 2}
        workers:
          video: {class: "a:B", python: ./envs/x, isolation: thread}
          video.youtube: {isolation: command, command: [cat, x]}
    """)
    own = settings_of(capsys, "video.youtube")
    assert (own["command"], own["isolation"]) == ((["cat", "x"], "video.youtube"), ("command", "video.youtube"))
    assert own["cwd"] == (str(file.parent), "video.youtube")
    assert not own.keys() & {"class", "python", "concurrency"}, "it names its own interpreter"

    below = settings_of(capsys, "video.youtube.channel")
    assert (below["isolation"], below["concurrency"]) == (("process", "built in"), (1, "built in"))
    assert (below["class"], below["python"]) == ((None, "built in"), (None, "built in"))
    assert not below.keys() & {"command", "cwd"}


@pytest.mark.parametrize(
    ("text", "isolation"),
    [
        ("{}", ("process", "built in")),
        ("{defaults: {isolation: thread}}", ("thread", "defaults")),
        ("{host: {isolation: thread}, defaults: {isolation: process}}", ("thread", "host")),
        ("{host: {isolation: thread}, workers: {video: {isolation: thread}}}", ("thread", "video")),
    ],
)
def test_the_isolation_is_that_of_the_node_then_of_the_host(
    text: str, isolation: tuple[str, str], file: Path, capsys: Captured
) -> None:
    file.write_text(text)
    assert settings_of(capsys, "video.youtube")["isolation"] == isolation
