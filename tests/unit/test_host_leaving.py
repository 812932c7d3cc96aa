"""What a host says of its leaving: that its own process was told to end, and that it stays after all."""

from __future__ import annotations

import pytest
from unit.test_hosting import exited, granted, joined, options, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import Kill, Leave, Say, Spawn
from workerhost.transport.messages import Claim, Drain, GiveBack, Returned
from workerhost.workers.source import Environment


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


@pytest.mark.parametrize(("isolation", "ready"), [("process", (1, 2)), ("thread", (1,))])
def test_a_slot_that_is_stopped_at_the_end_of_the_time_is_not_started_again(
    isolation: str, ready: tuple[int, ...]
) -> None:
    host = joined(isolation=isolation, ready=ready)
    granted(host, task(1, 11))
    host.core.drain(0.0, 4.0)
    host.quiet(3.9)
    effects = host.alone(5.0)
    assert Kill(1) in effects
    effects += host.slot(1, 5.1, exited=exited([1, 11], signal=9))
    told = {"cause": "drain", "signal": 9}
    back = GiveBack([[1, 11, Returned.DRAIN, 0.0, "the host leaves", True, told]])
    assert back in [effect.message for effect in effects if isinstance(effect, Say)]
    host.core.on_code(
        options(environments={"": Environment("", isolation), "a": Environment("/python", isolation)}), 5.2
    )
    effects += host.alone(7.0)
    assert effects[-1] == Leave()
    assert not any(isinstance(effect, Spawn) for effect in effects)
