"""Mutants: each changes one function of the product, and the simulation must notice it and say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from workerhost.actors.simulation.misfortune import FAULTS
from workerhost.actors.simulation.scenario import Scenario

SEEDS = range(40)
MUTANTS_SEEDS = range(30)
"""Of which most mutants need one or two."""
STEPS = 1500
HARSH = {name: rate * (1 if name == "clock_skew" else 3) for name, rate in FAULTS.items()}

Mutant = Callable[[pytest.MonkeyPatch], None]


class Sign:
    """What a mutant must be caught as, and in which worlds that cannot but show.

    Args:
        words: Nothing that any other mistake would also bring about.
        given: Of the scenario, where it is not the harshest weather over common work.
    """

    def __init__(self, words: str, **given: Any) -> None:
        self.words, self.given = words, given


def complaints(seeds: Iterable[int], **given: Any) -> Iterator[tuple[int, Exception]]:
    """The seeds that bring something to light, and what."""
    for seed in seeds:
        given = {"faults": HARSH, "durability": "full", "ingredients": frozenset[str](), **given}
        with Scenario.drawn(seed, STEPS, **given).world() as world:
            try:
                world.run(STEPS).rest()
            except Exception as error:
                yield seed, error


def first_complaint(seeds: Iterable[int] = SEEDS, **given: Any) -> tuple[int, Exception] | None:
    """The first seed that brings something to light, and what."""
    return next(complaints(seeds, **given), None)


def check_that_it_is_caught(mutant: Mutant, sign: Sign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seed must notice a mutant, and say of it what nothing else would bring about."""
    mutant(monkeypatch)
    others: list[tuple[int, Exception]] = []
    for found in complaints(MUTANTS_SEEDS, **sign.given):
        if re.search(sign.words, str(found[1])):
            return
        others.append(found)
    pytest.fail(f"{len(MUTANTS_SEEDS)} seeds did not notice, or said something else: {others}")
