"""The page of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command
from writing import head, table

from workerhost.bin.main import application

_INTRODUCTION = """\
`workerhost COMMAND --help` says the same. `--address ADDRESS` (before or after the command) or `$WORKERHOST_ADDRESS`
names the pool. stdout carries data only, logs and progress go to stderr; [exit codes](exit-codes.md) tell how it ended.
"""


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
    """What stands for its value: `FILE`, `[CODE]...`."""
    name = parameter.metavar or parameter.name.upper()
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
