"""Environments of a host: which type belongs where, slots that change between them, and what a broken one means."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.environments import Environments
from workerhost.actors.core.host.host_effects import (
    CloseSlot,
    Connect,
    Feed,
    HostEffect,
    Kill,
    Say,
    Serve,
    SlotTask,
    Spawn,
)
from workerhost.actors.core.host.host_options import HostOptions
from workerhost.actors.core.host.hosting import HostCore
from workerhost.actors.core.host.outbox import Outbox
from workerhost.actors.core.host.slot_table import SlotTable
from workerhost.actors.core.host.stopping import Why
from workerhost.actors.core.host.verdicts import Offer
from workerhost.actors.slot_news import SlotNews
from workerhost.transport.messages import Claim, Hello, Outcome, Returned, Tasks, Welcome
from workerhost.workers.source import Environment

BASE = Environment()
TORCH = Environment("/envs/torch/bin/python")
OLD = Environment("/envs/old/bin/python")
THREAD = Environment(isolation="thread")
MANY = Environment(concurrency=20)
DIED: dict[str, Any] = {
    "started": [],
    "signal": None,
    "exit_code": 1,
    "cause": "start_failed",
    "message": "no such file",
}


def task(id: int, type: str = "ml", timeout: float | None = None) -> SlotTask:
    return (id, 10 + id, type, 1, 0, 5, 1000.0, timeout, None, (), b"p", None)


def said(*types: str, **more: Any) -> dict[str, Any]:
    ready: dict[str, Any] = {"types": list(types), "any": [], "failed": {}, "fingerprints": {}}
    return ready | more


class Table:
    """Slots of one pool, the first ones ready, in the base environment."""

    def __init__(self, slots: int = 2, **nodes: Environment) -> None:
        self.outbox, self.effects = Outbox(), list[HostEffect]()
        self.environments = Environments(BASE, nodes or {"ml": TORCH, "old": OLD})
        self.table = SlotTable(self.environments, self.outbox, self.effects)
        self.now = 0.0
        self.table.shape(self.environments.shape({"": slots}))
        for number in list(self.table.slots):
            self.table.ready(number, 0.0)
        self.effects.clear()

    def take(self) -> list[HostEffect]:
        self.table.tick(self.now)
        self.table.feed()
        self.table.check_invariants()
        effects = self.effects.copy()
        self.effects.clear()
        return effects

    def place(self, *tasks: SlotTask, pool: str = "") -> list[HostEffect]:
        self.table.place(pool, tasks, self.now, self.environments.of(tasks[0][2]))
        return self.take()

    def slot(self, number: int, **news: Any) -> list[HostEffect]:
        self.table.news(SlotNews(number, **news), self.now)
        return self.take()

    def done(self, id: int, slot: int) -> list[HostEffect]:
        return self.slot(slot, results=[[id, 10 + id, Outcome.COMPLETED, b"r", 0.1, slot, None]])


class TestBelonging:
    def test_a_type_has_the_environment_of_the_nearest_node_that_says_one(self):
        environments = Environments(BASE, {"ml": TORCH, "ml.old": OLD})

        assert [environments.of(type) for type in ("text", "ml", "ml.x.y", "ml.old.y", "")] == [
            BASE, TORCH, TORCH, OLD, BASE,
        ]  # fmt: skip
        assert environments.all() == [BASE, TORCH, OLD]

    def test_processes_share_the_hosts_slots_and_others_have_as_many_of_their_own(self):
        nodes = {"ml": TORCH, "io": THREAD, "io.x": BASE, "net": MANY}
        assert Environments(BASE, nodes).shape({"": 4, "video": 2}) == {
            "": 4, "video": 2, "io": 6, "io.x": 6, "net": 120,
        }  # fmt: skip

    def test_so_many_as_are_said_if_they_are_said(self):
        assert Environments(BASE, {"io": THREAD}).shape({"": 4, "io": 9}) == {"": 4, "io": 9}

    def test_concurrency_is_that_of_each_slot_wherever_it_is_said(self):
        assert Environments(MANY).shape({"": 4, "video": 2}) == {"": 80, "video": 40}
        assert Environments(BASE, {"net": MANY}).shape({"": 4, "net": 2}) == {"": 4, "net": 40}
        assert Environments(MANY, {"one": BASE}).shape({"": 4}) == {"": 80, "one": 4}

    def test_a_node_that_has_no_slots_here_gets_none(self):
        assert Environments(BASE, {"io": THREAD}).shape({"video": 2}) == {"video": 2}

    @pytest.mark.parametrize(
        ("environment", "count", "widths"),
        [(BASE, 3, [1, 1, 1]), (THREAD, 3, [3]), (MANY, 50, [20, 20, 10]), (Environment("", "thread", 20), 50, [50])],
    )
    def test_how_wide_slots_are(self, environment: Environment, count: int, widths: list[int]):
        effects: list[HostEffect] = []
        SlotTable(Environments(BASE, {"io": environment}), Outbox(), effects).shape({"io": count})
        assert [effect.width for effect in effects if isinstance(effect, Spawn)] == widths


class TestChanging:
    def test_an_idle_slot_is_replaced_and_the_task_waits_in_the_new_one(self):
        table = Table()
        assert table.place(task(1)) == [CloseSlot(1), Spawn(3, 1, TORCH), Feed(3, [task(1)])]
        assert table.table.capacity() == {"": 2}, "the slot that starts has its task in hand"

        table.now = 5.0
        assert table.slot(3, ready=said("ml")) == []
        assert table.slot(1, exited={**DIED, "cause": "stopped"}) == []
        assert table.done(1, 3) == []
        assert table.place(task(2)) == [Feed(3, [task(2)])], "the next one finds it as it is"
        assert table.table.capacity() == {"": 2}

    def test_the_one_that_is_idle_longest_goes(self):
        table = Table(slots=2)
        table.now = 1.0
        table.place(task(1, "text"))
        table.now = 2.0
        table.done(1, 1)
        assert table.place(task(2))[0] == CloseSlot(2)

    def test_its_time_begins_when_its_process_is_ready(self):
        table = Table(slots=1)
        table.place(task(1, timeout=3.0))
        table.now = 10.0
        table.slot(2, ready=said("ml"))
        table.now = 12.9
        assert table.take() == []
        table.now = 13.0
        assert [type(effect).__name__ for effect in table.take()] == ["CancelSlot"]

    def test_tasks_wait_behind_each_other_when_there_are_more_than_idle_slots(self):
        table = Table(slots=1)
        assert table.place(task(1), task(2)) == [CloseSlot(1), Spawn(2, 1, TORCH), Feed(2, [task(1), task(2)])]
        assert table.place(task(3)) == [Feed(2, [task(3)])]
        table.slot(2, ready=said("ml"))
        assert table.table.capacity() == {"": 1}

    def test_without_an_idle_slot_they_go_back(self):
        table = Table(slots=1)
        table.place(task(1, "text"))
        assert table.place(task(2)) == []
        assert table.outbox.returned == [[2, 12, Returned.NEIGHBOUR, 0.0, "its slot was replaced", False]]

    def test_what_stood_behind_a_long_task_gets_a_slot_of_its_own(self):
        table = Table(slots=2)
        table.place(task(1))
        table.slot(3, ready=said("ml"))
        table.place(task(2))
        table.now = 0.006
        back = [[2, 12, Returned.UNSTARTED, 0.0, "", False]]
        assert table.slot(3, returned=back) == [CloseSlot(2), Spawn(4, 1, TORCH), Feed(4, [task(2)])]

    def test_a_process_that_never_comes_up_is_nobodys_fault_and_keeps_no_slot(self):
        table = Table(slots=1)
        table.place(task(1))
        effects = table.slot(2, exited=DIED)
        assert Spawn(2, 1) in effects, "it is a slot for everybody again"
        assert table.outbox.results == []
        assert table.outbox.returned == [[1, 11, Returned.NEIGHBOUR, 0.0, "its slot's process ended", False]]

    def test_a_task_that_is_cancelled_while_it_waits_never_ran(self):
        table = Table(slots=1)
        table.place(task(1))
        table.table.stop(lambda _: True, Why.CANCELLED, 0.0)
        table.slot(2, ready=said("ml"), results=[[1, 11, Outcome.CANCELLED, b"", 0.0, 2, None]])
        assert table.outbox.results == [[1, 11, Outcome.CANCELLED, b"", 0.0, 2, None]]

    def test_a_task_that_must_be_alone_gets_one_too(self):
        table = Table(slots=1)
        table.table.place_alone("", task(1), 0.0, TORCH)
        assert table.take() == [CloseSlot(1), Spawn(2, 1, TORCH), Feed(2, [task(1)])]
        assert table.place(task(2)) == [], "nothing beside it"

    def test_slots_that_are_no_replaceable_process_are_never_changed(self):
        table = Table(slots=1, io=THREAD, other=Environment("/x", "thread"))
        assert table.table.capacity() == {"": 1, "io": 1, "other": 1}
        assert table.place(task(1, "io"), pool="io") == [Feed(2, [task(1, "io")])]
        assert table.place(task(2, "other"), pool="other") == [Feed(3, [task(2, "other")])]

    def test_one_of_many_in_an_event_loop_is_asked_and_its_neighbours_are_left_alone(self):
        table = Table(slots=1, net=MANY)
        table.place(task(1, "net", timeout=1.0), task(2, "net"), pool="net")
        table.now = 1.0
        assert [type(effect).__name__ for effect in table.take()] == ["CancelSlot"]
        table.now = 3.0
        told = [type(effect).__name__ for effect in table.take()]
        assert told == ["Note", "Spawn"], "it cannot be killed alone: new tasks go elsewhere"
        assert table.done(2, 2)[-1].__class__.__name__ == "Kill", "nothing else runs there any more"


class TestRenewing:
    def test_idle_slots_are_replaced_at_once_and_busy_ones_when_they_are_empty(self):
        table = Table(slots=2)
        table.place(task(1, "text"), task(2, "text"), task(3, "text"))
        table.done(2, 2)
        table.table.renew([BASE])

        assert table.take() == [CloseSlot(2), Spawn(3, 1)]
        table.slot(3, ready=said("text"))
        assert table.table.capacity() == {"": 2}, "what still runs has its place"
        table.place(task(4, "text"))
        assert [fed for slot in table.table.slots.values() for fed in slot.tasks] == [(1, 11), (3, 13), (4, 14)]
        assert table.done(1, 1) == [], "it has another one in hand"
        assert table.done(3, 1) == [CloseSlot(1), Spawn(4, 1)]

    def test_of_other_environments_only_those_that_there_are_no_longer(self):
        table = Table(slots=2)
        table.place(task(1))
        table.slot(3, ready=said("ml"))
        table.done(1, 3)
        table.table.renew([OLD])
        assert table.take() == []
        table.environments.renew(BASE, {"old": OLD})
        table.table.renew([OLD])
        assert table.take() == [CloseSlot(3), Spawn(4, 1)], "its pool's environment takes its place"

    def test_a_process_that_many_tasks_share_is_replaced_at_once(self):
        table = Table(slots=1, io=THREAD)
        table.place(task(1, "io"), pool="io")
        table.table.renew([THREAD])
        assert table.take() == [Spawn(3, 1, THREAD)]
        table.slot(3, ready=said("io"))
        assert table.place(task(2, "io"), pool="io") == [Feed(3, [task(2, "io")])]
        assert table.done(1, 2) == [CloseSlot(2)]

    def test_one_that_dies_with_its_last_task_has_been_replaced_by_that(self):
        table = Table(slots=1)
        table.place(task(1, "text"))
        table.table.renew([BASE])
        died = {"started": [[1, 11]], "signal": 9, "exit_code": None, "cause": "crash", "message": "killed"}
        assert table.slot(1, exited=died)[-1] == Spawn(1, 1)
        table.slot(1, ready=said("text"))
        assert table.place(task(2, "text")) == [Feed(1, [task(2, "text")])]


class Host:
    """A core with environments; each call returns what follows."""

    def __init__(self, **nodes: Environment) -> None:
        options = HostOptions("tcp://s", "h1", bytes(16), slots={"": 1}, environments={"": BASE, **nodes})
        self.core, self.now = HostCore(options), 0.0
        self.core.start(0.0)

    def take(self) -> list[HostEffect]:
        self.core.tick(self.now)
        effects = self.core.take(self.now)
        self.core.check_invariants()
        return effects

    def slot(self, number: int, **news: Any) -> list[HostEffect]:
        self.core.on_slot(SlotNews(number, **news), self.now)
        return self.take()

    def hears(self, number: int, message: Any) -> list[HostEffect]:
        self.core.on_message(number, message, self.now)
        return self.take()


def hello(effects: list[HostEffect]) -> dict[str, Any]:
    messages = [effect.message for effect in effects if isinstance(effect, Say)]
    return [message.offer for message in messages if isinstance(message, Hello)][-1]


class TestOffering:
    def test_each_is_looked_at_once_beside_the_slots_and_hello_says_what_all_can_run(self):
        host = Host(ml=TORCH, old=OLD)
        assert host.take() == [Spawn(1, 1), Spawn(2, 1, TORCH), Spawn(3, 1, OLD)]
        assert not any(isinstance(e, Connect) for e in host.slot(1, ready=said("text", "ml")))
        effects = host.slot(2, ready=said("text", "ml", fingerprints={"ml": "abc"}))
        assert CloseSlot(2) in effects
        effects = host.slot(3, exited=DIED)

        offer = hello(effects)
        assert offer["types"] == ["ml", "text"], "each type from its own environment alone"
        assert (offer["failed"], offer["fingerprints"]) == ({"old": f"{OLD.python}: no such file"}, {"ml": "abc"})
        assert offer["slots"] == {"": 1}

    def test_what_broke_is_looked_at_again_later_and_later(self):
        host = Host(ml=TORCH)
        host.take()
        host.slot(1, ready=said("text"))
        assert Spawn(3, 1, TORCH) in host.slot(2, exited=DIED), "the first time at once"
        host.slot(3, exited=DIED)
        host.now = host.core.environments.due()
        assert Spawn(4, 1, TORCH) in host.take()

        assert hello(host.slot(4, ready=said("ml")))["types"] == ["ml", "text"]
        assert host.core.environments.due() == float("inf")

    def test_an_environment_that_breaks_later_is_off_the_offer(self):
        host = Host(ml=TORCH)
        host.take()
        host.slot(1, ready=said("text"))
        host.slot(2, ready=said("ml"))
        host.slot(2, exited={**DIED, "cause": "stopped"})
        host.hears(0, Welcome(1, "h1", 7, 1.0, 5.0))
        effects = host.hears(1, Tasks([["ml", [[1, 5, 1, 5, 1000.0, b"p", None]]]]))
        assert Spawn(3, 1, TORCH) in effects

        offer = hello(host.slot(3, exited=DIED))
        assert (offer["types"], offer["failed"]) == (["text"], {"ml": f"{TORCH.python}: no such file"})

    def test_one_that_is_closed_before_it_is_ready_does_not_take_from_the_offer_what_another_runs(self):
        host = Host(ml=TORCH)
        host.take()
        host.slot(1, ready=said("text"))
        closed = {**DIED, "cause": "stopped", "exit_code": 0, "message": "its process ended with exit code 0"}
        assert Spawn(3, 1, TORCH) in host.slot(2, exited=closed), "nobody knows yet"
        host.slot(3, ready=said("ml"))
        host.hears(0, Welcome(1, "h1", 7, 1.0, 5.0))
        number = host.core.slots.check(TORCH)
        effects = host.slot(number, exited=closed)
        assert not any(isinstance(effect, Connect | Note) for effect in effects)
        offer = host.core.environments.offer()
        assert offer is not None
        assert (offer.types, offer.failed) == (("ml", "text"), {})

    def test_slots_of_a_nodes_own_are_told_and_claimed(self):
        host = Host(io=THREAD)
        assert host.take() == [Spawn(1, 1), Spawn(2, 1, THREAD)]
        host.slot(1, ready=said("text"))
        assert hello(host.slot(2, ready=said("text", "io")))["slots"] == {"": 1, "io": 1}
        effects = host.hears(0, Welcome(1, "h1", 7, 1.0, 5.0))
        assert Say(1, Claim({"": 1, "io": 1})) in effects

    def test_a_code_that_fails_in_one_of_them_is_named_with_it(self):
        environments = Environments(BASE, {"ml": TORCH})
        environments.heard(BASE, said("text"))
        environments.heard(TORCH, said(failed={"tasks.py": "no numpy", "ml": "bad"}))
        where = "/envs/torch/bin/python"
        assert environments.offer() == Offer(
            ("text",), False, {f"tasks.py ({where})": f"no numpy (in {where})", "ml": f"bad (in {where})"}, {}
        )


class TestReloading:
    def test_fresh_code_is_looked_at_and_then_served_by_all(self):
        host = Host()
        host.take()
        host.slot(1, ready=said("text", fingerprints={"text": "old"}))
        host.core.reload(0.0, 7)
        assert host.take() == [Spawn(2, 1, None, fresh=True)]

        effects = host.slot(2, ready=said("text", fingerprints={"text": "new"}))
        assert [effect for effect in effects if isinstance(effect, CloseSlot | Serve | Spawn)] == [
            CloseSlot(2), Serve(2), CloseSlot(1), Spawn(3, 1),
        ]  # fmt: skip
        assert hello(effects)["reload"] == {"number": 7, "changed": {"text": ["old", "new"]}, "failed": {}}

    def test_broken_code_is_not_served_and_what_starts_later_loads_what_is(self):
        host = Host()
        host.take()
        host.slot(1, ready=said("text"))
        host.core.reload(0.0, 7)
        host.take()
        effects = host.slot(2, ready=said(failed={"one.py": "SyntaxError"}))
        assert not any(isinstance(effect, Serve | Spawn) for effect in effects)
        told = hello(effects)
        assert (told["types"], told["failed"]) == (["text"], {})
        assert told["reload"] == {"number": 7, "changed": {}, "failed": {"one.py": "SyntaxError"}}
        assert Spawn(1, 1) in host.slot(1, exited={**DIED, "cause": "crash"}), "not fresh"

    def test_files_that_change_while_they_are_looked_at_are_looked_at_again(self):
        host = Host()
        host.take()
        host.slot(1, ready=said("text"))
        host.core.reload(0.0, 7)
        host.core.reload(0.1)
        assert host.take() == [Spawn(2, 1, None, fresh=True), Kill(2), Spawn(3, 1, None, fresh=True)]
        assert host.slot(2, ready=said("text", "half")) == [CloseSlot(2)], "that is out of date"
        effects = host.slot(3, ready=said("text", "whole"))
        assert Serve(3) in effects
        assert hello(effects)["types"] == ["text", "whole"]
        assert hello(effects)["reload"]["number"] == 7, "told to who asked"

    def test_code_that_hangs_keeps_no_process_when_it_is_looked_at_again(self):
        host = Host()
        host.take()
        host.slot(1, ready=said("text"))
        host.core.reload(0.0, 7)
        host.take()
        host.core.reload(60.0, 8)
        assert host.take() == [Kill(2), Spawn(3, 1, None, fresh=True)]
        effects = host.slot(2, exited={**DIED, "signal": 9})
        assert effects == [], "nobody asks any more why it did not start"
        assert list(host.core.slots.slots) == [1, 3]
        assert hello(host.slot(3, ready=said("text", "more")))["reload"]["number"] == 8
