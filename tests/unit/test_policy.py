"""What a node of the tree inherits, and from where."""

from __future__ import annotations

import pytest

from workerhost.config.policy import TYPE_PATTERN, AttemptLimits, Policy, PolicyTree, Retry, parents


def test_what_nobody_set_is_the_default() -> None:
    assert PolicyTree().effective("video") == Policy()


def test_a_node_takes_what_it_does_not_set_from_the_nodes_above() -> None:
    tree = PolicyTree(
        {"video": {"timeout": 60.0, "cut_off": None}, "video.youtube.shorts": {"timeout": 5.0}},
        {"crash_limit": 7, "timeout": 10.0},
    )

    assert tree.effective("audio") == Policy(timeout=10.0, crash_limit=7)
    assert tree.effective("video.youtube") == Policy(timeout=60.0, cut_off=None, crash_limit=7)
    assert tree.effective("video.youtube.shorts") == Policy(timeout=5.0, cut_off=None, crash_limit=7)
    assert tree.effective("videos") == Policy(timeout=10.0, crash_limit=7), "a name that only begins alike is another"


def test_retry_is_inherited_key_by_key() -> None:
    tree = PolicyTree(
        {"video": {"retry": {"max_attempts": 9}}, "video.youtube": {"retry": {"base": 2.0}}},
        {"retry": {"backoff": "fixed", "max_attempts": 2}},
    )

    assert tree.effective("video.youtube").retry == Retry(max_attempts=9, backoff="fixed", base=2.0)
    assert tree.effective("audio").retry == Retry(max_attempts=2, backoff="fixed")


def test_max_concurrent_bounds_its_own_node_and_is_inherited_by_none() -> None:
    tree = PolicyTree({"video": {"max_concurrent": 5, "timeout": 1.0}})

    assert tree.max_concurrent("video") == 5
    assert tree.max_concurrent("video.youtube") is None
    assert tree.max_concurrent("audio") is None
    assert tree.effective("video.youtube") == Policy(timeout=1.0)


def test_each_setting_tells_the_node_it_comes_from() -> None:
    tree = PolicyTree(
        {"video": {"timeout": 60.0, "retry": {"base": 2.0}}, "video.youtube": {"max_concurrent": 2, "timeout": 30.0}},
        {"crash_limit": 7, "retry": {"base": 1.0, "cap": 9.0}},
    )

    assert tree.origin("video.youtube.shorts") == {
        "crash_limit": "defaults",
        "retry.cap": "defaults",
        "retry.base": "video",
        "timeout": "video.youtube",
        "max_concurrent": "video.youtube",
    }


def test_a_tree_keeps_its_own_copy_of_what_it_was_given() -> None:
    nodes = {"video": {"timeout": 60.0}}
    tree = PolicyTree(nodes)
    nodes["video"]["timeout"] = 1.0

    assert tree.effective("video").timeout == 60.0


@pytest.mark.parametrize("type", ["a", "video.youtube.channel", "A-1._x", "x" * 64])
def test_types(type: str) -> None:
    assert TYPE_PATTERN.match(type)
    assert parents(type)[-1] == type
    assert len(parents(type)) == type.count(".") + 1


@pytest.mark.parametrize("type", ["", ".", "a.", "a..b", "a.b.c.d", "a b", "ä", "a\n", "x" * 65, "a/b"])
def test_what_is_no_type(type: str) -> None:
    assert not TYPE_PATTERN.match(type)


def test_each_limit_is_inherited_by_itself() -> None:
    tree = PolicyTree(
        {"video": {"limits": {"memory": 1000}}, "video.youtube": {"limits": {"cpu": 60.0, "memory": None}}},
        {"limits": {"processes": 8}, "no_progress_timeout": 30.0},
    )
    assert tree.effective("video").limits == AttemptLimits(memory=1000, processes=8)
    assert tree.effective("video.youtube") == Policy(
        limits=AttemptLimits(processes=8, cpu=60.0), no_progress_timeout=30.0
    )
    assert tree.effective("video").limits.plain() == {"memory": 1000, "processes": 8}
    assert tree.origin("video")["limits.processes"] == "defaults"
