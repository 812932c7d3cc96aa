"""Whose news a turn hears: nobody waits behind a flood, and nothing is dropped but what no good client sends."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.access import arrivals as news
from workerhost.actors.core.access.arrivals import Arrivals, Said
from workerhost.actors.core.access.identities import Garbled, Proved
from workerhost.actors.news import Reader
from workerhost.actors.news import said as delivered
from workerhost.transport.codec import encode
from workerhost.transport.link import Closed, Opened, Received
from workerhost.transport.mailbox import BATCH_BYTES_MAX
from workerhost.transport.messages import Admin, Cancel, Heartbeat, Hello, Message, Query, Results, Submit, Watch
from workerhost.transport.outbox import Outbox
from workerhost.transport.parcel import BYTES_MAX, Parcel
from workerhost.transport.terms import Terms

LINK: Any = None
ROLES = {b"flood": "client", b"other": "client", b"third": "client", b"host": "host"}


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals(lambda peer: ROLES.get(peer, ""), lambda peer: peer == b"ignored", Reader(lambda _size: None).read)


def said(peer: bytes, number: int, message: Message) -> Said:
    return peer, encode(message, number)


def large(peer: bytes, number: int, count: int = 1000) -> Said:
    return said(peer, number, Submit(number, 0, [["a", 5, None, [b"x"] * count]]))


def small(peer: bytes, number: int) -> Said:
    return said(peer, number, Submit(number, 0, [["a", 5, None, [b"x"]]]))


def ends(number: int) -> Said:
    return said(b"host", number, Results([[1, 1, 1, b"", 0.1, 0, None]] * 100))


def turn(arrivals: Arrivals, now: float = 0.0, took: float = 0.0) -> list[tuple[bytes, int]]:
    found = [(peer, number) for peer, number, _ in arrivals.take(now)]
    arrivals.ended(now + took)
    return found


def test_who_is_alone_is_heard_so_much_at_a_time(arrivals: Arrivals) -> None:
    arrivals.add([large(b"flood", n) for n in range(1, 6)])
    assert turn(arrivals) == [(b"flood", 1), (b"flood", 2)]
    assert arrivals.next_time() == 0.0
    assert [turn(arrivals), turn(arrivals), turn(arrivals)] == [[(b"flood", 3), (b"flood", 4)], [(b"flood", 5)], []]
    assert arrivals.next_time() is None


def test_a_short_message_has_a_turn_of_its_own_before_what_is_long(arrivals: Arrivals) -> None:
    arrivals.add([*[large(b"flood", n) for n in range(1, 9)], small(b"other", 1)])
    assert turn(arrivals) == [(b"other", 1)]
    assert turn(arrivals) == [(b"flood", 1)]  # and then one long message, not several: somebody waits


def test_short_messages_keep_long_ones_waiting_for_one_turn_at_most(arrivals: Arrivals) -> None:
    arrivals.add([*[large(b"flood", n) for n in range(1, 4)], *[ends(n) for n in range(1, 4)]])
    heard: list[tuple[bytes, int]] = []
    for number in range(1, 5):
        arrivals.add([small(b"other", number)])
        assert turn(arrivals) == [(b"other", number)]
        heard += turn(arrivals)
    assert heard == [(b"flood", 1), *[(b"host", n) for n in (1, 2, 3)], (b"flood", 2), (b"flood", 3)]


def test_bulk_has_its_share_of_the_time_in_which_somebody_else_is_there(arrivals: Arrivals) -> None:
    arrivals.add([*[large(b"flood", n) for n in range(1, 6)], small(b"other", 1)])
    turn(arrivals, 0.0)
    assert turn(arrivals, 0.0, took=0.002) == [(b"flood", 1)]
    held = arrivals.next_time()
    assert held == pytest.approx(0.002 + 0.002 * (1 / news.BULK_SHARE - 1))
    arrivals.add([ends(1)])
    assert arrivals.next_time() == 0.0
    assert turn(arrivals, 0.003) == [(b"host", 1)]  # a host is not held back: its ends make room
    assert turn(arrivals, 0.004) == []
    gone = news.THERE_SECONDS + 0.002  # while a long message was heard nobody could say anything
    assert turn(arrivals, gone) == [(b"flood", 2), (b"flood", 3)]  # nobody else is there any more


def test_bulk_that_takes_longer_than_somebody_is_there_has_no_larger_share(arrivals: Arrivals) -> None:
    arrivals.add([*[large(b"flood", n) for n in range(1, 6)], small(b"other", 1)])
    turn(arrivals, 0.0)
    assert turn(arrivals, 0.0, took=0.4) == [(b"flood", 1)]
    arrivals.add([small(b"other", 2)])
    assert turn(arrivals, 0.4) == [(b"other", 2)]
    assert turn(arrivals, 0.4) == []
    assert arrivals.next_time() == pytest.approx(0.4 / news.BULK_SHARE)


def test_bulk_has_its_share_though_somebody_else_never_stops(arrivals: Arrivals) -> None:
    arrivals.add([large(b"flood", n) for n in range(1, 1001)])
    now, bulk, number = 0.0, 0.0, 0
    while now < 10.0:
        if now * 100 >= number:
            arrivals.add([small(b"other", number := number + 1)])
        took = 0.01 if b"flood" in {peer for peer, _, _ in arrivals.take(now)} else 0.001
        now += took
        arrivals.ended(now)
        bulk += took if took > 0.001 else 0.0
        assert (arrivals.next_time() or now) > now - 0.002  # it does not turn round for nothing
    assert bulk / now == pytest.approx(news.BULK_SHARE, rel=0.1)


def test_a_host_that_comes_back_is_heard_before_all_that_clients_send_in_bulk() -> None:
    read = Reader(lambda _size: None).read
    arrivals = Arrivals(lambda peer: "" if peer == b"returning" else "client", lambda _peer: False, read)
    clients = [b"bulk %d" % n for n in range(50)]
    types = [f"video.platform.endpoint-{n}" for n in range(200)]
    hello = encode(Hello("host", [1, 1], bytes(16), "host", {"types": types}), 0)
    assert len(hello) > 2 * news.SHORT_BYTES
    arrivals.add([large(peer, n) for n in range(1, 4) for peer in clients])
    turn(arrivals)
    arrivals.add([small(b"other", 1)])
    assert [turn(arrivals, 0.0, took=0.02), turn(arrivals, 0.02, took=0.02)] == [[(b"other", 1)], [(clients[2], 1)]]
    arrivals.add([(b"returning", hello)])
    assert turn(arrivals, 0.04) == [(b"returning", 0)]


def test_a_turn_hears_so_many_bytes_of_greetings() -> None:
    arrivals = Arrivals(lambda _peer: "", lambda _peer: False, Reader(lambda _size: None).read)
    hello = Hello("host", [1, 1], bytes(16), "host", {"types": ["x" * 60] * 40_000})
    arrivals.add([said(b"%d" % n, 0, hello) for n in range(4)])
    assert [turn(arrivals) for _ in range(3)] == [[(b"0", 0), (b"1", 0)], [(b"2", 0)], [(b"3", 0)]]


def test_who_has_said_hello_is_preferred_for_another_no_more(arrivals: Arrivals) -> None:
    hello = said(b"flood", 0, Hello("client", [1, 1], bytes(16), "x" * 2000))
    arrivals.add([*[large(b"third", n) for n in range(1, 4)], hello, small(b"other", 1)])
    assert [turn(arrivals), turn(arrivals)] == [[(b"other", 1)], [(b"third", 1)]]


@pytest.mark.parametrize(
    "bulk", [large(b"flood", 1), said(b"large", 1, Results([[1, 1, 1, b"x" * 9000, 0.1, 0, None]]))]
)
def test_who_was_passed_over_is_the_first_of_the_next_turn(bulk: Said) -> None:
    """Six busy hosts and three messages of theirs a turn: by the turns alone the same ones would always be first."""
    arrivals = Arrivals(lambda peer: ROLES.get(peer, "host"), lambda _peer: False, Reader(lambda _size: None).read)
    hosts = [b"h%d" % n for n in range(6)]
    results = Results([[1, 1, 1, b"", 0.1, 0, None]] * 170)
    arrivals.add([said(peer, 1, results) for peer in hosts[:1]])
    arrivals.add([bulk, *[said(peer, 1, results) for peer in hosts for _ in range(20)]])
    heard: set[bytes] = set()
    for number in range(1, 21):
        arrivals.add([small(b"other", number)])
        assert turn(arrivals) == [(b"other", number)]
        heard |= {peer for peer, _ in turn(arrivals)}
    assert bulk[0] in heard


def test_two_who_send_in_bulk_hold_back_neither(arrivals: Arrivals) -> None:
    arrivals.add([large(b"flood", 1), large(b"other", 1)])
    assert turn(arrivals, 0.0, took=1.0) == [(b"flood", 1), (b"other", 1)]
    arrivals.add([large(b"flood", 2), small(b"other", 2)])
    assert turn(arrivals, 1.0) == [(b"other", 2)]
    assert turn(arrivals, 1.0, took=1.0) == [(b"flood", 2)]
    arrivals.add([large(b"flood", 3)])
    assert arrivals.next_time() == 0.0


def test_what_a_peer_says_stays_in_order(arrivals: Arrivals) -> None:
    arrivals.add([(b"other", Proved("key")), small(b"other", 1), large(b"other", 2), small(b"other", 3)])
    arrivals.add([(b"other", None), small(b"third", 1)])
    heard: list[tuple[bytes, int, Any]] = []
    while arrivals.next_time() is not None:
        heard += arrivals.take(0.0)
    own = [(number, type(message).__name__) for peer, number, message in heard if peer == b"other"]
    assert own == [(0, "Proved"), (1, "Submit"), (2, "Submit"), (3, "Submit"), (0, "NoneType")]


def test_many_short_messages_of_one_are_no_flood_for_another(arrivals: Arrivals) -> None:
    arrivals.add([*[small(b"flood", n) for n in range(1, 500)], small(b"other", 1)])
    first = turn(arrivals)
    assert (b"other", 1) in first
    assert len(first) < 150


def order(peer: bytes, number: int) -> Said:
    return said(peer, number, Admin(number, "cancel", {"where": {"type": "a"}}))


def test_a_turn_of_short_messages_hears_one_order_that_looks_at_many_tasks(arrivals: Arrivals) -> None:
    arrivals.add([*[order(b"flood", n) for n in range(1, 4)], *[order(b"third", n) for n in range(1, 3)]])
    arrivals.add([small(b"other", 1)])
    assert turn(arrivals) == [(b"flood", 1)]
    found: list[tuple[bytes, int]] = []
    for _ in range(3):
        heard = turn(arrivals)
        assert sum(peer != b"other" for peer, _ in heard) <= 1
        found += heard
    assert found[:2] == [(b"third", 1), (b"other", 1)]  # who was heard is behind the others
    while heard := turn(arrivals):
        found += heard
    assert found[2:] == [(b"flood", 2), (b"third", 2), (b"flood", 3)]


def test_who_orders_much_in_few_bytes_waits_for_its_turn_when_alone_too(arrivals: Arrivals) -> None:
    arrivals.add([order(b"flood", n) for n in range(1, 4)])
    assert [turn(arrivals), turn(arrivals), turn(arrivals)] == [[(b"flood", n)] for n in (1, 2, 3)]


def test_what_names_many_tasks_weighs_as_many(arrivals: Arrivals) -> None:
    ids = list(range(1, 1001))
    several = [Cancel(1, ids), Watch(0, 0, ids), Admin(3, "retry", {"ids": ids}), Query(4, "why", {"id": 1})]
    arrivals.add([said(b"flood", n, message) for n, message in enumerate(several, 1)])
    assert turn(arrivals) == [(b"flood", 1), (b"flood", 2)]
    assert turn(arrivals) == [(b"flood", 3), (b"flood", 4)]


def test_a_turn_hears_so_many_questions_about_many_tasks(arrivals: Arrivals) -> None:
    arrivals.add([said(b"flood", n, Query(n, "tasks", {"type": "a"})) for n in range(1, 100)])
    assert len(turn(arrivals)) == news.TURN_TASKS // news.LIST_TASKS


def test_who_waits_for_no_answer_loses_what_it_said(arrivals: Arrivals) -> None:
    arrivals.add([(b"flood", Proved("key")), *[said(b"flood", n, Heartbeat(0)) for n in range(1, 5001)]])
    assert arrivals.take(0.0) == [(b"flood", 0, Proved("key"))]
    assert (arrivals.next_time(), list(arrivals.waiting())) == (None, [])
    arrivals.add([said(b"flood", n, Heartbeat(0)) for n in range(5001, 10002)])
    assert (arrivals.next_time(), arrivals.take(0.0)) == (None, [])
    arrivals.add([said(b"flood", 10002, Heartbeat(0))])
    assert turn(arrivals) == [(b"flood", 10002)]  # it shows as a gap, and is no mistake of its identity


def test_a_client_that_sends_large_tasks_is_heard_beside_one_that_never_stops(arrivals: Arrivals) -> None:
    """What it may have under way is less than what may wait here, though each SUBMIT takes 30 ms of a fifth."""
    outbox = Outbox()
    for _ in range(20):
        outbox.put(Parcel(Terms("a"), [b"x" * (BYTES_MAX // 1000)] * 1000, BYTES_MAX))
    wire: list[Said] = []
    heard, asked, now = 0, 0, 0.0
    while outbox.unanswered:
        assert now < 10.0, f"{heard} of 20 were heard"
        while (letter := outbox.next_letter()) is not None:
            wire.append(said(b"flood", letter.number, Submit(letter.number, 0, letter.groups())))
        batch, size = list[Said](), 0
        while wire and size < BATCH_BYTES_MAX:
            batch.append(wire.pop(0))
            size += BYTES_MAX
        while asked * 0.01 <= now:
            batch.append(small(b"other", asked := asked + 1))
        arrivals.add(batch)
        numbers = [number for peer, number, _ in arrivals.take(now) if peer == b"flood"]
        now += 0.03 if numbers else 0.001
        arrivals.ended(now)
        for number in numbers:
            assert number == (heard := heard + 1)
            outbox.accepted(number, 1, 1000)


def test_a_host_may_say_much(arrivals: Arrivals) -> None:
    arrivals.add([said(b"host", n, Heartbeat(0)) for n in range(1, 6001)])
    count = 0
    while found := turn(arrivals):
        count += len(found)
    assert count == 6000


def test_who_is_ignored_costs_nothing(arrivals: Arrivals) -> None:
    arrivals.add([large(b"ignored", 1), (b"ignored", None)])
    assert arrivals.take(0.0) == [(b"ignored", 0, None)]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x14\x01", encode(Heartbeat(0), 1)[:-1]])
def test_what_is_no_message_is_told_as_such(arrivals: Arrivals, body: bytes) -> None:
    arrivals.add([(b"other", body)])
    assert [type(message) for _, _, message in arrivals.take(0.0)] == [Garbled]


@pytest.mark.parametrize("groups", [[], [[]], [1], [["a", 5, None, 7]], [["a", 5, None]], [{}]])
def test_a_submission_that_is_none_weighs_something_and_is_heard(arrivals: Arrivals, groups: list[Any]) -> None:
    arrivals.add([said(b"other", 1, Submit(1, 0, groups))])
    assert turn(arrivals) == [(b"other", 1)]


def test_what_is_forgotten_is_not_heard(arrivals: Arrivals) -> None:
    arrivals.add([small(b"other", 1)])
    arrivals.clear()
    assert (arrivals.next_time(), arrivals.take(0.0)) == (None, [])


def test_what_hosts_have_said_is_bounded_though_somebody_else_never_stops(arrivals: Arrivals) -> None:
    """A host's words are not dropped; they are heard sooner than they come when there are too many of them."""
    result = Results([[1, 1, 1, b"x" * 1024 * 1024, 0.1, 0, None]])
    waiting = heard = 0
    for number in range(100):
        arrivals.add([*[said(b"host", 4 * number + n, result) for n in range(4)], small(b"other", number)])
        waiting += 4
        now = number * 0.01
        for _ in range(2):
            found = sum(peer == b"host" for peer, _, _ in arrivals.take(now))
            waiting -= found
            heard += found
            arrivals.ended(now + 0.001)
        assert waiting <= news.CROWDED_BYTES // 1024**2 + 8
    assert heard + waiting == 400


def test_when_it_is_crowded_a_turn_hears_more_than_a_batch_brings() -> None:
    assert news.CROWDED_TURN_BYTES > BATCH_BYTES_MAX


def test_what_a_link_delivers_is_said_by_its_peer() -> None:
    items = [Opened(LINK, b"p", "key", "10.0.0.1"), Received(LINK, b"p", b"frame"), object(), Closed(LINK, b"p")]
    assert list(delivered(items)) == [(b"p", Proved("key", "10.0.0.1")), (b"p", b"frame"), (b"p", None)]
