"""A host lets the supervisor's configuration have it run workers of modules that its own one lists, and no others."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.test_hosting import (  # pyright: ignore[reportMissingImports]
    OFFER,
    READY,
    WELCOME,
    Host,
    exited,
    granted,
    hello,
    joined,
    options,
    task,
)

from workerhost.actors.core.effects import Note
from workerhost.actors.core.host.acceptance import Acceptance
from workerhost.actors.core.host.host_effects import CloseSlot, Connect, Disconnect, Feed, Kill, LoadAnew, Say, Spawn
from workerhost.actors.core.settings import PoolSettings
from workerhost.bin import arguments
from workerhost.bin.exits import UsageError
from workerhost.config.loading import load
from workerhost.transport.messages import Claim, Hello, Refused, Reload, Reread, Tree, Welcome
from workerhost.workers.source import Environment, Source

FILE: dict[str, Any] = {
    "defaults": {"concurrency": 4},
    "workers": {
        "text": {"class": "my.jobs:Text"},
        "text.length": {"timeout": "1m", "isolation": "thread"},
        "text.words": {"class": "my.jobs:Words", "isolation": "thread", "concurrency": 2},
        "other": {"class": "other:Other"},
        "program": {"command": ["true"], "isolation": "command"},
    },
}
EMPTY: dict[str, Any] = {**READY, "types": []}
ACCEPT = ("my.jobs", "my.more.*")
RUN = {"text.length": {"class": "my.jobs:Length"}}
BASE = Environment()


def bare(joins_at: float = 0.0, **changed: Any) -> Host:
    """A host with no code of its own that has joined."""
    host = Host(**{"accept": ACCEPT, "slots": {"": 1}} | changed)
    host.start()
    host.slot(1, ready=EMPTY)
    host.at(joins_at)
    host.hears(WELCOME)
    return host


def accepted(nodes: dict[str, Any], modules: tuple[str, ...] = ACCEPT) -> dict[str, Source]:
    acceptance = Acceptance(options(accept=modules))
    acceptance.heed(nodes)
    return acceptance.sources()


class TestHost:
    def test_it_says_which_modules_it_accepts_and_loads_what_it_is_then_told(self) -> None:
        host = Host(accept=ACCEPT, slots={"": 1})
        assert host.start() == [Spawn(1, 1)]
        assert host.slot(1, ready=EMPTY)[1:] == [
            Connect(), hello(types=[], slots={"": 1}, accept=["my.jobs", "my.more.*"])
        ]  # fmt: skip
        host.hears(WELCOME)
        effects = host.hears(Tree(RUN))
        assert [effect for effect in effects if not isinstance(effect, Say)][1:] == [
            Note("info", "classes_accepted", {"types": ["text.length"], "without_own_slots": False}),
            LoadAnew({"text.length": Source("my.jobs:Length", modules=ACCEPT)}),
            CloseSlot(1),
            Spawn(2, 1),
        ]
        offered = hello(slots={"": 1}, accept=["my.jobs", "my.more.*"])
        assert host.slot(2, ready=READY)[1:] == [Disconnect(), Connect(), offered]
        host.hears(WELCOME, Tree(RUN))
        assert [type(effect) for effect in granted(host, task(1, 9))] == [Feed]

    def test_what_it_was_told_before_is_no_news(self) -> None:
        host = bare()
        host.hears(Tree(RUN))
        assert not any(isinstance(effect, LoadAnew) for effect in host.hears(Tree(RUN)))
        host.slot(2, ready=READY)
        assert host.hears(WELCOME, Tree({"text": {"timeout": 3.0}}))[-1:] == [Say(1, Claim({"": 1}))]

    def test_a_class_that_is_not_named_any_more_is_not_run_any_more(self) -> None:
        host = bare()
        host.hears(Tree(RUN))
        host.slot(1, exited={"started": [], "signal": None, "exit_code": 0, "cause": "stopped", "message": ""})
        host.slot(2, ready=READY)
        effects = host.hears(WELCOME, Tree({"text.length": {"timeout": 3.0}}))
        assert LoadAnew({}) in effects
        assert CloseSlot(2) in effects

    def test_a_task_that_runs_is_left_alone_when_its_class_changes(self) -> None:
        host = bare()
        host.hears(Tree(RUN))
        host.slot(1, exited={"started": [], "signal": None, "exit_code": 0, "cause": "stopped", "message": ""})
        host.slot(2, ready=READY)
        host.hears(WELCOME)
        granted(host, task(1, 9))
        effects = host.hears(Tree({"text.length": {"class": "my.jobs:Other"}}))
        assert LoadAnew({"text.length": Source("my.jobs:Other", modules=ACCEPT)}) in effects
        assert not any(isinstance(effect, CloseSlot) for effect in effects)

    def test_a_list_that_is_changed_is_said_to_the_supervisor(self) -> None:
        host = bare()
        host.hears(Tree(RUN), Reread())
        host.core.on_code(options(accept=("my.more.*",), slots={"": 1}), host.now)
        effects = host.at(host.now)
        assert LoadAnew({}) in effects
        assert effects[-1] == hello(types=[], slots={"": 1}, accept=["my.more.*"])

    def test_a_host_that_accepts_nothing_heeds_nothing(self) -> None:
        host = joined()
        assert not any(isinstance(effect, LoadAnew | Spawn | CloseSlot) for effect in host.hears(Tree(RUN)))

    def test_a_node_that_makes_no_sense_ends_the_session_and_nothing_else(self) -> None:
        host = bare()
        effects = host.hears(Tree({"text.length": {"class": ["my.jobs:Length"]}}))
        assert any(isinstance(effect, Note) and effect.event == "message_malformed" for effect in effects)
        assert not any(isinstance(effect, LoadAnew) for effect in effects)


@pytest.mark.parametrize(
    "code",
    [
        "os:system", "my:Length", "my.job:Length", "my.jobs.inner:Length", "my.more:Length", "my.more.__main__:Length",
        "my.more._private:Length", "my.moreover:Length", "my.more.web-1.0/setup.py:X", "my.more.old/clean:X",
        "my.more.a b:X", "my.more.:Length", ".my.jobs:Length", "/tmp/my.jobs:Length", "tasks.py:Length",
        "my.jobs", "my.jobs:", "my.jobs:os.system", "my.jobs:a b", "my.jobs:_A", "my.jobs:" + "a" * 500,
    ],
)  # fmt: skip
def test_what_is_not_listed_is_passed_over(code: str) -> None:
    assert accepted({"text.length": {"class": code}}) == {}
    assert list(accepted({"text.length": {"class": "my.more.deep.er:Length"}})) == ["text.length"]


@pytest.mark.parametrize(
    "values",
    [
        {"class": 3}, {"class": ["my.jobs:A"]}, {"class": "my.jobs:A", "concurrency": 0},
        {"class": "my.jobs:A", "concurrency": True}, {"concurrency": 10**9},
    ],
)  # fmt: skip
def test_what_has_no_sense_is_refused_and_changes_nothing(values: dict[str, Any]) -> None:
    acceptance = Acceptance(options(accept=ACCEPT))
    acceptance.heed(RUN)
    with pytest.raises((TypeError, ValueError)):
        acceptance.heed({"text.words": values})
    assert list(acceptance.sources()) == ["text.length"]


class TestWhereItRuns:
    TOLD: ClassVar[dict[str, Any]] = {"class": "my.jobs:A", "python": "/tmp/evil", "command": ["/bin/sh"]}

    def places(
        self,
        nodes: dict[str, Any],
        own: tuple[str, ...] = (),
        placed: frozenset[str] = frozenset(),
        **environments: Environment,
    ) -> dict[str, Any]:
        """Where types run for which nodes say otherwise."""
        acceptance = Acceptance(
            options(
                accept=ACCEPT,
                own=frozenset(own),
                placed=frozenset(environments) | placed,
                environments={"": Environment("/host"), **environments},
            )
        )
        acceptance.heed(nodes)
        base, found = acceptance.places(1)
        assert base == Environment("/host")
        return found

    def test_as_the_tree_says_but_for_the_interpreter(self) -> None:
        assert self.places({
            "a": self.TOLD, "b": {**self.TOLD, "isolation": "thread"}, "c": {**self.TOLD, "isolation": "command"},
            "d": {**self.TOLD, "concurrency": 8},
        }, d=Environment("/other")) == {"b": Environment("/host", "thread"), "d": Environment("/other")}  # fmt: skip

    def test_what_inherits_from_one_node_shares_its_slots(self) -> None:
        web = {"isolation": "thread", "concurrency": 8}
        found = self.places({"web": web, "web.a": self.TOLD, "web.b": self.TOLD, "text": web, "text.a": {}})
        assert found == {"web": Environment("/host", "thread", 8)}

    def test_the_hosts_own_types_run_where_its_own_configuration_says(self) -> None:
        web = {**self.TOLD, "isolation": "thread", "concurrency": 8}
        assert self.places({"web": web}, own=("web",)) == {}
        assert self.places({"web": web}, own=("web.a", "other")) == {
            "web": Environment("/host", "thread", 8), "web.a": Environment("/host"),
        }  # fmt: skip

    def test_where_its_own_configuration_says_that_they_run_they_run_be_it_as_above(self) -> None:
        web = {"isolation": "thread", "concurrency": 8}
        assert self.places({"web": web, "web.a": self.TOLD}, placed=frozenset({"web"})) == {}

    def test_what_is_inline_stays_so(self) -> None:
        acceptance = Acceptance(options(accept=ACCEPT, isolation="inline"))
        acceptance.heed({"a": {**self.TOLD, "isolation": "thread"}})
        assert acceptance.places(1) == (Environment(isolation="inline"), {})

    def test_there_are_no_more_slot_pools_and_slots_than_a_host_may_offer(self) -> None:
        """A HELLO with more is refused for good, and a host that is refused leaves."""
        host = bare(slots={"": 16})
        many = {f"t{n}": {"class": "my.jobs:A", "isolation": "thread"} for n in range(101)}
        effects = host.hears(Tree(many))
        assert host.core.shape == {"": 16}
        told = {"types": sorted(many), "without_own_slots": True}
        assert Note("info", "classes_accepted", told) in effects
        host = bare(slots={"": 16})
        host.hears(Tree({"a": {"class": "my.jobs:A", "concurrency": 1000}}))
        assert host.core.shape == {"": 16, "a": 10_000}


class TestWhatComesInBetween:
    def test_many_trees_of_a_turn_start_slots_once(self) -> None:
        host = bare(slots={"": 2})
        trees = [Tree({"text.length": {"class": f"my.jobs:{name}"}}) for name in "ABAB"]
        effects = host.hears(*trees)
        assert len([effect for effect in effects if isinstance(effect, Spawn)]) == 2
        assert LoadAnew({"text.length": Source("my.jobs:B", modules=ACCEPT)}) in effects

    def test_a_slot_pool_of_its_own_is_started_once(self) -> None:
        host = bare()
        effects = host.hears(Tree({"text.length": {"class": "my.jobs:A", "isolation": "thread"}}))
        assert [effect for effect in effects if isinstance(effect, Spawn | CloseSlot)] == [
            Spawn(2, 1, Environment(isolation="thread")), CloseSlot(1), Spawn(3, 1),
        ]  # fmt: skip

    def test_a_slot_that_loaded_before_says_nothing_that_counts(self) -> None:
        host = bare(slots={"": 2})
        host.hears(Tree(RUN))
        assert host.slot(3, ready=READY)[-1] == hello(accept=["my.jobs", "my.more.*"])
        assert host.slot(2, ready=EMPTY) == [CloseSlot(2)]
        host.slot(4, exited=exited())
        assert host.core.environments.offer_of(BASE) == OFFER

    def test_an_environment_of_which_no_slot_is_there_is_asked_again(self) -> None:
        """Also while the slot that was asked before is still starting: what it says is not true any more."""
        host = bare(environments={"text": Environment("/python")}, joins_at=3.0)
        effects = host.hears(Tree(RUN))
        assert Spawn(4, 1, Environment("/python")) in effects
        assert host.slot(2, ready=EMPTY)[:1] == [CloseSlot(2)]
        host.slot(4, ready=READY)
        assert host.core.environments.offer_of(Environment("/python")) == OFFER

        host.hears(WELCOME)
        effects = host.hears(Tree({"text.length": {"class": "my.jobs:Other"}}))
        assert [effect.environment for effect in effects if isinstance(effect, Spawn)] == [None, Environment("/python")]

    def test_a_busy_host_asks_a_slot_beside_the_others(self) -> None:
        host = bare()
        host.hears(Tree(RUN))
        host.slot(2, ready=READY)
        host.hears(WELCOME)
        granted(host, task(1, 9))
        effects = host.hears(Tree({"text.words": {"class": "my.jobs:Words"}}))
        assert [effect for effect in effects if isinstance(effect, Spawn)] == [Spawn(3, 1)]

    def test_slot_pools_that_the_supervisor_orders_leave_no_room_for_those_of_classes(self) -> None:
        host = bare(slots={"": 1})
        many = {f"t{n}": {"class": "my.jobs:A", "isolation": "thread"} for n in range(60)}
        host.hears(Tree(many))
        assert len(host.core.shape) == 61
        pools = {f"p{n}": 1 for n in range(51)}
        effects = host.hears(Welcome(1, "h1", 7, 1.0, 5.0, {"slots": pools}))
        said = [effect.message for effect in effects if isinstance(effect, Say)]
        assert [hello.offer["slots"] for hello in said if isinstance(hello, Hello)] == [pools]

    def test_a_reload_looks_at_what_is_accepted_by_then(self) -> None:
        host = bare()
        host.hears(Reload(7))
        effects = host.hears(Tree(RUN))
        assert Kill(2) in effects
        assert [effect for effect in effects if isinstance(effect, Spawn)] == [Spawn(3, 1), Spawn(4, 1, fresh=True)]
        effects = host.slot(4, ready=READY)
        assert Note("info", "code_reloaded", {"changed": ["text.length"]}) in effects

    def test_a_host_whose_time_is_over_loads_nothing_anew(self) -> None:
        host = bare()
        host.hears(Tree(RUN))
        host.slot(2, ready=READY)
        host.hears(WELCOME)
        granted(host, task(1, 9))
        host.core.drain(host.now, 1.0)
        host.alone(1.5)
        effects = host.hears(Tree({"text.length": {"class": "my.jobs:Other"}}))
        assert not any(isinstance(effect, Spawn | Connect) for effect in effects)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks.py", "'tasks.py' is not a module; write my.tasks, or my.* for all below my"),
        ("my.jobs,my-jobs", "'my-jobs' is not a module"),
        (",".join(["my.jobs"] * 101), "101 modules, 100 are the limit"),
    ],
)
def test_a_list_on_the_command_line_that_is_none_is_refused_with_the_cure(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        arguments.modules(text, "--accept")
    assert arguments.modules("my.jobs, my.more.*", "--accept") == list(ACCEPT)
    assert arguments.modules(None, "--accept") is None


class TestSupervisor:
    def told(self, **offer: Any) -> dict[str, dict[str, Any]]:
        """What a host with this offer is told of the tree."""
        pool = PoolAtHand(PoolSettings(policies=load(FILE).policies()))
        said = pool.say(b"h", Hello("host", [1, 1], b"s" * 16, "gpu", {"slots": {"": 1}, **offer}))
        return {
            path: node for message in said[b"h"] if isinstance(message, Tree) for path, node in message.nodes.items()
        }

    def test_a_host_is_told_the_classes_that_it_accepts_and_what_nodes_set_themselves(self) -> None:
        names = ("class", "isolation", "concurrency")
        told = {
            path: {name: node[name] for name in names if name in node}
            for path, node in self.told(accept=["my.*"]).items()
        }
        assert told == {
            "text": {"class": "my.jobs:Text"},
            "text.words": {"class": "my.jobs:Words", "isolation": "thread", "concurrency": 2},
        }

    def test_but_not_of_what_it_does_not_take(self) -> None:
        assert set(self.told(accept=["my.*"], serve=["text.words"])) == {"text", "text.words"}
        assert self.told(accept=["my.*"], **{"not": ["text"]}) == {}

    def test_a_class_that_failed_and_is_gone_is_named_without_it(self) -> None:
        told = self.told(accept=["my.*"], failed={"old.one": "no module", "other.py": "no file", "text.words": "no"})
        assert "class" not in told["old.one"]
        assert told["text.words"]["class"] == "my.jobs:Words"

    def test_nobody_else_is_told_a_class(self) -> None:
        told = self.told(types=["text", "text.words"])
        assert set(told) == {"text", "text.words"}
        assert not any("class" in node or "isolation" in node for node in told.values())

    @pytest.mark.parametrize("accept", ["my.*", [3], ["m" * 201], ["m"] * 101])
    def test_a_list_that_is_none_is_refused(self, accept: Any) -> None:
        pool = PoolAtHand()
        [refused] = pool.say(b"h", Hello("host", [1, 1], b"s" * 16, "gpu", {"slots": {"": 1}, "accept": accept}))[b"h"]
        assert isinstance(refused, Refused)
        assert "offer['accept'] must be a list of at most 100 modules" in refused.reason
