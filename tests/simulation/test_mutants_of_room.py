"""The simulation notices a queue without a bound."""

from __future__ import annotations

import pytest
from simulation.mutants import first_complaint  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.clients.requests import Requests


def test_a_queue_that_takes_whatever_comes_is_noticed(monkeypatch: pytest.MonkeyPatch):
    small = frozenset({"crowd"})
    assert first_complaint(range(3), ingredients=small) is None

    def check_size(_self: Requests, _count: int) -> None:
        """Whatever comes has room."""

    monkeypatch.setattr(Requests, "_check_size", check_size)
    found = first_complaint(range(3), ingredients=small)
    assert found is not None
    assert "tasks are unfinished, and the queue takes 40" in str(found[1])
