"""`doctor`: looks at everything that can be wrong with a set-up, and names the cure of each finding."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from . import documents, options
from .exits import FAILED, OK, say
from .finding import ODD, WRONG, Finding
from .options import Config, ConfiguredAddress, Json

if TYPE_CHECKING:
    from ..config.schema import Settings
    from ..transport.client import Client
    from .doctor_pool import Answers

WAITED_SECONDS: Final = 30.0
"""Who waits shorter may just be next."""
_STUCK_MAX: Final = 5
_KNOWN_REASONS: Final = frozenset({
    "paused", "asleep", "breaker", "rate", "quota", "max_concurrent", "per_host", "order", "no_host", "not_served",
})  # fmt: skip
"""Reasons to wait that are as they should be, or that another check names."""


def doctor(
    context: typer.Context, config: Config = None, as_json: Json = False, address: ConfiguredAddress = None
) -> None:
    """Look at the whole set-up: this machine, the configuration, the pool. 1 if something is wrong."""
    findings = list(examine(config, options.chosen(context, address)))
    wrong = sum(finding.level == WRONG for finding in findings)
    odd = sum(finding.level == ODD for finding in findings)
    if as_json:
        documents.show({"findings": [finding.document() for finding in findings], "wrong": wrong})
    else:
        print("\n".join(line for finding in findings for line in finding.lines()), flush=True)
        say(f"{wrong} wrong, {odd} to know, {len(findings) - wrong - odd} in order")
        if wrong:
            say("more about them: docs/troubleshooting.md in the repository")
    raise typer.Exit(FAILED if wrong else OK)


def examine(config: Path | None, wanted: str | None) -> Iterator[Finding]:
    """All findings: first this machine's, then the pool's, or why it cannot be asked.

    Args:
        config: The file that the command line names.
        wanted: The address that it names.
    """
    from ..config.loading import examine as examined
    from ..config.loading import find
    from ..transport.client import Client
    from ..workers.errors import ConfigError, WorkerHostError
    from . import doctor_machine, doctor_pool
    from .hosting import address_of

    source = config or find(os.environ)
    found = examined(source, os.environ)
    settings, problems = (None, found) if isinstance(found, list) else (found, [])
    address = wanted or (address_of(settings) if settings is not None else None)
    answers: Answers | None = None
    trouble: Finding | None = None
    try:
        with Client(address, timeout=options.PATIENCE_SECONDS) as client:
            address = client.address
            answers = _ask(client, settings)
    except (WorkerHostError, ConfigError) as error:
        text, _, cure = str(error).rpartition("; ")
        trouble = Finding("pool", WRONG, text or cure, cure=cure if text else "workerhost up CODE")
    setup = doctor_machine.Setup(source, settings, problems, str(address), answers is not None, os.environ)
    for check in doctor_machine.CHECKS.values():
        yield from check(setup)
    if trouble is not None:
        yield trouble
    if answers is not None:
        for check in doctor_pool.CHECKS.values():
            yield from check(answers)


def _ask(client: Client, settings: Settings | None) -> Answers:
    from .. import __version__
    from .doctor_pool import Answers

    began = time.time()
    snapshot = client.snapshot()
    clock = snapshot["wall"] - (began + time.time()) / 2
    return Answers(
        client.address, __version__, client.status(), snapshot, client.types(), client.hosts(),
        clock, _stuck(client, snapshot), settings,
    )  # fmt: skip


def _stuck(client: Client, snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """What `why` says of one task of each type that waits, is served, and of which nothing runs."""
    found: list[dict[str, Any]] = []
    inner = {name.rpartition(".")[0] for name in snapshot["nodes"]}
    for type, node in snapshot["nodes"].items():
        if len(found) >= _STUCK_MAX:
            break
        oldest = node["oldest"]
        waits = oldest is not None and snapshot["wall"] - oldest > WAITED_SECONDS
        if type in inner or not waits or node["running"] or not node["hosts"]:
            continue
        for task in client.tasks(state="queued", type=type, limit=1):
            said = client.why(task["id"])
            if not {reason["code"] for reason in said["reasons"]} & _KNOWN_REASONS:
                found.append(said)
    return found
