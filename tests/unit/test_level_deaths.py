"""Level actors that die in every way there is: each is noticed, is started again alone, and takes no other along."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope  # pyright: ignore[reportPrivateUsage]

from workerhost.actors import levels
from workerhost.actors.core.host.verdicts import Brief, Offer, Verdict
from workerhost.actors.levels import Hopeless, LevelActor, MediaActor, Revive, Subtree, VerdictTable

WAIT_SECONDS = 5.0
OFFER = Offer(("audio", "video", "video.*"))
NODES = ("video", "video.youtube", "video.youtube.channel", "audio")


class Table(VerdictTable):
    """Tells when it is written, and breaks whoever writes what it was told to break at."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Condition()
        self.breaks: dict[str, list[BaseException]] = {}

    def put(self, type: str, writer: int, verdict: Verdict) -> bool:
        if verdict[0] != "failed" and self.breaks.get(type):
            raise self.breaks[type].pop()
        changed = super().put(type, writer, verdict)
        with self.written:
            self.written.notify_all()
        return changed

    def wait(self, holds: Callable[[dict[str, Verdict]], bool]) -> None:
        with self.written:
            assert self.written.wait_for(lambda: holds(self.copy()), WAIT_SECONDS), self.copy()


class Bystander(pykka.ThreadingActor):
    """Any other actor of the process."""

    use_daemon_thread = True

    def on_receive(self, message: Any) -> Any:
        return message


class Owner:
    """Who owns the media actors, as a host does: `run` handles what it is told until something holds."""

    def __init__(self) -> None:
        self.table = Table()
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.deaths: list[tuple[str, str]] = []
        self.subtree = Subtree(MediaActor, self.table, self.told.put)

    def run(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.heed(self.told.get(timeout=WAIT_SECONDS))

    def heed(self, message: Any) -> None:
        if isinstance(message, Revive):
            self.subtree.revive(message)
        else:
            self.deaths.append((message.type, message.reason))
            self.subtree.down(message)

    def idle(self, *types: str) -> None:
        self.table.wait(lambda table: all(table.get(type, ("",))[0] == "idle" for type in types))


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.subtree.stop()
    pykka.ActorRegistry.stop_all(timeout=WAIT_SECONDS)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), GeneratorExit()])
def test_no_exception_of_one_actor_takes_others_along(owner: Owner, error: BaseException) -> None:
    bystander = Bystander.start()
    owner.subtree.tell(Brief(NODES))
    owner.table.wait(lambda table: len(table) == 4)
    owner.table.breaks["audio"] = [error]
    owner.subtree.tell(Brief(NODES, OFFER))

    owner.run(lambda: bool(owner.deaths))
    owner.idle(*NODES)
    assert owner.deaths == [("audio", repr(error))]
    assert bystander.ask("there?", timeout=WAIT_SECONDS) == "there?"


def test_a_death_below_is_mended_below_and_the_one_above_hears_of_it_only_when_it_is_hopeless(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "spawner", AtOnce)
    owner.subtree.tell(Brief(NODES))
    owner.table.wait(lambda table: len(table) == 4)
    owner.table.breaks["video.youtube.channel"] = [RuntimeError("again") for _ in range(5)]
    owner.subtree.tell(Brief(NODES, OFFER))
    owner.idle(*NODES)
    assert owner.table.breaks["video.youtube.channel"] == [], "five deaths, each mended by the platform"
    assert owner.told.empty()

    # A sixth: the platform gives up and dies itself, is started again by the media, and its children with it.
    owner.table.breaks["video.youtube.channel"] = [RuntimeError("again")]
    owner.subtree.tell(Brief(NODES, OFFER, {"video.youtube.channel": 1}))
    busy = ("video.youtube", "video.youtube.channel")
    owner.table.wait(lambda table: all(table.get(type, ("",))[0] == "busy" for type in busy))
    assert owner.told.empty(), "the media has dealt with it"


def test_what_is_hopeless_at_the_top_is_for_the_host_and_stays_failed(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "spawner", AtOnce)
    owner.table.breaks["audio"] = [RuntimeError("always") for _ in range(100)]
    owner.subtree.tell(Brief(NODES, OFFER))
    with pytest.raises(Hopeless, match="audio died 6 times"):
        owner.run(lambda: False)
    owner.idle("video", "video.youtube", "video.youtube.channel")
    assert owner.table.copy()["audio"][0] == "failed"


def test_a_thread_that_ended_without_a_word_is_noticed_and_its_actor_started_again(owner: Owner) -> None:
    owner.subtree.tell(Brief(NODES, OFFER))
    owner.idle(*NODES)
    (ref,) = [ref for ref in pykka.ActorRegistry.get_by_class(MediaActor) if actor_of(ref).type == "audio"]
    silence(ref)
    owner.subtree.watch()

    owner.idle(*NODES)
    (again,) = [ref for ref in pykka.ActorRegistry.get_by_class(MediaActor) if actor_of(ref).type == "audio"]
    assert again.actor_urn != ref.actor_urn


def test_one_far_below_that_died_silently_is_noticed_too(owner: Owner) -> None:
    owner.subtree.tell(Brief(NODES, OFFER))
    owner.idle(*NODES)
    (ref,) = pykka.ActorRegistry.get_by_class(levels.EndpointActor)
    silence(ref)

    first = owner.table.version
    owner.subtree.watch()
    owner.table.wait(
        lambda table: owner.table.version > first and table.get("video.youtube.channel", ("",))[0] == "idle"
    )
    (again,) = pykka.ActorRegistry.get_by_class(levels.EndpointActor)
    assert again.actor_urn != ref.actor_urn
    assert owner.told.empty()


def test_one_that_cannot_be_made_or_does_not_start_counts_as_dead(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MediaActor.__init__
    failures = [OSError("no more threads")]

    def broken(self: MediaActor, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        made(self, *arguments)

    monkeypatch.setattr(MediaActor, "__init__", broken)
    owner.subtree.tell(Brief(("audio",), OFFER))
    owner.run(lambda: bool(owner.deaths))
    assert "no more threads" in owner.deaths[0][1]
    owner.idle("audio")


class AtOnce:
    """A spawner for which every wait is over."""

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        call()


def actor_of(ref: pykka.ActorRef[Any]) -> LevelActor:
    actor: LevelActor | None = ref._actor_weakref()  # pyright: ignore[reportPrivateUsage]
    assert actor is not None
    return actor


def silence(ref: pykka.ActorRef[Any]) -> None:
    """End an actor's thread so that none of its hooks runs, as an error in its inbox would."""
    actor: Any = actor_of(ref)
    thread: Any = ref.ask(levels.Started(), timeout=WAIT_SECONDS)
    actor.actor_stopped.set()
    ref.actor_inbox.put(Envelope(levels.Started()))
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    actor.actor_stopped.clear()  # as far as anybody can tell by its flag, it lives
