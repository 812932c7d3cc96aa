"""What a host makes of TREE and of its slots' offer: policies, verdicts, and who is told what."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from workerhost.actors.core.host.guidance import Guidance, NodePolicy
from workerhost.actors.core.host.host_effects import Guide, HostEffect
from workerhost.actors.core.host.verdicts import Brief, Offer, verdict

NODES: dict[str, dict[str, Any]] = {"a": {"timeout": 1}, "a.b": {"timeout": None, "cut_off": "stop"}}


def guidance(nodes: dict[str, dict[str, Any]]) -> tuple[Guidance, list[HostEffect]]:
    effects: list[HostEffect] = []
    made = Guidance(effects)
    made.on_tree(nodes)
    return made, effects


class TestTree:
    def test_the_first_of_a_session_replaces_and_later_ones_add(self):
        made, _ = guidance({"text": {"timeout": 1}})
        assert made.brief == Brief(("text",))
        made.on_tree({"video": {"timeout": 2}})
        assert made.brief == Brief(("text", "video"))
        made.on_welcome()
        made.on_tree({"audio": {"timeout": 3}})
        assert made.brief == Brief(("audio",))
        assert [made.policy(type).timeout for type in ("text", "video", "audio")] == [None, None, 3]

    def test_a_policy_is_that_of_the_nearest_node(self):
        made, _ = guidance(NODES)
        assert [made.policy(type) for type in ("a", "a.x", "a.b", "a.b.c", "z")] == [
            NodePolicy(1.0, 3600.0),
            NodePolicy(1.0, 3600.0),
            NodePolicy(None, None),
            NodePolicy(None, None),
            NodePolicy(None, 3600.0),
        ]

    @pytest.mark.parametrize("nodes", [{"a": {"timeout": "soon"}}, {"a": 5}, {"a": {"cut_off": []}}])
    def test_one_that_cannot_be_understood_changes_nothing(self, nodes: Any):
        made, effects = guidance({"a": {"timeout": 1}})
        with pytest.raises((TypeError, ValueError, AttributeError)):
            made.on_tree(nodes)
        assert made.policy("a").timeout == 1
        assert len(effects) == 1

    def test_times_alone_that_matter(self):
        made, _ = guidance({"a": {"cut_off": 60}, "b": {"cut_off": "stop"}, "c": {"cut_off": 600}})
        assert [made.next_cut_off(alone, 3.0) for alone in (0.0, 3.0, 60.0, 600.0)] == [3.0, 60.0, 600.0, inf]


class TestBrief:
    def test_nobody_is_told_what_has_not_changed(self):
        made, effects = guidance(NODES)
        effects.clear()
        made.on_offer(Offer(("a",)))
        assert effects == [Guide(Brief(("a", "a.b"), Offer(("a",))))]
        effects.clear()
        made.on_offer(Offer(("a",)))
        made.on_activity([])
        assert effects == []
        made.on_drain(True)
        assert effects == [Guide(Brief(("a", "a.b"), Offer(("a",)), {}, True))]

    def test_level_actors_are_not_told_of_policies(self):
        made, effects = guidance(NODES)
        effects.clear()
        made.on_tree({"a": {"timeout": 2}})
        assert (made.policy("a").timeout, effects) == (2, [])

    def test_a_part_is_a_node_and_what_lies_below_it(self):
        brief = Brief(("a", "a.b", "ab", "c.d.e"), None, {"a.b.c": 2, "ab": 1, "f": 1}, True)
        parts = brief.parts(1)
        assert parts == {
            "a": Brief(("a", "a.b"), None, {"a.b.c": 2}, True),
            "ab": Brief(("ab",), None, {"ab": 1}, True),
            "c": Brief(("c.d.e",), None, {}, True),
        }
        assert parts["a"].parts(2) == {"a.b": Brief(("a.b",), None, {"a.b.c": 2}, True)}
        assert parts["ab"].parts(2) == {}

    def test_many_trees_of_one_turn_are_told_at_once(self):
        made, effects = guidance({"a": {}})
        for number in range(100):
            made.on_tree({f"t{number}": {}})
        assert [len(effect.brief.nodes) for effect in effects if isinstance(effect, Guide)] == [101]
        effects.clear()
        made.on_tree({"b": {}})
        made.on_drain(True)
        assert effects == [Guide(made.brief)]


class TestVerdict:
    @pytest.mark.parametrize(
        ("type", "offer", "running", "expected"),
        [
            ("a", None, {}, ("starting", "its workers are being loaded")),
            ("a", Offer(("a",)), {}, ("idle", "")),
            ("a", Offer(("a",)), {"a.b": 1}, ("busy", "")),
            ("a", Offer(("a",)), {"ab": 1}, ("idle", "")),
            ("a", Offer(("a.b.c",)), {}, ("idle", "")),
            ("a.b", Offer(("a",)), {}, ("failed", "no worker here runs it")),
            ("a.b", Offer(("a", "a.*")), {}, ("idle", "")),
            ("a.b", Offer((), any=True), {}, ("idle", "")),
            ("a.b", Offer(("a", "a.*"), failed={"a.b": "line 3"}), {}, ("failed", "line 3")),
            ("a", Offer((), failed={"tasks.py": "line 3"}), {}, ("failed", "line 3")),
        ],
    )
    def test_of_a_node(self, type: str, offer: Offer | None, running: dict[str, int], expected: tuple[str, str]):
        assert verdict(type, Brief((type,), offer, running)) == expected

    def test_a_host_that_drains_drains_everywhere(self):
        assert verdict("a", Brief(("a",), None, {"a": 1}, True)) == ("draining", "")
