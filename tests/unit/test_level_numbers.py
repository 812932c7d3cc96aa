"""Many nodes on one host: what is done for each of them, counted, and how many have an actor of their own."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pykka
import pytest

from workerhost.actors import levels
from workerhost.actors.core.host.verdicts import Brief, Offer, Verdict, verdict
from workerhost.actors.levels import (
    LEVEL_ACTORS_MAX,
    Briefing,
    EndpointActor,
    MediaActor,
    PlatformActor,
    Subtree,
    VerdictTable,
)

WAIT_SECONDS = 5.0
ANY = Offer(any=True)
INVENTED = 5_000


class Counted(dict[str, Any]):
    """Counts how many of its entries are looked at, one after the other."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            self.looks += 1
            yield key

    def items(self) -> Any:
        for item in super().items():
            self.looks += 1
            yield item


class CountedTypes(tuple[str, ...]):
    """The same, of types."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        for type in super().__iter__():
            self.looks += 1
            yield type


class Table(VerdictTable):
    """Counts what is written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: Counter[str] = Counter()
        self.written = threading.Condition()

    def put(self, type: str, writer: int, verdict: Verdict) -> bool:
        changed = super().put(type, writer, verdict)
        with self.written:
            self.puts[type] += 1
            self.written.notify_all()
        return changed

    def wait(self, verdicts: Mapping[str, Verdict]) -> None:
        with self.written:
            assert self.written.wait_for(lambda: self.copy() == verdicts, WAIT_SECONDS), self.copy()


class Gated(Table):
    """Whoever writes waits for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.gate = threading.Event(), threading.Event()

    def put(self, type: str, writer: int, verdict: Verdict) -> bool:
        self.reached.set()
        assert self.gate.wait(WAIT_SECONDS)
        return super().put(type, writer, verdict)


class Ref:
    """An actor that only keeps what it is told."""

    def __init__(self, told: list[tuple[str, Any]], type: str) -> None:
        self._told, self._type = told, type

    def ask(self, message: Any, timeout: float) -> Any:
        return threading.current_thread()

    def tell(self, message: Any) -> None:
        self._told.append((self._type, message))
        if isinstance(message, Briefing):
            message.take()

    def stop(self, *, block: bool) -> None:
        self._told.append((self._type, f"stop, {block}"))


class Owned:
    """A host's subtree of level actors without threads."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.started: list[str] = []
        self.table = Table()
        owned = self

        class Child(MediaActor):
            """Started without a thread."""

            @classmethod
            def start(cls, *arguments: Any, **_: Any) -> Any:
                owned.started.append(arguments[0])
                return Ref(owned.told, arguments[0])

        self.subtree = Subtree(Child, self.table, self._down)

    def _down(self, message: Any) -> None:
        raise AssertionError(message)

    def tell(self, brief: Brief) -> list[str]:
        """Who is told something of it."""
        self.told.clear()
        self.subtree.tell(brief)
        return [type for type, _ in self.told]


def flat(count: int) -> tuple[str, ...]:
    return tuple(f"t{number}" for number in range(count))


class TestTheWork:
    def test_a_brief_is_divided_in_one_pass(self) -> None:
        owned = Owned()
        nodes, running = CountedTypes(flat(200)), Counted(dict.fromkeys(flat(50), 1))
        assert len(owned.tell(Brief(nodes, ANY, running))) == 200
        assert (nodes.looks, running.looks) == (200, 50)

    def test_only_those_are_told_whose_part_has_changed(self) -> None:
        owned = Owned()
        nodes = flat(200)
        owned.tell(Brief(nodes, ANY))
        assert owned.tell(Brief(nodes, ANY, {"t7": 1})) == ["t7"]
        assert owned.tell(Brief(nodes, ANY, {"t8": 1})) == ["t7", "t8"]
        assert owned.tell(Brief((*nodes, "new"), ANY, {"t8": 1})) == ["new"]

    def test_of_those_without_an_actor_only_what_has_changed_is_judged_again(self) -> None:
        owned = Owned()
        nodes = flat(INVENTED)
        owned.tell(Brief(nodes, ANY))
        owned.table.puts.clear()
        owned.tell(Brief((*nodes, "new"), ANY, {"t4999": 2}))
        assert owned.table.puts == {"new": 1, "t4999": 1}

    def test_what_is_served_and_what_runs_is_looked_through_once_for_all_of_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(levels, "LEVEL_ACTORS_MAX", 0)
        owned = Owned()
        nodes, running = CountedTypes(flat(200)), Counted(dict.fromkeys(flat(50), 1))
        served = CountedTypes(flat(200))
        owned.tell(Brief(nodes, Offer(served), running))
        assert Counter(owned.table.copy().values()) == {("busy", ""): 50, ("idle", ""): 150}
        assert (nodes.looks, running.looks, served.looks) == (200, 100, 200)

    def test_briefs_do_not_pile_up_before_an_actor_that_is_busy(self) -> None:
        table = Gated()
        subtree = Subtree(MediaActor, table, lambda _: None)
        subtree.tell(Brief(("a",)))
        assert table.reached.wait(WAIT_SECONDS)
        (ref,) = pykka.ActorRegistry.get_by_class(MediaActor)
        inbox: Any = ref.actor_inbox
        for running in range(1, 101):
            subtree.tell(Brief(("a",), ANY, {"a": running}))
        assert inbox.qsize() == 1
        table.gate.set()
        table.wait({"a": ("busy", "")})
        assert table.puts["a"] == 2, "the first, and the latest of a hundred"
        subtree.stop()
        pykka.ActorRegistry.stop_all(timeout=WAIT_SECONDS)


