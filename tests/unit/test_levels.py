"""Level actors: spawned by the tree, told by message, restarted alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest

from workerhost.actors.core.host.verdicts import Brief, Offer, Verdict
from workerhost.actors.levels import (
    Down,
    EndpointActor,
    Hopeless,
    LevelActor,
    MediaActor,
    PlatformActor,
    Revive,
    Subtree,
    VerdictTable,
)

WAIT_SECONDS = 5.0
NODES = ("video", "video.youtube", "video.youtube.channel", "audio")
OFFER = Offer(("video", "video.*", "audio"))


class Watched(VerdictTable):
    """A table that tells when it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()
        self.history: list[tuple[str, str]] = []

    def put(self, type: str, writer: int, verdict: Verdict) -> bool:
        changed = super().put(type, writer, verdict)
        with self._written:
            self.history.append((type, verdict[0]))
            self._written.notify_all()
        return changed

    def close(self, type: str, writer: int) -> None:
        super().close(type, writer)
        with self._written:
            self._written.notify_all()

    def wait(self, condition: Callable[[dict[str, Verdict]], bool]) -> dict[str, Verdict]:
        with self._written:
            assert self._written.wait_for(lambda: condition(self.copy()), WAIT_SECONDS), self.copy()
        return self.copy()


class Owner:
    """Who owns the media actors: here the test, in life the host."""

    def __init__(self) -> None:
        self.table = Watched()
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.subtree = Subtree(MediaActor, self.table, self.told.put)

    def next(self) -> Any:
        return self.told.get(timeout=WAIT_SECONDS)


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.subtree.stop()
    pykka.ActorRegistry.stop_all(timeout=WAIT_SECONDS)


def actor(kind: type[LevelActor], type: str) -> pykka.ActorRef[LevelActor]:
    """The live actor of a node."""
    refs = pykka.ActorRegistry.get_by_class(kind)
    (ref,) = [ref for ref in refs if ref._actor_weakref().type == type]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    return ref


def states(**verdicts: str) -> Callable[[dict[str, Verdict]], bool]:
    wanted = {type.replace("_", "."): state for type, state in verdicts.items()}
    return lambda table: {type: state for type, (state, _) in table.items()} == wanted


def test_media_actors_spawn_platforms_and_those_spawn_endpoints(owner: Owner):
    owner.subtree.tell(Brief(NODES))

    owner.table.wait(
        states(video="starting", video_youtube="starting", video_youtube_channel="starting", audio="starting")
    )
    alive = [len(pykka.ActorRegistry.get_by_class(kind)) for kind in (MediaActor, PlatformActor, EndpointActor)]
    assert alive == [2, 1, 1]


def test_each_node_has_a_verdict_of_its_own(owner: Owner):
    broken = Offer(("video", "video.*"), failed={"video.youtube": "yt.py, line 3"})
    owner.subtree.tell(Brief(NODES, broken, {"video.youtube.channel": 2}))

    table = owner.table.wait(lambda table: len(table) == 4)

    assert table == {
        "video": ("busy", ""),
        "video.youtube": ("failed", "yt.py, line 3"),
        "video.youtube.channel": ("busy", ""),
        "audio": ("failed", "yt.py, line 3"),
    }


def test_nodes_that_leave_the_tree_take_their_actors_along(owner: Owner):
    owner.subtree.tell(Brief(NODES, OFFER))
    owner.table.wait(lambda table: len(table) == 4)

    owner.subtree.tell(Brief(("audio",), OFFER))

    assert owner.table.wait(lambda table: len(table) == 1) == {"audio": ("idle", "")}


def test_an_actor_that_dies_is_started_again_alone_and_knows_everything_again(owner: Owner):
    owner.subtree.tell(Brief(NODES, OFFER))
    owner.table.wait(states(video="idle", video_youtube="idle", video_youtube_channel="idle", audio="idle"))
    before = actor(MediaActor, "video")

    actor(PlatformActor, "video.youtube").tell("nonsense")

    owner.table.wait(lambda _: ("video.youtube", "failed") in owner.table.history)
    owner.table.wait(states(video="idle", video_youtube="idle", video_youtube_channel="idle", audio="idle"))
    assert actor(MediaActor, "video").actor_urn == before.actor_urn


def test_its_owner_is_told_and_waits_longer_from_death_to_death(owner: Owner):
    owner.subtree.tell(Brief(("audio",), OFFER))
    owner.table.wait(states(audio="idle"))

    actor(MediaActor, "audio").tell("nonsense")
    down = owner.next()
    assert (down.type, down.writer, "nonsense" in down.reason) == ("audio", 1, True)
    owner.subtree.down(down)
    owner.table.wait(states(audio="idle"))

    actor(MediaActor, "audio").tell("nonsense")
    owner.subtree.down(owner.next())
    assert owner.table.copy()["audio"][0] == "failed"
    revive = owner.next()  # after the wait
    assert revive == Revive("audio", 2)
    owner.subtree.revive(revive)
    owner.table.wait(states(audio="idle"))


def test_news_of_an_older_incarnation_change_nothing(owner: Owner):
    owner.subtree.tell(Brief(("audio",), OFFER))
    owner.table.wait(states(audio="idle"))
    before = actor(MediaActor, "audio")
    owner.subtree.down(Down("audio", 0, "long ago"))
    owner.subtree.down(Down("video", 1, "never started"))
    owner.subtree.revive(Revive("audio", 1))
    assert actor(MediaActor, "audio").actor_urn == before.actor_urn
    assert owner.table.copy() == {"audio": ("idle", "")}


def test_one_that_dies_too_often_is_its_owners_failure(owner: Owner):
    owner.subtree.tell(Brief(("audio",), OFFER))
    for writer in range(1, 6):
        owner.subtree.down(Down("audio", writer, "again"))
        owner.subtree.revive(Revive("audio", writer))
    with pytest.raises(Hopeless, match="audio died 6 times"):
        owner.subtree.down(Down("audio", 6, "again"))


def test_a_table_tells_by_its_version_whether_anything_is_new():
    table = VerdictTable()
    writer = table.open("a")
    seen = [table.version]
    for verdict in (("idle", ""), ("idle", ""), ("busy", "")):
        table.put("a", writer, verdict)
        seen.append(table.version)
    table.close("a", writer)
    table.close("a", writer)
    assert [*seen, table.version] == [0, 1, 1, 2, 3]


def test_an_actor_that_was_replaced_writes_in_vain():
    table = VerdictTable()
    old, new = table.open("a"), table.open("a")
    table.put("a", new, ("idle", ""))
    assert not table.put("a", old, ("failed", "so it seemed"))
    table.close("a", old)
    assert table.copy() == {"a": ("idle", "")}
