"""The command line: which commands there are, and what happens with an error. Each group of commands has a file.

Nothing heavy is imported before a command runs, so that `--help` and mistakes are answered at once; and of the files of
commands only the one that is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from .exits import OK, report
from .options import Address
from .streams import open_streams


class Grouped(TyperGroup):
    """Lists the commands by group, in plain text: rich's panels would cost `--help` a third of a second."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- the base class's signature
        """Write a section for each group, in the order in which they were added."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            words = " ".join((command.help or "").split("\n\n")[0].split())
            groups.setdefault(str(getattr(command, "rich_help_panel", "")), []).append((name, words))
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


def main() -> None:
    """Run a command and end the process with its exit code."""
    open_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command.

    Returns:
        Its exit code; whatever went wrong has been said on stderr.
    """
    stdout: Any = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # a terminal that does not know a character shows its number
    try:
        code: Any = application(_named(arguments))(arguments, prog_name="workerhost", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer says 1 of it: here that is a task which failed
            return report(end.__context__)
        return end.code if isinstance(end.code, int) else OK
    except typer.Abort:  # what typer makes of Ctrl-C
        return report(KeyboardInterrupt())
    except BaseException as error:  # a bug too must end as a line and a code
        shown: Any = getattr(error, "show", None)  # a usage error shows itself
        if shown is None:
            return report(error)
        shown()
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else OK


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"workerhost {__version__}")
        raise typer.Exit


def common(
    address: Address = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A durable pool of workers: one supervisor keeps the queue, hosts on any machine run the tasks."""


START, TASKS, POOL, SETUP = "Start", "Tasks", "Pool", "Set-up"

_COMMANDS: Final = {
    START: (
        ("start", ("up", "supervisor", "host")),
        ("monitor", ("monitor",)),
        ("start", ("try",)),
    ),
    TASKS: (
        ("tasks", ("send", "wait", "ls", "show")),
        ("tail", ("tail",)),
        ("tasks", ("why",)),
        ("edits", ("cancel", "retry", "delete", "priority", "move")),
        ("flows", ("flows", "unblock")),
        ("schedules", ("schedules",)),
        ("flows", ("flow",)),
        ("schedules", ("schedule",)),
        ("cache", ("cache",)),
    ),
    POOL: (
        ("pool", ("status",)),
        ("top", ("top",)),
        ("pool", ("hosts", "types", "pause", "resume", "drain")),
        ("reload", ("reload",)),
        ("backup", ("backup", "restore")),
    ),
    SETUP: (
        ("doctor", ("doctor",)),
        ("keys", ("invite", "keys")),
        ("service", ("service",)),
        ("setup", ("config",)),
        ("authoring", ("new", "check")),
        ("setup", ("demo",)),
    ),
}
"""Panel -> (file, its commands), in the order in which `--help` lists them."""


def _all_commands() -> Iterable[tuple[str, str, str]]:
    """(name, file, panel) of each."""
    for panel, files in _COMMANDS.items():
        for file, names in files:
            for name in names:
                if name != "demo" or find_spec(".demo", __package__):
                    yield name, file, panel


def application(named: str | None = None) -> typer.Typer:
    """The command line with all its commands, or with the one that is named."""
    app = typer.Typer(
        name="workerhost",
        cls=Grouped,
        help="A durable pool of workers: one supervisor keeps the queue, hosts on any machine run the tasks.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(common)
    for name, file, panel in _all_commands():
        if named in (None, name):
            module = import_module(f".{file}", __package__)
            found: Any = getattr(module, f"{name}_" if name == "try" else name)  # `try` is a word of Python's
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(found)
    return app


def _named(arguments: Sequence[str]) -> str | None:
    """The command that a command line names, if that can be told; else every command has to be known."""
    words = iter(arguments)
    for word in words:
        if word == "--address":
            next(words, None)
        elif not word.startswith("--address="):
            return word if any(word == name for name, _, _ in _all_commands()) else None
    return None
