"""What every store must keep of schedules: the instant up to which each was seen to, together with the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from store_rows import LANES, row, write  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.effects import Persist
from workerhost.actors.stores.contract import Store

PLAN: dict[str, Any] = {"type": "a", "params": b"\xc0", "cron": None, "every": 60.0, "options": {"tags": ["x"]}}
NIGHTLY = ("nightly", "config", PLAN, 60.5, False, 0, None)
MINE = ("mine", "client", {**PLAN, "params": bytes(16000)}, 120.0, True, 7, (b"token", 9, 7))


def test_schedules_survive_and_the_latest_word_about_each_counts(reopen: Callable[[], Store]) -> None:
    store = reopen()
    assert store.open().schedules == []
    write(store, schedules=[NIGHTLY, MINE])
    later = (*NIGHTLY[:3], 120.0, False, 3, None)
    write(store, schedules=[later])
    assert reopen().open().schedules == [MINE, later]


def test_a_turn_that_is_undone_has_neither_sent_nor_seen_to(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, lanes=LANES, schedules=[NIGHTLY])
    store.begin()
    store.apply(
        Persist(tasks=[row(1)], schedules=[(*NIGHTLY[:3], 120.0, False, 1, None)], forgotten_schedules=["mine"])
    )
    store.rollback()
    assert store.show(1) is None
    assert reopen().open().schedules == [NIGHTLY]


def test_what_is_forgotten_is_gone_unless_it_was_set_again(reopen: Callable[[], Store]) -> None:
    store = reopen()
    store.open()
    write(store, schedules=[NIGHTLY, MINE])
    write(store, forgotten_schedules=["nightly", "mine", "none"], schedules=[MINE])
    assert reopen().open().schedules == [MINE]
