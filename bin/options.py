"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..config.schema import Settings
    from ..transport.client import Client

PATIENCE_SECONDS = 2.0
"""How long a command waits for an absent pool: the user sees an answer within three seconds."""

Address = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="The pool; default $WORKERHOST_ADDRESS.")
]
ConfiguredAddress = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="The pool; default: that of the configuration, else $WORKERHOST_ADDRESS."
    ),
]
Reload = Annotated[
    bool, typer.Option("--reload", help="Watch the files of the code, and serve new code when they change.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")]
Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Default: $WORKERHOST_CONFIG, else ./workerhost.yaml."),
]
Codes = Annotated[list[str] | None, typer.Argument(metavar="CODE", help="tasks.py, my.module or my.module:Class.")]
Slots = Annotated[
    str | None, typer.Option("--slots", metavar="N|TYPE=N,..", help="Tasks at a time; default one per processor.")
]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(metavar="key=value", help="A text; key:=JSON is typed, key=@file is a file's text."),
]
Parent = Annotated[int | None, typer.Option("--parent", hidden=True, help="Process with which this one ends.")]


def _writable(path: Path | None) -> Path | None:
    if path is not None:
        try:
            path.open("ab").close()
        except OSError as error:
            raise typer.BadParameter(f"{path} cannot be written ({error.strerror}); name another file") from None
    return path


Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        callback=_writable,
        help="Write a profile of its main loop there when it ends, for `python -m pstats FILE`.",
    ),
]


@contextmanager
def pool(context: typer.Context, address: str | None, patience: float = PATIENCE_SECONDS) -> Generator[Client]:
    """A client of the pool that was named, before or after the command, or by the environment."""
    from ..transport.client import Client

    with Client(chosen(context, address), timeout=patience) as client:
        yield client


def chosen(context: typer.Context, address: str | None) -> str | None:
    """The address that the command line names, if it names one."""
    before: Any = context.find_root().params.get("address")
    return address or before


def pool_address(settings: Settings) -> str:
    """Where the pool is, whose address no command line names: what the file writes as `pool.bind`, else
    `$WORKERHOST_ADDRESS`, else the default.
    """
    import os

    if "bind" in settings.pool.model_fields_set:
        return settings.pool.bind
    return os.environ.get("WORKERHOST_ADDRESS") or settings.pool.bind


def listening_address(named: str | None, settings: Settings) -> str:
    """Where to listen: what the command line names, else `pool_address`.

    Raises:
        UsageError: That is an invitation.
    """
    from ..transport.invitations import is_invitation
    from .exits import UsageError

    where = named or pool_address(settings)
    if is_invitation(where):  # which is not repeated: who has it may join
        cure = "name one with --address, in pool.bind or in WORKERHOST_ADDRESS: tcp://127.0.0.1:7470"
        message = f"an invitation leads to a pool that runs elsewhere, and is no address to listen at; {cure}"
        raise UsageError(message)
    return where


def settings_of(config: Path | None, *, quiet: bool = False) -> Settings:
    """The configuration, and (unless `quiet`) a line on stderr that says which file it is.

    Raises:
        ConfigError: It is wrong.
    """
    import os

    from ..config.loading import load
    from .exits import say

    settings = load(config, os.environ)
    if settings.source is not None and not quiet:
        say(f"configuration: {settings.source}")
    return settings


def again(config: Path | None) -> Settings | list[str]:
    """The configuration as it is by now, or all that is wrong with it, a line each."""
    import os

    from ..config.loading import examine

    try:
        return examine(config, os.environ)
    except Exception as error:  # whatever it is, what runs goes on as it was
        return [f"the configuration cannot be read: {error!r}"]
