"""Where a task was when it last said so: from its worker over its host into the store, and to its next attempt."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from unit.pool_words import EPOCH, HOST, completed, crashed, failed  # pyright: ignore[reportMissingImports]
from unit.test_hosting import granted, joined, result, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import HostEffect, Say
from workerhost.actors.core.host.joining import Joining
from workerhost.actors.core.host.outbox import CHECKPOINT_SECONDS, Outbox
from workerhost.actors.slot_frames import Frames, ProtocolError
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import (
    CHECKPOINT_BYTES_MAX,
    Admin,
    Cancel,
    Checkpoint,
    GiveBack,
    Hello,
    Message,
    Outcome,
    Refused,
    Results,
    Returned,
    Tasks,
)
from workerhost.workers import values
from workerhost.workers.base import BaseWorker
from workerhost.workers.errors import InvalidTask, TooLarge
from workerhost.workers.registry import offer_of
from workerhost.workers.runner import run
from workerhost.workers.slots import CHECKPOINTS_MAX, Slots
from workerhost.workers.task import Task

OTHER = b"o"

# A worker, and the slot that it runs in.


class Counter(BaseWorker):
    """Counts to params and saves each number."""

    type = "count"

    def execute(self, task: Task) -> Any:
        """Go on from the checkpoint."""
        first = task.checkpoint or 0
        for number in range(first + 1, task.params + 1):
            self.checkpoint(number)
        return [first, task.params]


class Saver(BaseWorker):
    """Saves its params' only item, whatever it is."""

    type = "save"
    value: Any = None

    def execute(self, task: Task) -> None:
        """Save it."""
        self.checkpoint(self.value)


def test_a_worker_goes_on_from_what_it_saved() -> None:
    saved: list[Any] = []
    end = run(Counter, Task(1, "count", 5, checkpoint=3), on_checkpoint=saved.append)

    assert values.unpack(end.body) == [3, 5]
    assert saved == [4, 5]


@pytest.mark.parametrize(
    ("value", "error"),
    [({1, 2}, InvalidTask), ("x" * (CHECKPOINT_BYTES_MAX + 1), TooLarge), ([1, float("nan")], InvalidTask)],
)
def test_what_cannot_be_saved_is_refused_at_once(
    value: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Saver, "value", value)

    with pytest.raises(error, match="checkpoint"):
        run(Saver, Task(1, "save"), reraise=True)


def test_a_checkpoint_outside_of_a_task_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="checkpoint exists only while a task runs"):
        Counter().checkpoint(1)


def test_a_slot_says_the_latest_with_the_end_and_the_next_attempt_finds_it() -> None:
    said: list[tuple[list[Any], ...]] = []

    def emit(*news: list[Any]) -> None:
        said.append(news)
        if news[1]:
            slots.stop()

    slots = Slots(offer_of([Counter]), 1, emit, lambda: None)
    extra = {"checkpoint": values.pack(2)}
    slots.feed([(5, 50, "count", 2, 0, 5, 0.0, None, None, (), values.pack(100), extra)])
    slots.work()

    first, last = said  # the first leaves at once, the others wait for each other
    assert first == ([], [], [], [[5, 50, values.pack(3)]])
    assert last[3] == [[5, 50, values.pack(100)]]
    assert [(item[0], values.unpack(item[3])) for item in last[1]] == [(5, [2, 100])]


def test_a_slots_frame_stays_bounded_however_many_tasks_save() -> None:
    said: list[tuple[list[Any], ...]] = []

    def emit(*news: list[Any]) -> None:
        said.append(news)

    slots = Slots(offer_of([Counter]), 1, emit, lambda: None)
    for id in range(1 + 2 * CHECKPOINTS_MAX):

        class Running:
            task = Task(id, "count", fence=1)

        slots.save(Running, b"body")  # pyright: ignore[reportArgumentType]  # all that it looks at

    assert [len(news[3]) for news in said] == [1, CHECKPOINTS_MAX, CHECKPOINTS_MAX]


@pytest.mark.parametrize(
    "checkpoints", [[[1, 2]], [[1, 2, "text"]], [[1, "2", b""]], 7, [[1, 2, bytes(CHECKPOINT_BYTES_MAX + 1)]]]
)
def test_a_childs_checkpoints_are_checked(checkpoints: Any) -> None:
    body = values.msgpack.packb([5, [], [], [], checkpoints])
    with pytest.raises(ProtocolError, match="checkpoint"):
        Frames().feed(len(body).to_bytes(4, "little") + body, SlotNews(1))


# A host.


def said(outbox: Outbox, now: float) -> list[Message]:
    effects: list[HostEffect] = []
    outbox.speak(Joining(effects, lambda: Hello("host", [1, 1], bytes(16)), "tcp://s", 0.5), now)
    return [effect.message for effect in effects if isinstance(effect, Say)]


