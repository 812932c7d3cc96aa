"""docs/workers.md against the code: every type that a worker of this package serves, with every parameter it knows."""

from __future__ import annotations

import re
from pathlib import Path

from workerhost.workers import audio, spotify, video, youtube
from workerhost.workers.registry import load
from workerhost.workers.runner import run
from workerhost.workers.task import Task

PAGE = Path(__file__).resolve().parents[2] / "docs" / "workers.md"


def rows() -> dict[str, str]:
    """Type -> its row in a table; two types may share one."""
    found: dict[str, str] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        first = line.split("|")[1] if line.startswith("| `") else ""
        found.update((type, line) for type in re.findall(r"`((?:video|audio)\.[a-z_.]+[a-z])`", first))
    return found


def known_params() -> dict[str, list[str]]:
    """Type -> the names of its params; a service's worker is asked by a name that it does not know."""
    known = {**video.KNOWN, **audio.KNOWN}
    for module in (youtube, spotify):
        for type, worker in load(module.__name__).types.items():
            detail = run(worker, Task(1, type, {"what do you know": 1})).detail or {}
            known[type] = str(detail["message"]).partition("it knows ")[2].split(", ")
    return known


def test_every_type_is_on_the_page_and_no_other() -> None:
    assert sorted(rows()) == sorted(known_params())


def test_every_parameter_is_in_the_row_of_its_type() -> None:
    missing = [
        f"{type}: {name}"
        for type, names in known_params().items()
        for name in names
        if name != "path" and f"`{name}`" not in rows()[type]
    ]
    assert missing == []


def test_the_heads_of_the_modules_name_every_type_and_parameter() -> None:
    heads = "\n".join(str(module.__doc__) for module in (video, audio, youtube, spotify))
    lines = {line.split()[0]: line for line in heads.splitlines() if re.match(r"    (video|audio)\.", line)}
    assert sorted(lines) == sorted(known_params())
    for type, names in known_params().items():
        assert [name for name in names if not re.search(rf"\b{name}\b", lines[type])] == [], type
