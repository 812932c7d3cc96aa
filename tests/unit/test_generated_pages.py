"""The pages that are written from the code leave nothing out that a reader looks up there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from workerhost import AsyncClient, Batch, Client, Handle
from workerhost.testing import Pool
from workerhost.transport.flow import Flow
from workerhost.transport.stored_flow import StoredFlow

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PYTHON = (REFERENCE / "python.md").read_text()
EVENTS = (REFERENCE / "events.md").read_text()
COMMAND_LINE = (REFERENCE / "command-line.md").read_text()
CONFIGURATION = (REFERENCE / "configuration.md").read_text()


@pytest.mark.parametrize("thing", [Client, AsyncClient, Handle, Batch, Flow, StoredFlow, Pool])
def test_all_that_an_object_gives_is_on_the_page_of_python_inherited_or_not(thing: type) -> None:
    part = re.split(rf"^### (?:\w+\.)*{thing.__name__}$", PYTHON, flags=re.MULTILINE)[1].split("\n### ")[0]
    for name, member in inspect.getmembers(thing):
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        own = "this package's own use" in (inspect.getdoc(member) or "")
        written_here = getattr(member, "__module__", "workerhost").startswith("workerhost")
        assert (f"`{name}`" in part or f".{name}(" in part or f".{name}`" in part) == (written_here and not own), name


def test_signatures_are_those_of_python() -> None:
    assert "report_progress(fraction: float, note: str = '')`" in PYTHON
    assert "zone: str = 'UTC', catch_up: Literal['none', 'last', 'all'] = 'last'," in PYTHON


@pytest.mark.parametrize(
    "name",
    [
        "host_joined", "slot_died", "slot_failed_to_start", "task_output", "backup_ended",  # of hosts, of conditions
        "type_paused", "type_resumed", "identity_joined", "not_told", "supervisor_lost", "task_quarantined",
    ],
)  # fmt: skip
def test_an_event_is_on_the_page_of_events_whichever_way_it_is_said(name: str) -> None:
    assert f"| `{name}` | " in EVENTS


@pytest.mark.parametrize("key", ["cool_off", "resets", "ttl", "METRIC_above"])
def test_keys_below_keys_that_are_no_sections_are_on_the_page_of_the_configuration(key: str) -> None:
    assert key in CONFIGURATION


def test_the_words_that_an_option_allows_are_on_the_page_of_the_command_line() -> None:
    assert r"`--on-failure <cancel\|run\|wait>`" in COMMAND_LINE


def test_the_environment_is_on_the_page_of_the_command_line() -> None:
    environment = COMMAND_LINE.split("## Environment")[1]
    names = ("CONFIG", "ADDRESS", "HOME", "SECRETS", "SECRET_name", "_SECTION__KEY")
    assert [name for name in names if f"`WORKERHOST_{name}`" not in environment] == []


def test_defaults_are_written_as_a_file_would() -> None:
    assert "| `7d` |" in CONFIGURATION
    assert "| `10M` |" in CONFIGURATION
