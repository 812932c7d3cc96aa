"""A host's actor hears several words of a slot in one batch, its last one among them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.host import HostActor, HostSettings, _Signals  # pyright: ignore[reportPrivateUsage]
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.access import Access
from workerhost.transport.keys import Home


@pytest.fixture
def actor(tmp_path: Path) -> HostActor:
    """A host that has no supervisor, with one slot that is being started, between two of its turns."""
    settings = HostSettings(address="tcp://127.0.0.1:1", slots={"": 1}, isolation="inline")
    access = Access(settings.address, "host", Home.of({**os.environ, "WORKERHOST_HOME": str(tmp_path)}))
    host = HostActor(settings, access, _Signals())
    host.on_start()
    return host


def test_a_slot_that_says_that_it_is_ready_and_gone_is_not_missed_by_what_follows_from_the_first(
    actor: HostActor,
) -> None:
    (number,) = actor.slots
    actor._guarded(actor.core.drain)  # pyright: ignore[reportPrivateUsage]  # it leaves, and its slot is closed
    ready: dict[str, Any] = {"types": [], "any": [], "failed": {}, "fingerprints": {}, "costs": {}}
    exited: dict[str, Any] = {
        "signal": None,
        "exit_code": 0,
        "cause": "crash",
        "started": [],
        "memory": 0,
        "message": "",
    }
    both = [SlotNews(number, ready=ready), SlotNews(number, exited=exited)]
    actor._guarded(lambda now: actor._news(both, now))  # pyright: ignore[reportPrivateUsage]

    assert actor.signals.error is None
    assert actor.slots == {}
