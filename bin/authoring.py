"""Commands for a worker's author: `check worker` and `new worker`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments
from .exits import FAILED, OK, UsageError
from .options import Json

Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where to; default: here.")]

check = typer.Typer(help="Check that a program keeps the protocol.", no_args_is_help=True, rich_markup_mode=None)
new = typer.Typer(help="Begin something new.", no_args_is_help=True, rich_markup_mode=None)


@check.callback()
def checks() -> None:
    """Check that a program keeps the protocol."""


@new.callback()
def beginnings() -> None:
    """Begin something new."""


@check.command("worker", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def check_worker(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="A program and its arguments.")],
    type: Annotated[str, typer.Option("--type", metavar="TYPE", help="A type that it runs.")] = "text.length",
    params: Annotated[
        str, typer.Option("--params", metavar="JSON", help="Params of that type with which a task succeeds.")
    ] = '{"text": "hello"}',
    timeout: Annotated[str, typer.Option("--timeout", metavar="T", help="How long one run may take.")] = "30s",
    as_json: Json = False,
) -> None:
    """Run a program of `isolation: command` on good and bad tasks, and say where it does not keep the protocol."""
    from .check import conforms, show

    seconds = arguments.duration(timeout, "--timeout") or 0.0
    findings = conforms(command, arguments.type_path(type, "--type"), arguments.params((), params), seconds)
    show(command, findings, as_json)
    raise typer.Exit(FAILED if any(finding.violations for finding in findings) else OK)


@new.command("worker")
def new_worker(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as video.youtube.shorts.")],
    folder: Folder = Path(),
    form: Annotated[
        str, typer.Option("--as", metavar="FORM", help="class, function, or a program in python, node or bash.")
    ] = "class",
) -> None:
    """Write a worker, its entry in workerhost.yaml and its test. Nothing that is there is overwritten."""
    from .new import FORMS, begin_worker

    if form not in FORMS:
        message = f"--as {form!r} is no form of a worker: {', '.join(FORMS)}"
        raise UsageError(message)
    begin_worker(arguments.type_path(type, "TYPE"), folder, form)


@new.command("project")
def new_project(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; default: here.")] = Path(),
) -> None:
    """Write a project for two machines: workers, tests, configuration. Nothing is overwritten."""
    from .new import begin_project

    begin_project(folder)
