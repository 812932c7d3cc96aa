"""What is forgotten and when: ended tasks by age and number, sessions a week after their last word."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    COMPLETED,
    FAILED,
    HOST,
    QUEUED,
    completed,
    failed,
    granted,
    pass_time,
)

from workerhost.actors.core.clients.clients import SESSION_SECONDS
from workerhost.actors.core.effects import Where
from workerhost.actors.core.settings import Keep
from workerhost.transport.messages import (
    Accepted,
    Admin,
    Bye,
    Cancel,
    Hello,
    Message,
    Rejected,
    Reply,
    Results,
    Submit,
    Watch,
    Welcome,
)

if TYPE_CHECKING:
    from conftest import PoolAtHand

Make = Callable[..., "PoolAtHand"]
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KEEP = Keep(completed=HOUR, failed=2 * HOUR)


def run(world: PoolAtHand, count: int = 1, *, fail: bool = False, peer: bytes = CLIENT) -> None:
    """A host runs so many new tasks."""
    if HOST not in world.pool.sessions.peers:
        world.host(HOST, slots=1000)
    items = [
        failed(id, fence, retry=False) if fail else completed(id, fence)
        for id, fence, _ in granted(world.send(count=count, peer=peer))
    ]
    assert len(items) == count
    world.say(HOST, Results(items))


def counts(world: PoolAtHand, state: int) -> int:
    """As they are counted, which must be as they are stored."""
    stored: dict[str, int] = {}
    before = None
    while True:
        found, before = world.store.tasks(Where(), 1000, before)
        for task in found:
            stored[task["state"]] = stored.get(task["state"], 0) + 1
        if before is None:
            break
    total = world.pool.queue.lanes.total(state)
    name = {COMPLETED: "completed", FAILED: "failed", QUEUED: "queued"}[state]
    assert total == stored.get(name, 0)
    assert sum(lane.stored[state] for lane in world.pool.queue.lanes.by_number.values()) == total
    return total


def test_ended_tasks_are_kept_for_the_time_of_their_state(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    run(world, 3)
    run(world, 2, fail=True)
    world.send(type="nobody.serves", count=4)

    pass_time(world, HOUR - 2 * MINUTE, MINUTE)
    assert (counts(world, COMPLETED), counts(world, FAILED)) == (3, 2)
    pass_time(world, 10 * MINUTE, MINUTE)
    assert (counts(world, COMPLETED), counts(world, FAILED)) == (0, 2)
    pass_time(world, HOUR, MINUTE)
    assert (counts(world, COMPLETED), counts(world, FAILED), counts(world, QUEUED)) == (0, 0, 4)
    assert world.store.show(1) is None


def test_what_is_kept_for_ever_is_never_looked_at(pool_with: Make) -> None:
    world = pool_with(keep=Keep(None, None, None))
    run(world, 3)

    pass_time(world, 400 * DAY, 10 * DAY)

    assert counts(world, COMPLETED) == 3


def test_a_long_queue_of_old_ones_is_forgotten_in_small_steps(pool_with: Make) -> None:
    world = pool_with(keep=KEEP, rows_max=1000)
    world.say(CLIENT, Watch(0, 10_000))
    for _ in range(5):
        run(world, 100)
    world.wait(2)
    pass_time(world, HOUR, HOUR)
    left = [counts(world, COMPLETED)]

    for _ in range(4):
        world.wait(0.02, 0.02)
        left.append(counts(world, COMPLETED))

    steps = [before - after for before, after in pairwise([500, *left])]
    assert steps == [100, 100, 100, 100, 100]


def test_only_the_latest_ends_are_kept_if_their_number_is_bounded(pool_with: Make) -> None:
    world = pool_with(keep=Keep(None, None, count=10))
    run(world, 8)
    run(world, 7, fail=True)
    world.say(CLIENT, Watch(15, 100))

    world.wait(3)

    assert (counts(world, COMPLETED), counts(world, FAILED)) == (3, 7)
    assert [world.store.show(id) is not None for id in range(1, 16)] == [False] * 5 + [True] * 10


def test_what_a_connected_client_has_not_been_told_waits_for_it(pool_with: Make) -> None:
    world = pool_with(keep=Keep(None, None, count=1))
    run(world, 5)
    world.say(CLIENT, Watch(5, 2))
    run(world, 4)  # two more than the client takes

    world.wait(3)
    assert counts(world, COMPLETED) == 2, "numbers 8 and 9 have not been told"

    world.say(CLIENT, Watch(7, 100))
    world.wait(3)
    assert counts(world, COMPLETED) == 1


def test_a_client_that_is_away_does_not_hold_what_is_old(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    world.close(CLIENT)
    world.client(b"d")
    run(world, 3, peer=b"d")
    world.close(b"d")

    pass_time(world, 2 * HOUR, MINUTE)

    assert counts(world, COMPLETED) == 0


def test_a_task_that_a_host_still_stops_is_not_forgotten(pool_with: Make) -> None:
    world = pool_with(keep=Keep(completed=1.0, failed=1.0))
    world.host()
    ((id, fence, _),) = granted(world.send())
    world.say(CLIENT, Cancel(1, [id]))

    world.wait(10)
    assert world.state(id) == "cancelled"

    world.say(HOST, Results([completed(id, fence)]))
    world.wait(10)
    assert world.store.show(id) is None


def test_a_task_that_was_retried_by_hand_begins_a_new_time(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    run(world, 1, fail=True)
    pass_time(world, 2 * HOUR - 5 * MINUTE, MINUTE)

    said = world.say(CLIENT, Admin(1, "retry", {"ids": [1]}))
    assert Reply(1, True, {"retried": [1]}) in said[CLIENT]
    ((_, fence, _),) = granted(said)
    world.say(HOST, Results([failed(1, fence, retry=False)]))
    pass_time(world, HOUR, MINUTE)
    assert world.state(1) == "failed"

    pass_time(world, 2 * HOUR, MINUTE)
    assert counts(world, FAILED) == 0


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_clock_that_was_set_forward_makes_nothing_old_for_a_day(pool_with: Make, restarts: int) -> None:
    world = pool_with(keep=KEEP)
    run(world, 3)
    world.jump = 40 * DAY

    pass_time(world, 10 * HOUR, MINUTE * 10)
    for _ in range(restarts):
        world.start()
    pass_time(world, 10 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 3

    pass_time(world, 6 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 0


def test_that_day_goes_on_over_starts_of_the_machine_and_ends(pool_with: Make) -> None:
    def machine_starts_again(off: float) -> None:
        wall = world.wall + off
        world.boot, world.now, world.jump = world.boot + 1, 50.0, 0.0
        world.jump = wall - world.wall
        world.start()

    world = pool_with(keep=KEEP)
    world.now += 30 * DAY
    run(world, 3)
    world.jump = 40 * DAY
    pass_time(world, 6 * HOUR, MINUTE * 10)
    for _ in range(2):
        machine_starts_again(off=2 * HOUR)
        pass_time(world, 3 * HOUR, MINUTE * 10)
        world.start()
        pass_time(world, 3 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 3, "22 hours have passed"
    machine_starts_again(off=0.0)
    pass_time(world, 5 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 0

    world.client()
    world.host()
    run(world, 1)
    machine_starts_again(off=40 * DAY)
    pass_time(world, HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 0, "nobody can tell that from a clock that was set"


def test_a_clock_that_is_set_back_makes_that_day_no_longer(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    run(world, 3)
    world.jump = 40 * DAY
    pass_time(world, HOUR, MINUTE * 10)
    world.jump = 0.0
    pass_time(world, 12 * HOUR, MINUTE * 10)
    world.start()
    pass_time(world, 10 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 3, "23 hours have passed"
    pass_time(world, 2 * HOUR, MINUTE * 10)
    assert counts(world, COMPLETED) == 0


def test_counts_are_right_after_a_restart_too(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    run(world, 5)
    pass_time(world, 2 * HOUR, MINUTE)

    world.start()

    assert counts(world, COMPLETED) == 0


def test_a_session_is_forgotten_a_week_after_its_last_word(pool_with: Make) -> None:
    world = pool_with()
    world.client(b"d")
    world.send(peer=b"d")
    world.client(b"e")
    world.close(b"d")

    pass_time(world, SESSION_SECONDS - DAY, HOUR / 2)
    assert _sessions(world) == [CLIENT, b"d", b"e"]
    pass_time(world, 2 * DAY, HOUR / 2)
    assert _sessions(world) == [CLIENT, b"e"], "those that are connected stay, however little they say"

    world.close(b"e")
    pass_time(world, 2 * SESSION_SECONDS, HOUR)
    assert _sessions(world) == [CLIENT, b"e"], "the latest keeps its number from being given again"


def test_sessions_of_hosts_are_forgotten_when_nothing_names_them_any_more(pool_with: Make) -> None:
    world = pool_with(keep=KEEP)
    for name in (b"h", b"i", b"j"):
        world.host(name)
    for name in (b"h", b"i"):
        world.say(name, Bye("done"))

    pass_time(world, HOUR, MINUTE)
    assert _hosts(world) == 3
    pass_time(world, 30 * HOUR, HOUR)  # they are listed for a day
    assert _hosts(world) == 1


def _sessions(world: PoolAtHand) -> list[bytes]:
    store = world.store
    return [token[:1] for _, token, *_ in store._sessions.values()]  # pyright: ignore[reportPrivateUsage]


def _hosts(world: PoolAtHand) -> int:
    return len(world.store._hosts)  # pyright: ignore[reportPrivateUsage]


def _submit(world: PoolAtHand, submission: int) -> Message:
    """What the supervisor answers to one task from client `d`."""
    (answer,) = world.say(b"d", Submit(submission, 1, [["a", 5, None, [b"1"]]]))[b"d"]
    return answer


def _come_back(world: PoolAtHand, away: float) -> Welcome:
    """Client `d`, which has used the submission numbers 1 and 2, says HELLO after so many seconds; the answer."""
    offer = {"submitted": 2, "away": away}
    (welcome,) = world.say(b"d", Hello("client", [1, 1], b"d" * 16, "client", offer))[b"d"]
    assert isinstance(welcome, Welcome)
    return welcome


def test_what_a_forgotten_session_repeats_is_refused_not_doubled(pool: PoolAtHand) -> None:
    pool.client(b"d")
    assert _submit(pool, 1) == Accepted(1, 1, 1)
    assert _submit(pool, 2) == Accepted(2, 2, 1)
    pool.client(b"e")
    pool.close(b"d")
    pass_time(pool, SESSION_SECONDS + DAY, HOUR)

    assert _come_back(pool, SESSION_SECONDS + DAY).settings == {"forgotten": True}
    repeated = _submit(pool, 2)
    assert isinstance(repeated, Rejected)
    assert (repeated.submission, repeated.code) == (2, "forgotten")
    assert _submit(pool, 3) == Accepted(3, 3, 1)
    pool.start()
    assert _come_back(pool, 1.0).settings == {}
    assert isinstance(_submit(pool, 2), Rejected), "it stays refused after a restart"


def test_a_database_that_never_knew_a_session_takes_what_it_repeats(pool: PoolAtHand) -> None:
    """Another database, one that was restored, one that a power cut has set back."""
    assert _come_back(pool, DAY).settings == {}
    assert _submit(pool, 2) == Accepted(2, 1, 1)


@pytest.mark.parametrize(
    "offer",
    [
        {"submitted": "2", "away": 1e9},
        {"submitted": 2},
        {"submitted": -1, "away": 1e9},
        {"submitted": 2**63, "away": 1e9},
    ],
)
def test_a_nonsensical_past_is_none(pool: PoolAtHand, offer: dict[str, Any]) -> None:
    (welcome,) = pool.say(b"d", Hello("client", [1, 1], b"d" * 16, "client", offer))[b"d"]

    assert isinstance(welcome, Welcome)
    assert welcome.settings == {}
    assert _submit(pool, 1) == Accepted(1, 1, 1)
