"""`isolation: command` in a configuration: what it may say, and who gets to hear of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workerhost import ConfigError
from workerhost.config.loading import load
from workerhost.config.policy import Policy
from workerhost.workers.source import Source

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration."""

    def written(text: str) -> Path:
        file = tmp_path / "workerhost.yaml"
        file.write_text(text)
        return file

    return written


def complaint(source: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load(source)
    return str(refused.value)


def test_a_command_is_what_this_host_runs_and_nothing_that_is_told(write: Write, tmp_path: Path) -> None:
    text = """\
workers:
  video.youtube.report: {isolation: command, command: [./envs/old/bin/python, report.py, ./x], cwd: below, timeout: 5}
  video.youtube.list: {isolation: command, command: [node, list.js]}
  video.youtube: {class: "my.video:Video"}
"""
    settings = load(write(text))
    assert settings.sources() == {
        "video.youtube.report": Source(
            command=(f"{tmp_path}/envs/old/bin/python", "report.py", "./x"), folder=f"{tmp_path}/below"
        ),
        "video.youtube.list": Source(command=("node", "list.js"), folder=str(tmp_path)),
        "video.youtube": Source("my.video:Video"),
    }
    tree = settings.policies()
    assert tree.effective("video.youtube.report") == Policy(timeout=5.0, isolation="command")
    assert not any({"command", "cwd"} & node.keys() for node in tree.nodes.values())
    assert load(settings.document()).sources() == settings.sources()


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            "{isolation: command}",
            "isolation is `command`, but there is no `command:`; add command: [program,",
        ),
        ("{command: [a]}", "command needs `isolation: command` beside it"),
        ("{isolation: process, command: [a]}", "command needs `isolation: command` beside it"),
        ("{isolation: command, command: [a], class: 'b:C'}", "command and `class` exclude each other; remove one"),
        ("{cwd: here}", "cwd goes with `command:`; add it, or remove this"),
        ("{isolation: command, command: a b}", 'command "a b" is not a command; write a list of texts: ['),
        ("{isolation: command, command: []}", "command [] is not a command; write a list of texts"),
        ("{isolation: command, command: [a, 5]}", 'command ["a", 5] is not a command; write a list of texts'),
        ('{isolation: command, command: [""]}', 'command [""] is not a command; write a list of texts'),
        ("{isolation: comand, command: [a]}", '"comand" is not supported; use process, thread or command'),
    ],
)
def test_a_command_that_cannot_be_is_refused(write: Write, node: str, expected: str) -> None:
    assert expected in complaint(write(f"workers:\n  a: {node}\n"))


def test_a_command_is_of_one_type(write: Write) -> None:
    expected = "defaults.isolation is `command`, which goes with the `command:` of a type; set it there"
    assert expected in complaint(write("defaults: {isolation: command}\n"))
