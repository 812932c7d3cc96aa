"""The command line: which commands there are, and what happens with an error. Each group of commands has a file.

Nothing heavy is imported before a command runs, so that `--help` and mistakes are answered at once.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import (
    authoring,
    backup,
    cache,
    doctor,
    edits,
    flows,
    keys,
    monitor,
    pool,
    reload,
    schedules,
    service,
    setup,
    start,
    tail,
    tasks,
    top,
)
from .exits import OK, report
from .options import Address


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


def main() -> None:
    """Run a command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command.

    Returns:
        Its exit code; whatever went wrong has been said on stderr.
    """
    try:
        code: Any = app(arguments, prog_name="workerhost", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
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


@app.callback()
def common(
    address: Address = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A durable pool of workers: one supervisor keeps the queue, hosts on any machine run the tasks."""


START, TASKS, POOL, SETUP = "Start", "Tasks", "Pool", "Set-up"

for panel, commands in {
    START: (start.up, start.supervisor, start.host, monitor.monitor, start.try_),
    TASKS: (
        tasks.send,
        tasks.wait,
        tasks.ls,
        tasks.show,
        tail.tail,
        tasks.why,
        edits.cancel,
        edits.retry,
        edits.delete,
        edits.priority,
        edits.move,
        flows.flows,
        flows.unblock,
        schedules.schedules,
    ),
    POOL: (
        pool.status,
        top.top,
        pool.hosts,
        pool.types,
        pool.pause,
        pool.resume,
        pool.drain,
        reload.reload,
        backup.backup,
        backup.restore,
    ),
}.items():
    for command in commands:
        app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)

app.add_typer(flows.flow, name="flow", rich_help_panel=TASKS)
app.add_typer(schedules.schedule, name="schedule", rich_help_panel=TASKS)
app.add_typer(cache.cache, name="cache", rich_help_panel=TASKS)
app.command("doctor", rich_help_panel=SETUP)(doctor.doctor)
app.command("invite", rich_help_panel=SETUP)(keys.invite)
app.add_typer(keys.keys, name="keys", rich_help_panel=SETUP)
app.add_typer(service.service, name="service", rich_help_panel=SETUP)
app.add_typer(setup.config, name="config", rich_help_panel=SETUP)
app.add_typer(authoring.new, name="new", rich_help_panel=SETUP)
app.add_typer(authoring.check, name="check", rich_help_panel=SETUP)
if find_spec(".demo", __package__):
    app.command("demo", rich_help_panel=SETUP)(setup.demo)
