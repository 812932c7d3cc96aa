"""The page of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from typer.main import get_command
from writing import head, table

from workerhost.bin.main import application

_INTRODUCTION = """\
`workerhost COMMAND --help` says the same. stdout carries data only, logs and progress go to stderr;
[exit codes](exit-codes.md) tell how it ended.

Which pool is meant says `--address` (before or after the command), else `$WORKERHOST_ADDRESS`, else it is
`tcp://127.0.0.1:7470`. For `up`, `supervisor`, `host`, `monitor` and `doctor` the configuration comes before the
variable: `host.join` (`host` and `doctor`), else `pool.bind`. `--bind` of a supervisor and `--join` of a host come
before all.

An invitation may stand in the place of an address, but not where a program listens. `invite --address HOST:PORT` means
another thing: how other machines reach the supervisor; which pool is asked stands before the command there
(`workerhost --address ADDRESS invite`). [Below](#environment) is all that the environment says.
"""
_ENVIRONMENT = (
    ("WORKERHOST_ADDRESS", "commands, `Client`, `AsyncClient`", "The pool, see above."),
    (
        "WORKERHOST_CONFIG",
        "commands with `--config`",
        "The configuration's file, where none is named; else `./workerhost.yaml`.",
    ),
    (
        "WORKERHOST__SECTION__KEY",
        "the same",
        "Overrides a key of the configuration: `WORKERHOST__QUEUE__MAX_SIZE=1000` is `queue: {max_size: 1000}`.",
    ),
    (
        "WORKERHOST_HOME",
        "commands, `Client`, `AsyncClient`",
        "The folder of identities, of the dashboard's token and of what a monitor keeps; else `~/.workerhost`.",
    ),
    ("WORKERHOST_SECRET_name", "slots", 'What `{"$secret": "name"}` in params stands for.'),
    ("WORKERHOST_SECRETS", "slots", "A folder with a file for each secret that no variable holds."),
    (
        "YOUTUBE_API_KEY, SPOTIFY_CLIENT_ID, SPOTIFY_CLIENT_SECRET",
        "slots",
        "What the [YouTube and Spotify workers](../workers.md) need; with `_FILE` behind it, a file that holds it.",
    ),
)
"""(names, who reads them, what they say)."""


def command_line() -> str:
    """The whole page."""
    top: Any = get_command(application())
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, command in top.commands.items():
        groups.setdefault(str(getattr(command, "rich_help_panel", "") or "Others"), []).append((name, command))
    parts = [head("Command line", _INTRODUCTION)]
    for group, commands in groups.items():
        parts.append(f"## {group}\n")
        for name, command in commands:
            parts += _described(f"workerhost {name}", command)
    rows = [(f"`{names.replace(', ', '`, `')}`", who, what) for names, who, what in _ENVIRONMENT]
    parts += ["## Environment\n", table(("variable", "who reads it", "what it says"), rows)]
    return "\n".join(parts)


def _described(name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for below, each in command.commands.items():
            yield from _described(f"{name} {below}", each)
        return
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = [name, "[OPTIONS]" if options else "", *map(_metavar, arguments)]
    yield f"### {name}\n"
    yield f"```text\n{' '.join(filter(None, words))}\n```\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    rows = [row for parameter in (*arguments, *options) if (row := _row(parameter))]
    if rows:
        yield table(("option", "what it does"), rows)


def _metavar(parameter: Any) -> str:
    """What stands for its value: `FILE`, `<cancel|run|wait>`, `[CODE]...`."""
    words = type(parameter.default) if isinstance(parameter.default, StrEnum) else ()
    name = parameter.metavar or (f"<{'|'.join(words)}>" if words else parameter.name.upper())
    if parameter.param_type_name == "argument":
        name = name if parameter.required else f"[{name}]"
        return f"{name}..." if parameter.nargs == -1 else name
    return name


def _row(parameter: Any) -> tuple[str, str] | None:
    if "--help" in parameter.opts or getattr(parameter, "hidden", False):
        return None
    help = parameter.help or ""
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`", help
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    metavar = "" if parameter.is_flag else f" {_metavar(parameter)}"
    default = parameter.default
    if parameter.show_default and not parameter.is_flag and isinstance(default, str | int | float):
        help = f"{help} Default: `{default}`."
    return f"`{names}{metavar}`", help
