"""What a host owes its supervisor is said in messages of a good size, and again until it is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from unit.test_hosting import WELCOME, Host, granted, joined, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import HostEffect, Say
from workerhost.actors.core.host.joining import Joining
from workerhost.actors.core.host.outbox import Outbox
from workerhost.transport.messages import (
    Alive,
    Bye,
    Checkpoint,
    Drain,
    GiveBack,
    Heartbeat,
    Hello,
    Message,
    Outcome,
    Progress,
    Refused,
    Results,
    Returned,
)


def result(id: int, body: bytes = b"r") -> list[Any]:
    return [id, 10 + id, Outcome.COMPLETED, body, 0.001, 1, None]


def said(outbox: Outbox) -> list[HostEffect]:
    effects: list[HostEffect] = []
    outbox.speak(Joining(effects, lambda: Hello("host", [1, 1], bytes(16)), "tcp://s", 0.5), now=100.0)
    return effects


def test_large_results_travel_in_several_messages():
    outbox = Outbox()
    items = [result(id, bytes(size)) for id, size in enumerate((3_000_000, 1_000_000, 3_000_000, 4_194_304, 1))]
    outbox.results += items
    assert said(outbox) == [
        Say(1, Results(items[:2])),
        Say(2, Results(items[2:3])),
        Say(3, Results(items[3:4])),
        Say(4, Results(items[4:])),
    ]
    assert outbox.unrecorded == {1: items[:2], 2: items[2:3], 3: items[3:4], 4: items[4:]}


def test_long_tracebacks_count_too():
    outbox = Outbox()
    failed = [[id, id, Outcome.FAILED, b"", 0.1, 1, {"traceback": "x" * 600_000}] for id in (1, 2, 3)]
    outbox.results += failed
    assert said(outbox) == [Say(1, Results(failed[:1])), Say(2, Results(failed[1:2])), Say(3, Results(failed[2:]))]


def test_no_message_has_too_many_items():
    outbox = Outbox()
    outbox.results += [result(id) for id in range(300)]
    outbox.returned += [[id, id, Returned.DRAIN, 0.0, "", False] for id in range(5000, 8000)]
    for id in range(8000, 10500):
        outbox.report([id, id, 0.5, ""])

    messages = [effect.message for effect in said(outbox) if isinstance(effect, Say)]

    sizes = [(type(m), len(m.items)) for m in messages if isinstance(m, Results | GiveBack | Progress)]
    assert sizes == [
        *[(Results, 128), (Results, 128), (Results, 44)],
        *[(GiveBack, 2000), (GiveBack, 1000), (Progress, 2000), (Progress, 500)],
    ]
    assert said(outbox) == []


def test_what_was_not_recorded_is_said_again_before_anything_newer():
    outbox = Outbox()
    outbox.results.append(result(1))
    said(outbox)
    outbox.results.append(result(2))
    outbox.session_over()
    outbox.results.append(result(3))
    assert said(outbox) == [Say(1, Results([result(1), result(2), result(3)]))]


def test_what_is_given_back_is_said_again_until_it_was_heard():
    outbox = Outbox()
    for id in (1, 2):
        outbox.save([id, 10 + id, b"half"])
        outbox.ended((id, 10 + id))
    first, second = ([id, 10 + id, Returned.RELEASED, 3600.0, "later", True] for id in (1, 2))
    outbox.returned.append(first)
    assert said(outbox) == [Say(1, Checkpoint([[1, 11, b"half"], [2, 12, b"half"]])), Say(2, GiveBack([first]))]
    outbox.heard(1)
    outbox.session_over()
    outbox.returned.append(second)

    assert said(outbox) == [
        Say(1, Checkpoint([[1, 11, b"half"], [2, 12, b"half"]])),
        Say(2, GiveBack([first, second])),
    ]
    outbox.heard(2)
    outbox.session_over()
    assert (said(outbox), outbox.checkpoints) == ([], {})


def messages(effects: list[HostEffect]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Say)]


def breaks(host: Host) -> list[HostEffect]:
    host.core.on_closed(host.now)
    return host.alone(host.now + 0.2)


def is_refused(host: Host) -> list[HostEffect]:
    return host.hears(Refused("unknown_session", "who?"))


def says_hello_anew(host: Host) -> list[HostEffect]:
    host.core.joining.renew(host.now)
    return host.at(host.now)


@pytest.mark.parametrize("ends", [breaks, is_refused, says_hello_anew])
@pytest.mark.parametrize("heard", [False, True])
def test_a_release_is_not_lost_with_its_connection(ends: Any, *, heard: bool):
    host = joined()
    granted(host, task(1, 11))
    released = [1, 11, Returned.RELEASED, 3600.0, "later", True]
    again = [Checkpoint([[1, 11, b"half"]]), GiveBack([released])]
    assert messages(host.slot(1, checkpoints=[[1, 11, b"half"]], returned=[released])) == again
    [beat] = [effect for effect in host.at(1.0) if isinstance(effect, Say)]
    assert isinstance(beat.message, Heartbeat)
    host.hears(Alive(beat.number if heard else beat.number - 2))

    [hello] = messages(ends(host))

    assert isinstance(hello, Hello)
    assert hello.offer["running"] == ([] if heard else [[1, 11]])
    assert messages(host.hears(WELCOME))[1:] == ([] if heard else again)


def test_a_host_that_leaves_waits_until_what_it_gave_back_is_heard():
    host = joined()
    granted(host, task(1, 11))
    host.hears(Drain())
    released = [1, 11, Returned.RELEASED, 3600.0, "later", True]
    again = [Checkpoint([[1, 11, b"half"]]), GiveBack([released])]

    said = messages(host.slot(1, checkpoints=[[1, 11, b"half"]], returned=[released]))
    assert said == [*again, Heartbeat(2)], "it asks at once, and no Bye yet"
    assert messages(host.at(0.1)) == [], "once is enough"
    [hello] = messages(breaks(host))
    assert isinstance(hello, Hello)
    assert hello.offer["running"] == [[1, 11]]
    effects = [effect for effect in host.hears(WELCOME) if isinstance(effect, Say)]
    assert messages(list(effects))[1:] == [*again, Heartbeat(0)]
    assert messages(host.hears(Alive(effects[-1].number - 2))) == [], "its heartbeat is not answered yet"
    assert messages(host.hears(Alive(effects[-1].number))) == [Bye("the host leaves")]
    assert messages(host.alone(10.0)) == []


def test_many_early_heartbeats_do_not_put_off_the_next():
    host = joined()
    granted(host, task(1, 11))
    host.hears(Drain())
    host.slot(1, returned=[[1, 11, Returned.RELEASED, 3600.0, "later", True]])
    for id in (2, 3, 4, 5):
        assert Heartbeat in map(type, messages(granted(host, task(id, 10 + id))))
    assert host.core.joining.due() == 1.0


def test_only_the_last_word_of_a_task_travels_and_none_after_its_end():
    outbox = Outbox()
    for item in ([1, 11, 0.1, "a"], [2, 12, 0.2, ""], [1, 11, 0.3, "b"]):
        outbox.report(item)
    outbox.ended((2, 12))
    assert said(outbox) == [Say(1, Progress([[1, 11, 0.3, "b"]]))]
    outbox.session_over()
    assert said(outbox) == [Say(1, Progress([[1, 11, 0.3, "b"]]))]
    outbox.ended((1, 11))
    outbox.session_over()
    assert said(outbox) == []


def test_it_is_empty_when_everything_is_recorded():
    outbox = Outbox()
    outbox.results.append(result(1))
    assert not outbox.empty()
    said(outbox)
    assert not outbox.empty()
    outbox.recorded(1)
    assert outbox.empty()
