"""The inbox that waits for everything: order, bounds, wake-ups, the timer, and what Pykka expects of it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import pykka
import pytest
from pykka._envelope import Envelope  # pyright: ignore[reportPrivateUsage]

from workerhost.transport.clock import now, wall
from workerhost.transport.mailbox import BATCH_ITEMS_MAX, LOCAL_STREAK_MAX, Batch, Mailbox

SECONDS = 5.0  # after which a wait in these tests has failed


@pytest.fixture(params=["eventfd", "socketpair"])
def mailbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """A mailbox as it is here, and as it is on a system without eventfd."""
    if request.param == "socketpair":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")
    return Mailbox()


def receive(mailbox: Mailbox) -> Any:
    """The next message; an empty batch after `SECONDS` fails whatever is then asserted."""
    mailbox.wake_at(now() + SECONDS)
    return mailbox.get().message


@contextmanager
def another_thread(do: Callable[[], object]) -> Generator[None]:
    thread = threading.Thread(target=do)
    thread.start()
    yield
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_the_hooks_of_pykka_that_this_stands_on_are_there() -> None:
    assert isinstance(inspect.getattr_static(pykka.ThreadingActor, "_create_actor_inbox"), staticmethod)
    envelope = Envelope("message")
    assert (envelope.message, envelope.reply_to) == ("message", None)
    assert "self.actor_inbox.get()" in inspect.getsource(pykka.Actor)


def test_local_messages_come_one_by_one_in_order_and_first(mailbox: Mailbox) -> None:
    mailbox.post("posted")
    mailbox.put(Envelope("one"))
    mailbox.put(Envelope("two"))

    assert [receive(mailbox), receive(mailbox)] == ["one", "two"]
    assert receive(mailbox).items == ["posted"]


def test_empty_speaks_of_local_messages_only(mailbox: Mailbox) -> None:
    mailbox.post("posted")
    assert mailbox.empty()

    mailbox.put(Envelope("local"))
    assert not mailbox.empty()


def test_posted_items_come_as_bounded_batches(mailbox: Mailbox) -> None:
    for number in range(BATCH_ITEMS_MAX + 44):
        mailbox.post(number)

    assert receive(mailbox).items == list(range(BATCH_ITEMS_MAX))
    assert receive(mailbox).items == list(range(BATCH_ITEMS_MAX, BATCH_ITEMS_MAX + 44))


@pytest.mark.parametrize("way", ["put", "post", "ring"])
def test_another_thread_wakes_a_waiting_owner(mailbox: Mailbox, way: str) -> None:
    waiting = threading.Event()

    def bring() -> None:
        assert waiting.wait(SECONDS)
        if way == "put":
            mailbox.put(Envelope("news"))
        elif way == "post":
            mailbox.post("news")
        else:
            mailbox.ring(lambda: ["news"])

    for _ in range(20):
        waiting.clear()
        with another_thread(bring):
            waiting.set()
            message = receive(mailbox)
        assert message == "news" if way == "put" else message.items == ["news"]


def test_no_wake_up_is_lost_between_busy_threads(mailbox: Mailbox) -> None:
    def bring() -> None:
        for number in range(2000):
            mailbox.post(number)

    got: list[int] = []
    with another_thread(bring), another_thread(bring), another_thread(bring):
        while len(got) < 6000:
            items = receive(mailbox).items
            assert items, "the timer came, not the news"
            got.extend(items)

    assert sorted(got) == sorted(list(range(2000)) * 3)


def test_a_flood_of_local_messages_does_not_starve_the_rest(mailbox: Mailbox) -> None:
    mailbox.post("posted")
    for _ in range(3 * LOCAL_STREAK_MAX):
        mailbox.put(Envelope("local"))

    messages = [receive(mailbox) for _ in range(LOCAL_STREAK_MAX + 1)]

    assert messages[:-1] == ["local"] * LOCAL_STREAK_MAX
    assert messages[-1].items == ["posted"]


def test_a_pipe_is_read_when_it_is_readable_and_when_it_ends(mailbox: Mailbox) -> None:
    near, far = os.pipe()
    mailbox.attach(near, lambda: [os.read(near, 100)])

    os.write(far, b"text")
    assert receive(mailbox).items == [b"text"]
    os.close(far)
    assert receive(mailbox).items == [b""]

    mailbox.detach(near)
    mailbox.wake_at(now())
    assert mailbox.get().message.items == []
    os.close(near)


def test_detaching_what_is_not_attached_is_no_error(mailbox: Mailbox) -> None:
    mailbox.detach(0)
    mailbox.wake_at(now())

    assert mailbox.get().message.items == []


def test_a_source_that_is_detached_by_another_one_of_the_same_turn_is_left_alone(mailbox: Mailbox) -> None:
    pipes = [os.pipe() for _ in range(2)]
    for position, (near, far) in enumerate(pipes):
        os.write(far, b"x")
        other = pipes[1 - position][0]

        def drain(mine: int = near, other: int = other) -> list[Any]:
            mailbox.detach(other)
            return [os.read(mine, 1)]

        mailbox.attach(near, drain)

    assert receive(mailbox).items == [b"x"]
    for pair in pipes:
        mailbox.detach(pair[0])
        for end in pair:
            os.close(end)


def test_what_several_sources_bring_at_once_is_bounded_and_none_starves(mailbox: Mailbox) -> None:
    pipes = {name: os.pipe() for name in "abc"}
    for name, (near, far) in pipes.items():
        os.write(far, b"x")  # never read: always readable
        mailbox.attach(near, lambda name=name: [name] * 200)

    batches = [receive(mailbox).items for _ in range(12)]

    assert all(len(batch) <= BATCH_ITEMS_MAX for batch in batches)
    assert all(sum(batch.count(name) for batch in batches) >= 400 for name in "abc")
    for near, far in pipes.values():
        mailbox.detach(near)
        os.close(near)
        os.close(far)


def test_the_timer_gives_one_empty_batch_and_never_early(mailbox: Mailbox) -> None:
    due = now() + 0.05
    mailbox.wake_at(due)

    assert mailbox.get().message.items == []
    assert due <= now() < due + SECONDS

    later = threading.Timer(0.02, mailbox.post, ["later"])
    later.start()
    assert mailbox.get().message.items == ["later"]  # it has rung: what ends the next wait is news
    later.join(SECONDS)


def test_news_that_is_there_comes_before_a_timer_that_is_due(mailbox: Mailbox) -> None:
    mailbox.wake_at(now() - 10)
    mailbox.post("news")

    assert mailbox.get().message.items == ["news"]
    assert mailbox.get().message.items == []


def test_a_timer_is_moved_and_taken_back(mailbox: Mailbox) -> None:
    mailbox.wake_at(now() - 1)
    mailbox.wake_at(None)
    mailbox.put(Envelope("local"))
    assert mailbox.get().message == "local"

    started = now()
    mailbox.wake_at(now() + 1000)
    mailbox.wake_at(started + 0.02)
    assert mailbox.get().message.items == []
    assert now() - started < SECONDS


def test_clocks_go_on() -> None:
    first, second = now(), now()

    assert first <= second
    assert wall() > 1_700_000_000


class Ear(pykka.ThreadingActor):
    """Keeps what it receives; `notice` is set when it fails or has heard a batch."""

    _create_actor_inbox = staticmethod(Mailbox)

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = cast("Mailbox", self.actor_inbox)
        self.heard: list[Any] = []
        self.notice = threading.Event()
        self.failure: BaseException | None = None

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Batch):
            self.heard.extend(message.items)
            self.notice.set()
            return None
        if callable(message):
            return message(self)
        return self.heard

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.failure = exception_value
        self.notice.set()


@pytest.fixture
def ear() -> Generator[pykka.ActorRef[Ear]]:
    ref = Ear.start()
    yield ref
    if ref.is_alive():
        ref.stop(timeout=SECONDS)


def inside_of(ear: pykka.ActorRef[Ear]) -> Ear:
    def myself(actor: Ear) -> Ear:
        return actor

    return cast("Ear", ear.ask(myself, timeout=SECONDS))


def test_an_actor_hears_asks_and_posted_items_and_stops(ear: pykka.ActorRef[Ear]) -> None:
    inside = inside_of(ear)
    inside.mailbox.post("news")
    assert inside.notice.wait(SECONDS)

    assert ear.ask("what?", timeout=SECONDS) == ["news"]
    ear.stop(timeout=SECONDS)
    with pytest.raises(pykka.ActorDeadError):
        ear.ask("and now?", timeout=SECONDS)


def test_asks_that_wait_when_an_actor_stops_are_answered(ear: pykka.ActorRef[Ear]) -> None:
    hold = threading.Event()

    def hold_on(_actor: Ear) -> None:
        hold.wait(SECONDS)

    ear.tell(hold_on)
    stopped = ear.stop(block=False)
    late = ear.ask("late", block=False)
    hold.set()

    assert stopped.get(timeout=SECONDS)
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=SECONDS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_drain_that_raises_is_a_failure_of_its_actor(ear: pykka.ActorRef[Ear]) -> None:
    def drain() -> list[Any]:
        raise OSError("the pipe broke")

    inside = inside_of(ear)
    inside.mailbox.ring(drain)

    assert inside.notice.wait(SECONDS)
    assert str(inside.failure) == "the pipe broke"
    assert inside.actor_stopped.wait(SECONDS)


# In a process of its own, where no thread of another test opens or closes anything meanwhile.
COUNTS = """
import gc, os, sys
if sys.argv[1] == "socketpair" and hasattr(os, "eventfd"):
    del os.eventfd
from workerhost.transport.mailbox import Mailbox

def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

Mailbox()
counts = [descriptors()]
several = [Mailbox() for _ in range(50)]
counts.append(descriptors())
del several
counts.append(descriptors())
print(*counts)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("wakes_by", ["eventfd", "socketpair"])
def test_a_mailbox_leaves_no_descriptor_behind(wakes_by: str) -> None:
    counted = subprocess.run(
        [sys.executable, "-c", COUNTS, wakes_by], capture_output=True, text=True, timeout=30, check=True
    )
    before, with_them, after = map(int, counted.stdout.split())
    assert with_them >= before + 50
    assert after == before
