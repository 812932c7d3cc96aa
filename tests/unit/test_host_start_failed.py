"""A host whose slots cannot be started says why, beside how many can."""

from __future__ import annotations

from unit.test_hosting import READY, WELCOME, Host, exited, hello, joined  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import Connect, HostEffect, Say
from workerhost.transport.messages import Claim

NO_LIBRARY = "its process ended with exit code 4, and said: no libcuda"
BROKEN = exited(cause="start_failed", message=NO_LIBRARY)


def claims(effects: list[HostEffect]) -> list[Claim]:
    return [effect.message for effect in effects if isinstance(effect, Say) and isinstance(effect.message, Claim)]


def test_why_stands_beside_the_capacity_until_they_can_be_started() -> None:
    host = joined(ready=(1,))
    why = {"": NO_LIBRARY}

    assert claims(host.slot(2, exited=BROKEN)) == [Claim({"": 1}, start_failed=why)]
    assert claims(host.slot(1, exited=exited())) == [Claim({"": 0}, start_failed=why)]
    assert claims(host.slot(2, exited=BROKEN)) == [], "nothing new"
    assert claims(host.slot(1, ready=READY)) == [Claim({"": 1}, start_failed=why)]
    host.at(0.9)
    assert claims(host.slot(2, 1.0, ready=READY)) == [Claim({"": 2})]


def test_a_host_none_of_whose_slots_can_be_started_joins_and_says_so() -> None:
    host = Host(slots={"": 1})
    host.start()

    effects = host.slot(1, exited=BROKEN)

    assert effects[-2:] == [Connect(), hello(types=[], slots={"": 1})]
    assert claims(host.hears(WELCOME)) == [Claim({"": 0}, start_failed={"": NO_LIBRARY})]
    host.at(0.5)
    assert [type(effect).__name__ for effect in host.slot(1, 0.6, ready=READY)] == [
        "Guide", "Disconnect", "Connect", "Say",
    ]  # fmt: skip
    assert claims(host.hears(WELCOME, now=0.7)) == [Claim({"": 1})]


def test_a_host_of_which_some_slot_can_be_started_joins_with_what_that_runs() -> None:
    host = Host(slots={"": 2})
    host.start()
    assert not any(isinstance(effect, Connect) for effect in host.slot(2, exited=BROKEN))
    effects = host.slot(1, ready=READY)
    assert effects[-2:] == [Connect(), hello(slots={"": 2})]
