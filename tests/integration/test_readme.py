"""The README is true: its Python runs against a real pool, its configuration loads, its commands are commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from page_runner import Reader, free_ports
from typer.main import get_command

import workerhost
from workerhost.bin.main import application
from workerhost.config.loading import check, load


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(tmp_path, free_ports())
    yield found
    found.close()


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
    command: Any = get_command(application())
    words = words[1:]
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        assert words[0] in command.commands, words
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-") and word != "--help"} <= options, words


def test_its_first_commands_do_what_it_says(reader: Reader) -> None:
    """The pool of *Three minutes*, and every command that follows it there; joining is tried by a page of docs/."""
    page = README.read_text(encoding="utf-8")
    first = page[: page.index("## Another machine")]
    (reader.folder / "tasks.py").write_text(blocks("python")[0], encoding="utf-8")
    reader.type("workerhost up tasks.py 2>up.log &")
    scripts = re.findall(r"^```sh\n(.*?)^```", first, re.MULTILINE | re.DOTALL)
    lines = [line for script in scripts for line in script.splitlines()]
    verbs = tuple(f"workerhost {verb}" for verb in ("send", "top", "why", "tail", "doctor"))
    tried: list[str] = []
    for line in lines:
        command = line.partition("#")[0].strip().replace(" ID", " 1").removesuffix(" -f")
        if command.startswith(verbs):
            tried.append(reader.type(command))
    assert tried[0].strip() == "5"
    assert len(tried) == 5
    assert all(tried)
