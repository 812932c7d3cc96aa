"""Commands that copy a pool's database and put a copy in its place: `backup`, `restore`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import documents, options
from .exits import say
from .options import Address, Config, Json

if TYPE_CHECKING:
    from ..transport.client import Client

COPY_SECONDS = 24 * 3600.0
"""What a copy may take."""

GLANCE_SECONDS = 0.5
"""Between two looks at how far it is."""


def backup(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file on the supervisor's machine; relative: from here.")
    ],
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Copy the queue's database into a new file while the pool works."""
    with options.pool(context, address) as client:
        client.status()  # an absent pool is told soon; the copy itself may take long
        found = _copy(client, str(file.absolute()))
    if as_json:
        documents.show(found)
    else:
        say(f"{found['path']} holds everything that was accepted until now; workerhost restore puts it in place")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    database: Annotated[
        Path | None, typer.Option("--database", metavar="FILE", help="What it replaces; default: as configured.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put a backup in the database's place. The supervisor must be stopped; hosts may work on."""
    from ..actors.stores.restore import restore as put
    from ..workers.errors import ConfigError

    path = database or options.settings_of(config).database()
    if path is None:
        raise ConfigError("queue.persistence: memory keeps no database; name one with --database FILE")
    say(f"checking {file}, then it replaces {path}")
    restored = put(file, path)
    if as_json:
        kept = str(restored.kept) if restored.kept else None
        documents.show({"database": str(path), "unfinished": restored.unfinished, "kept": kept})
        return
    say(f"{path} is as it was when {file} was made, with {restored.unfinished} unfinished tasks")
    if restored.revoked:
        say(f"{restored.revoked} keys that were revoked after the backup stay revoked; see: workerhost keys list")
    say("no invitation is open any more; make new ones with: workerhost invite")
    if restored.kept is not None:
        say(f"what it replaced is kept as {restored.kept}")


def _copy(client: Client, path: str) -> dict[str, Any]:
    """Ask for the copy and show how far it is, on another connection: the first waits for the answer."""
    from ..transport.client import Client as Waiting
    from ..workers.errors import WorkerHostError

    ended: list[dict[str, Any] | BaseException] = []
    done = threading.Event()

    def wait() -> None:
        try:
            with Waiting(client.address, timeout=COPY_SECONDS) as waiting:
                ended.append(waiting.backup(path))
        except BaseException as error:  # raised again below, in the thread that may end the process
            ended.append(error)
        done.set()

    threading.Thread(target=wait, name="backup", daemon=True).start()
    told = -1
    while not done.wait(GLANCE_SECONDS):
        try:
            going: dict[str, Any] | None = client.status()["supervisor"].get("backup")
        except WorkerHostError:  # the supervisor is being restarted: the waiting client asks again
            continue
        if going and (percent := int(100 * going["copied"])) > told:
            told = percent
            say(f"{percent} % copied")
    (end,) = ended
    if isinstance(end, BaseException):
        raise end
    return end