def test_a_host_says_the_latest_four_times_a_second_at_most() -> None:
    outbox = Outbox()
    assert outbox.due() == inf
    outbox.save([1, 10, b"a"])
    assert said(outbox, 100.0) == [Checkpoint([[1, 10, b"a"]])]

    for body in (b"b", b"c"):
        outbox.save([1, 10, body])
        assert said(outbox, 100.1) == []
    assert outbox.due() == 100.0 + CHECKPOINT_SECONDS
    assert said(outbox, outbox.due()) == [Checkpoint([[1, 10, b"c"]])]
    assert outbox.due() == inf
    assert said(outbox, 200.0) == []


def test_the_last_one_travels_before_the_end_of_its_attempt() -> None:
    outbox = Outbox()
    for id in (1, 2, 3, 4):
        outbox.save([id, 10, b"a"])
    said(outbox, 100.0)
    for id in (1, 2, 3, 4):
        outbox.save([id, 10, b"b"])
    outbox.ended((1, 10))
    outbox.ended((2, 10), completed=True)
    outbox.ended((3, 10))
    outbox.results += [failed(1, 10), completed(2, 10)]
    outbox.returned.append([3, 10, Returned.DRAIN, 0.0, "", True])

    assert said(outbox, 100.01) == [
        Checkpoint([[1, 10, b"b"], [3, 10, b"b"]]),
        Results([failed(1, 10), completed(2, 10)]),
        GiveBack([[3, 10, Returned.DRAIN, 0.0, "", True]]),
    ]
    outbox.recorded(2)
    outbox.heard(3)
    assert outbox.checkpoints == {(4, 10): [4, 10, b"b"]}, "what is over is forgotten"


def test_a_host_that_was_cut_off_says_again_what_was_not_recorded() -> None:
    outbox = Outbox()
    outbox.save([1, 10, b"a"])
    outbox.save([2, 10, b"a"])
    outbox.ended((2, 10))
    outbox.results.append(failed(2, 10))
    said(outbox, 100.0)

    outbox.session_over()

    assert said(outbox, 100.01) == [Checkpoint([[1, 10, b"a"], [2, 10, b"a"]]), Results([failed(2, 10)])]


def test_large_checkpoints_travel_in_several_messages() -> None:
    outbox = Outbox()
    for id in range(50):
        outbox.save([id, 10, bytes(CHECKPOINT_BYTES_MAX)])

    sizes = [len(message.items) for message in said(outbox, 100.0) if isinstance(message, Checkpoint)]

    assert sizes == [17, 17, 16]


def messages(effects: list[HostEffect]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Say)]


@pytest.mark.parametrize(
    ("tree", "cause"), [({"timeout": 5.0}, "timeout"), ({"no_progress_timeout": 5.0}, "no_progress")]
)
def test_what_a_task_saves_when_it_is_asked_to_end_is_there_for_its_next_attempt(
    tree: dict[str, float], cause: str
) -> None:
    """It looks, saves where it is and returns: its result does not count, so that another attempt follows."""
    host = joined(tree={"text.length": tree})
    granted(host, task(7, 70))
    host.quiet(5.5)

    saved, ended = messages(host.slot(1, checkpoints=[[7, 70, b"half"]], results=[result(7, 70)]))

    assert saved == Checkpoint([[7, 70, b"half"]])
    assert isinstance(ended, Results)
    assert [(item[0], item[2], item[6]["cause"]) for item in ended.items] == [(7, Outcome.TIMEOUT, cause)]


def test_a_host_that_leaves_at_once_says_the_latest_too() -> None:
    host = joined()
    granted(host, task(7, 70), task(8, 80))
    host.at(1.0)
    host.slot(2, now=1.05, checkpoints=[[8, 80, b"a"]])
    host.slot(1, now=1.1, checkpoints=[[7, 70, b"latest"]])

    host.core.stop(1.12)

    _claim, saved, back, _bye = messages(host.core.take(1.12))
    assert saved == Checkpoint([[7, 70, b"latest"]])
    assert isinstance(back, GiveBack)
    assert [item[:3] for item in back.items] == [[7, 70, Returned.DRAIN], [8, 80, Returned.DRAIN]]


# The pool.


def brought(said: dict[bytes, list[Message]], host: bytes = HOST) -> list[tuple[int, int, Any]]:
    """(id, fence, checkpoint) of the tasks that a host was given."""
    none: dict[str, Any] = {}
    return [
        (task[0], task[1], (task[6] or none).get("checkpoint"))
        for message in said.get(host, [])
        if isinstance(message, Tasks)
        for _, tasks in message.groups
        for task in tasks
    ]


