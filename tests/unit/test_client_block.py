"""What a client remembers: ends, who waits for them, and that nothing is kept for handles that are gone."""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Sequence

import pytest

from workerhost.transport.block import UNKNOWN, Block, Register, Waiter
from workerhost.transport.events import take_events
from workerhost.transport.messages import Events

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = 2, 3, 4, 5, 6


def registered(*blocks: Block) -> Register:
    register = Register()
    for block in blocks:
        register.add(block)
    return register


def test_a_block_counts_its_ends_whatever_their_order_and_repetition() -> None:
    block = Block(3, QUEUED, first=10)
    block.end(1, b"one")
    block.end(1, b"one")
    block.end(0, (CANCELLED, b"", None))
    assert (block.left, block.completed) == (1, 1)

    block.end(1, (FAILED, b"", {"message": "corrected"}))
    assert (block.left, block.completed, block.unfinished()) == (1, 0, [12])

    block.reopen(1)
    assert (block.left, block.completed, block.unfinished()) == (2, 0, [11, 12])


def test_a_split_block_is_a_chain_in_order() -> None:
    block = Block(10, QUEUED)
    last = block.split(6)
    middle = block.split(2)
    assert block.chain() == [block, middle, last]
    assert [part.count for part in block.chain()] == [2, 4, 4]
    assert [len(part.ends) for part in block.chain()] == [2, 4, 4]
    assert [part.left for part in block.chain()] == [2, 4, 4]


def test_a_waiter_that_is_woken_before_it_sleeps_does_not_sleep() -> None:
    waiter = Waiter()
    waiter.wake()
    waiter.wake()
    assert waiter.wait(5)
    assert not waiter.wait(0)


def test_a_waiter_wakes_in_another_thread() -> None:
    waiter = Waiter()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(waiter.wait(5)))
    thread.start()
    waiter.wake()
    thread.join(5)
    assert woken == [True]


def test_the_register_finds_single_tasks_and_ranges() -> None:
    single, low, high = Block(1, QUEUED, 7), Block(3, QUEUED, 20), Block(1000, QUEUED, 100)
    register = registered(high, single, low)
    assert register.find(7) is single
    assert [register.find(id) for id in (19, 20, 22, 23)] == [None, low, low, None]
    assert [register.find(id) for id in (100, 1099, 1100)] == [high, high, None]
    assert {block.first for block in register.all()} == {7, 20, 100}


def test_the_register_forgets_what_nobody_holds() -> None:
    kept = Block(5, QUEUED, 1)
    register = registered(kept, Block(1, QUEUED, 50), Block(9, QUEUED, 60))
    gc.collect()
    assert len(register) == 1
    assert register.find(50) is register.find(60) is None
    assert register.find(3) is kept


def test_a_block_that_replaces_another_is_not_forgotten_with_it() -> None:
    old = Block(1, QUEUED, 5)
    register = registered(old)
    new = Block(1, QUEUED, 5)
    register.add(new)
    del old
    gc.collect()
    assert len(register) == 1
    assert register.find(5) is new


def test_ends_go_to_their_blocks_and_the_last_of_them_is_remembered() -> None:
    first, second = Block(2, QUEUED, 1), Block(2, QUEUED, 10)
    register = registered(first, second)
    rows = [[1, 5, COMPLETED, b"a", None], [10, 6, FAILED, b"", {"message": "no"}], [99, 7, COMPLETED, b"", None]]
    assert take_events(Events([*rows, [2, 8, COMPLETED, b"b", None]]), register, set(), after=4) == (4, 8)
    assert first.ends == [b"a", b"b"]
    assert second.ends == [(FAILED, b"", {"message": "no"}), None]
    assert (first.left, first.completed, second.left, second.completed) == (0, 2, 1, 0)


def test_ends_of_watched_tasks_do_not_move_what_the_session_has_seen() -> None:
    watched = Block(1, QUEUED, 30)
    register = registered(watched)
    foreign = {30, 31}
    events = Events([[4, 12, COMPLETED, b"", None], [30, 0, COMPLETED, b"a", None]])
    assert take_events(events, register, foreign, after=11) == (2, 12)
    assert (watched.ends, foreign) == ([b"a"], {31})


def test_ends_of_own_tasks_count_as_seen_whoever_watches_them() -> None:
    own = Block(2, QUEUED, 30)
    foreign = {30, 40}
    events = Events([[30, 12, COMPLETED, b"a", None], [40, 0, COMPLETED, b"", None]])
    assert take_events(events, registered(own), foreign, after=11) == (2, 12)
    assert (own.ends, foreign) == ([b"a", None], set())


def test_progress_makes_a_task_run_and_a_state_corrects_it() -> None:
    block = Block(3, QUEUED, 1)
    events = Events([], [[2, 0.5, "half", 99.0]], [[1, RUNNING], [3, UNKNOWN]])
    take_events(events, registered(block), set(), 0)
    assert block.progress == {1: (0.5, "half", 99.0)}
    assert block.states == {1: RUNNING, 0: RUNNING}
    assert block.ends == [None, None, (UNKNOWN, b"", None)]


def test_a_task_that_runs_again_after_its_end_has_not_ended() -> None:
    block = Block(1, QUEUED, 1)
    register = registered(block)
    take_events(Events([[1, 3, FAILED, b"", None]]), register, set(), 0)
    take_events(Events([], [], [[1, QUEUED]]), register, set(), 3)
    assert (block.ends, block.left, block.states) == ([None], 1, {0: QUEUED})


def test_a_later_version_may_say_more_about_an_end() -> None:
    block = Block(2, QUEUED, 1)
    rows = [[1, 1, COMPLETED, b"a", None, "new"], [2, 2, CANCELLED, b"", {"reason": "why"}, "new"]]
    take_events(Events(rows), registered(block), set(), 0)
    assert block.ends == [b"a", (CANCELLED, b"", {"reason": "why"})]


@pytest.mark.parametrize(
    "events",
    [
        Events([[1, 1, COMPLETED, "text", None]]),
        Events([[1, 1, RUNNING, b"", None]]),
        Events([[1, 1, 77, b"", None]]),
        Events([[1, 1, FAILED, b"", "why"]]),
        Events([["one", 1, COMPLETED, b"", None]]),
        Events([[1]]),
        Events([7]),
        Events([], [[1, "half", "", 0.0]]),
        Events([], [], [[1, 99]]),
        Events([], [], [[1]]),
    ],
)
def test_nonsense_inside_events_is_noticed(events: Events) -> None:
    block = Block(2, QUEUED, 1)
    register = registered(block)
    with pytest.raises((TypeError, ValueError, IndexError)):
        take_events(events, register, set(), 0)


def test_who_collects_is_told_which_tasks_ended() -> None:
    block = Block(3, QUEUED, 1)
    waiter = Waiter()
    ended = waiter.ended = deque[tuple[Block, Sequence[int]]]()
    block.waiters.append(waiter)
    rows = [[3, 1, COMPLETED, b"", None], [1, 2, FAILED, b"", None]]
    take_events(Events(rows), registered(block), set(), 0)
    assert sorted(offset for _, offsets in ended for offset in offsets) == [0, 2]
    assert waiter.wait(0)
