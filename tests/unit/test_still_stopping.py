"""What was told to stop and has not yet ended counts, over a restart too: a limit is a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.pool_words import CLIENT, HOST, granted  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Bye, Cancel, Claim, Hello, Outcome, Results, Stop

Make = Callable[..., Any]


def ids(said: dict[bytes, list[Any]], host: bytes = HOST) -> list[int]:
    return [id for id, _, _ in granted(said, host)]


def codes(pool: Any, type: str) -> list[str]:
    lane = pool.pool.queue.lanes.by_type[type][0]
    return [block.code for block in pool.pool.queue.lanes.tree.blocks(lane, pool.now, pool.wall)]


@pytest.mark.parametrize("gone", ["", "left", "spoke in the same turn"])
def test_a_copy_that_is_still_stopping_counts_after_a_restart(pool_with: Make, gone: str) -> None:
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.host(HOST, "v", slots=2)
    ((id, fence, _),) = granted(pool.send("v", 2))
    pool.say(CLIENT, Cancel(1, [id]))
    assert pool.state(2) == "queued", "it stops, and its slot is not free before it has"
    pool.start()
    offer = {"types": ["v"], "slots": {"": 2}, "running": [[id, fence]], "finished": []}
    hello = Hello("host", [1, 1], HOST * 16, "h", offer)
    stopped = Results([[id, fence, Outcome.CANCELLED, b"", 0.1, 1, None]])
    if gone == "spoke in the same turn":
        pool.say(HOST, hello, stopped)
        assert ids(pool.say(HOST, Claim({"": 2}))) == [2]
        return
    said = pool.say(HOST, hello)
    assert ids(pool.say(HOST, Claim({"": 2}))) == []
    assert [message for message in said[HOST] if isinstance(message, Stop)] == [Stop([[id, fence]])]
    assert codes(pool, "v") == ["max_concurrent"]
    if gone == "left":
        pool.say(HOST, Bye("enough"))
        assert ids(pool.host(b"i", "v"), b"i") == [2]
    else:
        assert ids(pool.say(HOST, stopped)) == [2]


def test_of_two_hellos_in_one_turn_the_later_says_what_runs(pool_with: Make) -> None:
    """The first came over a connection that its host had closed already, while nobody listened."""
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.host(HOST, "v", slots=2)
    ((id, fence, _),) = granted(pool.send("v", 2))
    pool.say(CLIENT, Cancel(1, [id]))
    pool.start()
    offer = {"types": ["v"], "slots": {"": 2}, "running": [[id, fence]], "finished": [], "greeting": 2}
    early = Hello("host", [1, 1], HOST * 16, "h", offer)
    late = Hello("host", [1, 1], HOST * 16, "h", {**offer, "running": [], "greeting": 3})
    pool.hear([(b"old", 0, early), (HOST, 0, late)])
    pool.numbers[HOST] = 0
    assert ids(pool.say(HOST, Claim({"": 2}))) == [2]
    assert codes(pool, "v") == ["max_concurrent"], "the one that runs now"
    assert pool.pool.queue.lanes.tree.copies.by_owner == {}


@pytest.mark.parametrize("back", ["stops", "lost", "knows nothing of it"])
def test_after_a_restart_nobody_is_granted_in_the_place_of_what_may_still_stop(pool_with: Make, back: str) -> None:
    pool = pool_with({"v": {"max_concurrent": 1}})
    pool.host(HOST, "v", slots=2)
    ((id, fence, _),) = granted(pool.send("v", 2))
    pool.send("w")
    pool.say(CLIENT, Cancel(1, [id]))
    pool.start()
    pool.client()
    assert ids(pool.host(b"i", "v", "w", slots=2), b"i") == [3], "what has no limit runs"
    assert codes(pool, "v") == ["max_concurrent"]
    if back == "lost":
        assert ids(pool.wait(pool.settings.lost_after + 1.0), b"i") == [2]
        return
    running = [[id, fence]] if back == "stops" else []
    offer = {"types": ["v"], "slots": {"": 2}, "running": running, "finished": []}
    pool.say(HOST, Hello("host", [1, 1], HOST * 16, "h", offer))
    said = pool.wait(0.5)
    if back == "stops":
        assert ids(said, b"i") == []
        said = pool.say(HOST, Results([[id, fence, Outcome.CANCELLED, b"", 0.1, 1, None]]))
    assert ids(said, b"i") == [2]
    pool.start()
    pool.client()
    assert not pool.pool.queue.lanes.tree.unsure, "nothing stops any more"