def test_the_next_attempt_finds_the_latest_checkpoint(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"first"]]), Checkpoint([[1, EPOCH + 1, b"latest"]]))

    pool.say(HOST, Results([crashed(1, EPOCH + 1)]))

    assert pool.store.show(1)["crashes"] == 1
    assert brought(pool.say(HOST, Results([failed(1, EPOCH + 2, retry=False)]))) == []
    assert pool.store.checkpoints([1]) == {}, "it has ended for good"


def test_a_checkpoint_comes_with_each_grant_until_a_later_one(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"one"]]))
    assert brought(pool.say(HOST, Results([crashed(1, EPOCH + 1)]))) == [(1, EPOCH + 2, b"one")]
    released = [1, EPOCH + 2, Returned.RELEASED, 0.0, "", True]
    assert brought(pool.say(HOST, GiveBack([released]))) == [(1, EPOCH + 3, b"one")]
    said = pool.say(HOST, Checkpoint([[1, EPOCH + 3, b"two"]]), Results([failed(1, EPOCH + 3, after=0.0)]))
    again = brought(said) or brought(pool.wait(1.0))  # its time may have come at once
    assert again == [(1, EPOCH + 4, b"two")]


def test_a_lost_hosts_task_goes_on_elsewhere_from_its_checkpoint(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"half"]]))
    pool.host(OTHER)
    pool.silent.add(HOST)

    assert brought(pool.wait(10.0), OTHER) == [(1, EPOCH + 2, b"half")]


def test_a_decline_between_two_attempts_loses_none(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"half"]]), Results([crashed(1, EPOCH + 1)]))
    pool.host(OTHER)

    said = pool.say(HOST, GiveBack([[1, EPOCH + 2, Returned.DECLINED, 0.0, "not mine", False]]))

    assert brought(said, OTHER) == [(1, EPOCH + 3, b"half")]


@pytest.mark.parametrize("fence", [EPOCH, EPOCH + 2])
def test_a_checkpoint_with_another_fence_changes_nothing(pool: Any, fence: int) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, fence, b"stale"], [99, fence, b"of nobody"]]))

    assert pool.store.checkpoints([1, 99]) == {}


def test_a_checkpoint_of_another_host_changes_nothing(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.host(OTHER)
    pool.say(OTHER, Checkpoint([[1, EPOCH + 1, b"not mine"]]))

    assert pool.store.checkpoints([1]) == {}


def test_a_cancelled_task_keeps_none_and_takes_none(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"half"]]))
    pool.say(b"c", Cancel(1, [1]))
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"later"]]))

    assert pool.store.checkpoints([1]) == {}


def test_a_task_that_is_retried_by_hand_begins_from_nothing(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"half"]]), Results([failed(1, EPOCH + 1, retry=False)]))

    assert brought(pool.say(b"c", Admin(1, "retry", {"ids": [1]}))) == [(1, EPOCH + 3, None)]


def test_a_restarted_supervisor_still_has_it(pool: Any) -> None:
    pool.host()
    pool.send()
    pool.say(HOST, Checkpoint([[1, EPOCH + 1, b"half"]]))

    pool.start()

    assert brought(pool.host(OTHER)) == []
    assert brought(pool.wait(10.0), OTHER) == [(1, 2 * EPOCH + 1, b"half")]


@pytest.mark.parametrize(
    "item", [[1, EPOCH + 1], [1, EPOCH + 1, "text"], [1, EPOCH + 1, bytes(CHECKPOINT_BYTES_MAX + 1)], [0, 1, b""], 7]
)
def test_a_malformed_checkpoint_ends_the_session_and_nothing_else(pool: Any, item: Any) -> None:
    pool.host()
    pool.send()

    (refused,) = pool.say(HOST, Checkpoint([item]))[HOST]

    assert isinstance(refused, Refused)
    assert refused.code == "forbidden"
    assert pool.store.checkpoints([1]) == {}


def test_many_tasks_with_checkpoints_come_in_bounded_messages(pool: Any) -> None:
    pool.host(slots=100)
    pool.send(count=100)
    bodies = [[id, EPOCH + id, bytes(CHECKPOINT_BYTES_MAX)] for id in range(1, 101)]
    for start in range(0, 100, 10):
        pool.say(HOST, Checkpoint(bodies[start : start + 10]))
    said = pool.say(HOST, Results([crashed(id, EPOCH + id) for id in range(1, 101)]))

    messages = [message for message in said[HOST] if isinstance(message, Tasks)]
    sizes = [sum(len(task[6]["checkpoint"]) for _, tasks in message.groups for task in tasks) for message in messages]
    assert sum(sizes) == 100 * CHECKPOINT_BYTES_MAX
    assert max(sizes) <= 3 * 1024 * 1024
