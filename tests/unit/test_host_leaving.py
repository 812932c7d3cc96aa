"""What a host says of its leaving: that its own process was told to end, and that it stays after all."""

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


def test_a_drain_that_is_undone_before_it_was_told_of_is_told_of_all_the_same() -> None:
    """The supervisor counts no slot here since it has sent the first of the two."""
    host = joined()
    effects = host.hears(Drain(), Drain(undo=True))
    assert [effect for effect in effects if isinstance(effect, Say)] == [Say(2, Claim({"": 2}))]
