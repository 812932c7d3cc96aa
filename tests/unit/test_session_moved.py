"""A session goes on over another connection, in the very turn in which its old one still asked for something: what has
to be looked up for the old one by then is done for nobody, and is done once, when the session repeats it.
"""

from __future__ import annotations

from typing import Any

from unit.pool_words import CLIENT, ended  # pyright: ignore[reportMissingImports]

from workerhost.transport.messages import Accepted, Cancel, Events, Hello, Message, Reply, Submit, Tail, Watch, Welcome

NEW = b"n"


def move(pool: Any, *asked: Message) -> dict[bytes, list[Message]]:
    """The session of CLIENT says HELLO on a new connection, and the old one says this right behind it."""
    batch: list[tuple[bytes, int, Message | None]] = [(NEW, 0, Hello("client", [1, 1], CLIENT * 16, "client"))]
    batch += [(CLIENT, pool.numbers[CLIENT] + index, message) for index, message in enumerate(asked, 1)]
    pool.numbers[NEW] = 0
    return pool._turn(pool.pool.handle(batch, pool.now, pool.wall))


def test_a_submission_that_comes_after_others_is_stored_once(pool: Any) -> None:
    pool.send(count=1)
    behind = Submit(2, 1, [["a", 5, {"after": [1]}, [b"x"]]])
    said = move(pool, behind)
    assert [type(message) for message in said.pop(NEW)] == [Welcome]
    assert said == {}, "nothing is stored for the connection that is gone"
    assert pool.store.show(2) is None
    assert pool.say(NEW, behind) == {NEW: [Accepted(2, 2, 1)]}
    assert pool.say(NEW, behind) == {NEW: [Accepted(2, 2, 1)]}
    pool.start()
    pool.say(NEW, Hello("client", [1, 1], CLIENT * 16, "client"))
    assert pool.say(NEW, behind) == {NEW: [Accepted(2, 2, 1)]}
    assert pool.store.show(3) is None


def test_what_was_asked_by_id_is_asked_again_by_the_new_one(pool: Any) -> None:
    pool.send(count=2)
    pool.say(CLIENT, Cancel(1, [1]))
    said = move(pool, Watch(0, 100, [1, 2]), Tail([1]))
    assert [type(message) for message in said.pop(NEW)] == [Welcome]
    assert said == {}
    assert pool.pool.clients.watchers == {}
    assert pool.pool.next_time(pool.now) > pool.now, "nothing is read for nobody"
    said = pool.say(NEW, Watch(2, 100, [1, 2]))
    assert said[NEW] == [Events([], [], [[2, 2]])]
    assert ended(pool.wait(0.1), NEW) == [(1, 6)]


def test_an_order_that_was_heard_is_carried_out_for_whoever_gave_it(pool: Any) -> None:
    """A person who cancels and goes means it."""
    pool.send(count=1)
    said = move(pool, Cancel(1, [1]))
    assert [m for m in said[CLIENT] if isinstance(m, Reply)] == [Reply(1, True, {"cancelled": [1]})]
    assert pool.state(1) == "cancelled"
