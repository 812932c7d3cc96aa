"""The simulation notices a supervisor whose words are not true: to clients about results, orders and its own past."""

from __future__ import annotations

from typing import Any

import pytest
from simulation.mutants import (  # pyright: ignore[reportMissingImports]
    Mutant,
    Sign,
    check_that_it_is_caught,
)

from workerhost.actors.core.clients.clients import Clients
from workerhost.actors.core.clients.requests import Requests
from workerhost.actors.core.queue import Queue
from workerhost.actors.core.rows import COMPLETED, FINAL
from workerhost.actors.stores import sqlite
from workerhost.transport.messages import Reply


def results_of_another(patch: pytest.MonkeyPatch) -> None:
    push = Clients._push  # pyright: ignore[reportPrivateUsage]  # a mutant changes what is inside

    def wrong(self: Clients, step: Any, client: Any, events: list[Any]) -> None:
        push(self, step, client, [[*e[:3], b"of another", *e[4:]] if e[2] == COMPLETED else e for e in events])

    patch.setattr(Clients, "_push", wrong)


def results_of_another_to_who_asks_by_id(patch: pytest.MonkeyPatch) -> None:
    told = Requests.told_ends

    def wrong(self: Requests, step: Any, need: Any, rows: list[Any]) -> None:
        told(self, step, need, [(*row[:3], b"of another", *row[4:]) for row in rows])

    patch.setattr(Requests, "told_ends", wrong)


def cancels_with_words_alone(patch: pytest.MonkeyPatch) -> None:
    def cancelled(self: Requests, step: Any, need: Any, rows: dict[int, Any]) -> None:
        peer, request, reply = need.context
        step.say(peer, Reply(request, True, {"cancelled": [i for i in rows if rows[i].state not in FINAL], **reply}))

    patch.setattr(Requests, "cancelled", cancelled)


def cancels_but_what_runs(patch: pytest.MonkeyPatch) -> None:
    cancelled = Requests.cancelled

    def idle(self: Requests, step: Any, need: Any, rows: dict[int, Any]) -> None:
        cancelled(self, step, need, {id: row for id, row in rows.items() if id not in self.queue.leases})

    patch.setattr(Requests, "cancelled", idle)


def runs_again_with_words_alone(patch: pytest.MonkeyPatch) -> None:
    def again(self: Queue, step: Any, row: Any, **more: Any) -> bool:
        return True

    patch.setattr(Queue, "again", again)


def edits_with_words_alone(patch: pytest.MonkeyPatch) -> None:
    def edit(self: Queue, step: Any, row: Any, lane: Any, priority: int) -> None:
        """Nothing."""

    patch.setattr(Queue, "edit", edit)


def numbers_are_given_again_after_a_power_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite, "NUMBERS_AHEAD", 0)


def nobody_asks_anew_after_a_power_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite, "EPOCHS_BEYOND", 0)


CUT: Any = {"clients": 2, "durability": "relaxed", "faults": {"power_cut": 0.3}}
MUTANTS: dict[Mutant, Sign] = {
    results_of_another: Sign("ended as 4 with b'of another'"),
    results_of_another_to_who_asks_by_id: Sign(
        "ended as [0-9] with b'of another' .number 0.", clients=3, faults={}, ingredients=frozenset({"cache", "keys"})
    ),
    cancels_with_words_alone: Sign("cancel of {'ids'.* names .*, which it did not change"),
    cancels_but_what_runs: Sign("cancel of {'ids'.* missed task [0-9]+.*state=3"),
    runs_again_with_words_alone: Sign("retry of {'ids'.* names .*, which it did not change|flow [0-9]+ says"),
    edits_with_words_alone: Sign("edit of {'ids'.* left task [0-9]+ with its", ingredients=frozenset({"edits"})),
    numbers_are_given_again_after_a_power_cut: Sign("two submissions were given the same task|was not told how", **CUT),
    nobody_asks_anew_after_a_power_cut: Sign("was not told how", **CUT),
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    check_that_it_is_caught(mutant, MUTANTS[mutant], monkeypatch)