class TestTheBound:
    def test_invented_types_start_no_more_actors_than_may_be_and_each_has_its_verdict(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "workerhost.levels")
        owned = Owned()
        for number in range(500, INVENTED + 1, 500):
            owned.tell(Brief(flat(number), ANY, {"t1": 1, "t4000": 1}))

        assert len(owned.started) == LEVEL_ACTORS_MAX
        judged = owned.table.copy()
        assert len(judged) == INVENTED - LEVEL_ACTORS_MAX, "the others are written by their actors"
        assert {type for type, (state, _) in judged.items() if state != "idle"} == {"t4000"}
        said = [record.getMessage() for record in caplog.records if "level_actors_full" in record.getMessage()]
        assert said == [f"level_actors_full actors={LEVEL_ACTORS_MAX} first_without='t{LEVEL_ACTORS_MAX}'"]

    def test_one_that_leaves_makes_room_for_one_that_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(levels, "LEVEL_ACTORS_MAX", 2)
        owned = Owned()
        owned.tell(Brief(("a", "b", "c.x"), ANY))
        assert (owned.started, set(owned.table.copy())) == (["a", "b"], {"c", "c.x"})
        owned.tell(Brief(("b", "c.y", "d"), ANY))
        assert (owned.started, set(owned.table.copy())) == (["a", "b", "d"], {"c", "c.y"})
        owned.tell(Brief(("b",), ANY))
        assert owned.table.copy() == {}

    def test_a_watch_and_the_end_pass_over_what_has_no_actor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(levels, "LEVEL_ACTORS_MAX", 1)
        owned = Owned()
        owned.tell(Brief(("a", "b"), ANY))
        owned.told.clear()
        owned.subtree.watch()
        owned.subtree.stop()
        assert [(type, str(message)) for type, message in owned.told] == [("a", "Watch()"), ("a", "stop, False")]
        assert owned.table.copy() == {}


NODES = ("audio", "video", "video.vimeo", "video.youtube", "video.youtube.channel", "video.youtube.shorts")
BRIEFS = (
    Brief(NODES),
    Brief(NODES, Offer(("video", "video.youtube.*"), failed={"video.vimeo": "line 3"}), {"video.youtube.shorts": 1}),
    Brief(NODES, ANY, draining=True),
)


@pytest.fixture
def table() -> Iterator[Table]:
    yield Table()
    pykka.ActorRegistry.stop_all(timeout=WAIT_SECONDS)


@pytest.mark.parametrize("bound", range(len(NODES) + 1))
def test_with_and_without_an_actor_a_node_is_judged_alike(
    monkeypatch: pytest.MonkeyPatch, table: Table, bound: int
) -> None:
    monkeypatch.setattr(levels, "LEVEL_ACTORS_MAX", bound)
    subtree = Subtree(MediaActor, table, lambda _: None)
    for brief in BRIEFS:
        subtree.tell(brief)
        table.wait({type: verdict(type, brief) for type in NODES})
    alive = [len(pykka.ActorRegistry.get_by_class(kind)) for kind in (MediaActor, PlatformActor, EndpointActor)]
    assert sum(alive) == bound


def test_an_actor_that_dies_where_all_places_are_taken_is_started_again(
    monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    monkeypatch.setattr(levels, "LEVEL_ACTORS_MAX", 3)
    deaths: list[Any] = []
    died = threading.Event()

    def owner(message: Any) -> None:
        deaths.append(message)
        died.set()

    subtree = Subtree(MediaActor, table, owner)
    brief = Brief(("audio", "video", "video.youtube", "video.vimeo"), ANY)
    subtree.tell(brief)
    table.wait({type: verdict(type, brief) for type in brief.nodes})
    (ref,) = [
        ref
        for ref in pykka.ActorRegistry.get_by_class(MediaActor)
        if ref._actor_weakref().type == "video"  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    ]
    ref.tell("nonsense")
    assert died.wait(WAIT_SECONDS)
    subtree.down(deaths[0])
    subtree.tell(busy := Brief(brief.nodes, ANY, {"video.vimeo": 1, "video.youtube": 1}))
    table.wait({type: verdict(type, busy) for type in brief.nodes})
    assert len(deaths) == 1
