"""A host whose own process was told to end says so: the pool shows it as draining, whatever anybody undoes."""

from __future__ import annotations

from unit.test_hosting import granted, joined, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import Say
from workerhost.transport.messages import Claim, Drain


def test_it_says_so_and_says_it_again_when_somebody_would_undo_it() -> None:
    host = joined()
    granted(host, task(1, 11))
    host.hears(Drain())
    host.core.drain(0.0)
    assert host.at(0.0) == [Say(3, Claim({"": 0}, leaving=True))]
    assert host.hears(Drain(undo=True)) == [Say(4, Claim({"": 0}, leaving=True))]
