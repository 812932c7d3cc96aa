"""How long tasks go on when the supervisor does not answer."""

from __future__ import annotations

from typing import Any

from workerhost.actors.core.host.cut_off import CutOff
from workerhost.actors.core.host.environments import Environments
from workerhost.actors.core.host.guidance import Guidance
from workerhost.actors.core.host.host_effects import CancelSlot, HostEffect, Kill, Terminate
from workerhost.actors.core.host.joining import Joining
from workerhost.actors.core.host.outbox import Outbox
from workerhost.actors.core.host.slot_table import SlotTable
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import Hello, Outcome, Returned, Welcome
from workerhost.workers.source import Environment

WHY = "stopped by its host, which was cut off from the supervisor"


class Alone:
    """Two slots with a task of type `a` and one of type `b`, and a supervisor that is last heard at 10.0."""

    def __init__(self, nodes: dict[str, dict[str, Any]], lost_after: float = 5.0) -> None:
        self.effects: list[HostEffect] = []
        self.outbox = Outbox()
        joining = Joining(self.effects, lambda: Hello("host", [1, 1], bytes(16)), "tcp://s", 0.5)
        guidance = Guidance(self.effects)
        self.slots = SlotTable(Environments(Environment()), self.outbox, self.effects)
        self.cut_off = CutOff(joining, guidance, self.slots)
        assert self.cut_off.due() == float("inf")
        guidance.on_tree(nodes)
        self.slots.shape({"": 2})
        for number in (1, 2):
            self.slots.ready(number)
        joining.connect(10.0)
        joining.welcomed(Welcome(1, "h", 1, 1.0, lost_after), 10.0)
        tasks = [(id, 10 + id, type, 1, 0, 5, 0.0, None, None, (), b"p", None) for id, type in ((1, "a"), (2, "b"))]
        self.slots.place("", tasks, 10.0)
        self.slots.feed()
        self.effects.clear()

    def until(self, end: float) -> list[tuple[float, HostEffect]]:
        """All that happens, with its time."""
        happened: list[tuple[float, HostEffect]] = []
        while (now := min(self.cut_off.due(), self.slots.due())) <= end:
            self.cut_off.tick(now)
            self.slots.tick(now)
            happened += [(now, effect) for effect in self.effects if isinstance(effect, CancelSlot | Terminate | Kill)]
            self.effects.clear()
        return happened


def test_what_must_not_outlive_its_lease_is_dead_before_that_ends():
    alone = Alone({"a": {"cut_off": "stop"}, "b": {"cut_off": 3600}})

    assert alone.until(100.0) == [(13.0, CancelSlot(1, 1, 11)), (13.625, Terminate(1)), (14.25, Kill(1))]
    alone.slots.news(SlotNews(1, exited={"started": [[1, 11]]}), 14.3)
    assert alone.outbox.returned == [[1, 11, Returned.NEIGHBOUR, 0.0, WHY, True, {"cause": "cut_off"}]]


def test_others_go_on_for_as_long_as_their_node_allows():
    alone = Alone({"a": {"cut_off": 60}, "b": {"cut_off": 600}})

    assert alone.until(1000.0) == [
        *[(70.0, CancelSlot(1, 1, 11)), (72.0, Terminate(1)), (75.0, Kill(1))],
        *[(610.0, CancelSlot(2, 2, 12)), (612.0, Terminate(2)), (615.0, Kill(2))],
    ]


def test_a_result_that_comes_while_it_is_being_stopped_counts():
    alone = Alone({"a": {"cut_off": "stop"}})
    assert alone.until(13.0) == [(13.0, CancelSlot(1, 1, 11))]
    result = [1, 11, Outcome.COMPLETED, b"r", 3.0, 1, None]
    alone.slots.news(SlotNews(1, results=[result]), 13.1)
    assert alone.outbox.results == [result]
    assert alone.until(100.0) == []


def test_a_task_that_waits_behind_another_is_stopped_with_it():
    alone = Alone({"a": {"cut_off": "stop"}})
    waits = (3, 13, "a", 1, 0, 5, 0.0, None, None, (), b"p", None)
    alone.slots.place("", [waits], 10.001)
    assert alone.until(13.0) == [(13.0, CancelSlot(1, 1, 11)), (13.0, CancelSlot(1, 3, 13))]
