"""The README is true: its Python runs against a real pool, its configuration loads, its commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import workerhost
from workerhost.bin.main import app
from workerhost.config.loading import check, load

README = Path(workerhost.__file__).parent / "README.md"
PROGRAMS = ("workerhost", "bin/workerhost")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    function, client, shorts, embedded, expected = blocks("python")
    names: dict[str, Any] = {"__name__": "tasks"}
    exec(function, names)
    exec(shorts, names)
    with workerhost.WorkerHost(
        {"pool": {"bind": "tcp://127.0.0.1:0"}}, workers=[names["length"], names["Shorts"]]
    ) as pool:
        monkeypatch.setenv("WORKERHOST_ADDRESS", pool.address)
        exec(client, names)
        names["client"].close()
        exec(expected, names)
        done = pool.client.send("video.youtube.shorts", {"urls": ["a", "b"]}).result(timeout=30)
        with pytest.raises(workerhost.TaskFailed, match="no urls"):
            pool.client.send("video.youtube.shorts", {}).result(timeout=30)
    exec(embedded, names)
    assert done == {"fetched": 2}
    assert capsys.readouterr().out.splitlines().count("5") == 2


def test_its_configuration_loads() -> None:
    (text,) = blocks("yaml")
    document = yaml.safe_load(text)
    assert check(document) == []
    assert load(document).policies().effective("video.youtube.channel").timeout == 600.0


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    prose = list(re.findall(r"`(workerhost [^`]+)`", README.read_text(encoding="utf-8")))
    words = [shlex.split(line, comments=True) for line in (*lines, *prose)]
    return [line for line in words if line and line[0] in PROGRAMS]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_its_commands_are_commands(words: list[str]) -> None:
    """Each command is there, and so is each of its options."""
    command: Any = get_command(app)
    words = words[1:]
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        assert words[0] in command.commands, words
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-") and word != "--help"} <= options, words
