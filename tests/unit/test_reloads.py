"""The configuration is read again while the pool runs: what changes, who hears of it, and what stays."""

from __future__ import annotations

from typing import Any

from unit.pool_words import CLIENT, HOST, completed, failed, granted  # pyright: ignore[reportMissingImports]

from workerhost.actors.configured import pool_settings
from workerhost.actors.core.clients.reloads import Configuration
from workerhost.config.changes import Change, changes
from workerhost.config.loading import load
from workerhost.transport.messages import Admin, Query, Refused, Reply, Reread, Results, Tree

BEFORE: dict[str, Any] = {"workers": {"a": {"timeout": 60}, "a.b": {"max_concurrent": 1}}}


def differ(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return changes(load(old).document(), load(new).document())


def read(pool: Any, config: dict[str, Any], before: dict[str, Any] | None = None) -> dict[bytes, list[Any]]:
    """The shell has read this configuration."""
    found = Configuration(pool_settings(load(config)), differ(before or {}, config))
    return pool._turn(pool.pool.reread(found, pool.now, pool.wall))


def test_what_differs_is_said_setting_by_setting_with_what_it_needs() -> None:
    new = {
        "pool": {"bind": "tcp://127.0.0.1:7000"},
        "queue": {"max_size": 7},
        "defaults": {"retry": {"base": "2s"}},
        "hosts": {"gpu-*": {"slots": 2}},
        "workers": {"a": {"timeout": 90, "class": "my.code:Class"}},
        "monitoring": {"alerts": {"queue_depth_high": 9}},
    }
    assert differ(BEFORE, new) == [
        Change("", "pool.bind", "tcp://127.0.0.1:7470", "tcp://127.0.0.1:7000", "restart"),
        Change("", "queue.max_size", 1_000_000, 7, ""),
        Change("hosts.gpu-*", "slots", None, {"": 2}, ""),
        Change("defaults", "retry.base", 1.0, 2.0, ""),
        Change("a", "timeout", 60.0, 90.0, ""),
        Change("a", "class", None, "my.code:Class", "hosts"),
        Change("", "monitoring.alerts.queue_depth_high", None, 9, ""),
        Change("a.b", "max_concurrent", 1, None, ""),
    ]
    assert differ(new, new) == []


def test_who_is_told_of_alerts_and_whether_there_is_a_monitor_needs_a_restart() -> None:
    hook, rule = {"notify": ["https://example.org/hook"]}, {"running_above": 3, "notify": ["https://example.org/video"]}
    new = {"monitoring": {"enabled": False, "alerts": {**hook, "video": rule}}}
    assert {change.setting: change.needs for change in differ({}, new)} == {
        "monitoring.enabled": "restart",
        "monitoring.alerts.notify": "restart",
        "monitoring.alerts.video.running_above": "",
        "monitoring.alerts.video.notify": "restart",
    }


def test_a_null_that_means_something_is_a_change_and_counts(pool: Any) -> None:
    new: dict[str, Any] = {"workers": {"a": {"timeout": None}}}
    assert differ({}, new) == [Change("a", "timeout", None, None, "")]
    read(pool, new)
    assert pool.pool.membership.policies.effective("a").timeout is None

    limited: dict[str, Any] = {"defaults": {"limits": {"memory": "1G"}}}
    freed: dict[str, Any] = {**limited, "workers": {"a": {"limits": {"memory": None}}}}
    assert differ(limited, freed) == [Change("a", "limits.memory", None, None, "")]
    read(pool, freed, limited)
    assert pool.pool.membership.policies.effective("a").limits.memory is None


def test_an_entry_that_sets_nothing_is_a_change_and_counts(pool: Any) -> None:
    shared: dict[str, Any] = {"tenants": {"*": {"max_concurrent": 1}}, "hosts": {"*": {"slots": 2}}}
    new: dict[str, Any] = {"tenants": {**shared["tenants"], "acme": {}}, "hosts": {"gpu-1": {}, **shared["hosts"]}}
    assert differ(shared, new) == [Change("hosts.gpu-1", "", None, {}, ""), Change("tenant acme", "", None, {}, "")]
    assert differ(new, new) == []
    read(pool, new, shared)
    assert pool.pool.membership.policies.limits("tenant acme").max_concurrent is None
    assert pool.pool.membership.policies.limits("tenant other").max_concurrent == 1
    assert pool.pool.membership.entries["gpu-1"] == {}


def test_what_is_read_counts_whatever_was_found_to_differ(pool: Any) -> None:
    new: dict[str, Any] = {"workers": {"a": {"timeout": 7}}}
    read(pool, new, before=new)
    assert pool.pool.membership.policies.effective("a").timeout == 7.0


def test_who_asks_is_told_what_has_changed_and_a_wrong_file_changes_nothing(pool: Any) -> None:
    assert pool.say(CLIENT, Admin(1, "reload_config")) == {}
    said = read(pool, BEFORE)
    told = [change._asdict() for change in differ({}, BEFORE)]
    assert said[CLIENT] == [Reply(1, True, {"changes": told})]
    assert pool.say(CLIENT, Admin(1, "reload_config"))[CLIENT] == said[CLIENT], "asked once more"

    assert pool.say(CLIENT, Admin(2, "reload_config")) == {}
    problems = ["a.yaml:1: no", "a.yaml:2: nor this"]
    said = pool._turn(pool.pool.reread(problems, pool.now, pool.wall))
    assert said[CLIENT] == [Reply(2, False, {"code": "configuration", "reason": "\n".join(problems)})]
    assert pool.notes[-1] == "configuration_refused"
    assert pool.pool.membership.policies.effective("a").timeout == 60.0


def test_hosts_hear_of_their_nodes_and_read_their_own_files(pool: Any) -> None:
    pool.host(HOST, "a.b", slots=1)
    reread, tree = read(pool, BEFORE)[HOST]
    assert isinstance(tree, Tree)
    assert tree.nodes["a.b"]["timeout"] == 60.0
    assert isinstance(reread, Reread), "first: TREE may have a host begin a new session, in which it is not said again"
    _, tree = read(pool, {}, BEFORE)[HOST]
    assert tree.nodes["a.b"]["timeout"] == 300.0, "what is not set any more is what it is by default"
    reread, tree = read(pool, {}, {})[HOST]
    assert isinstance(tree, Tree)
    assert isinstance(reread, Reread), "what a host's own file says has nothing to do with what changed here"


def test_only_hosts_whose_entry_has_changed_are_greeted_anew_and_lose_nothing(pool: Any) -> None:
    pool.host(HOST, "a", slots=1)
    pool.host(b"o", "b", slots=1)
    ((id, fence, _),) = granted(pool.send())
    said = read(pool, {"hosts": {"h": {"slots": 3}}})
    assert isinstance(said[HOST][-1], Refused)
    assert not any(isinstance(message, Refused) for message in said[b"o"])
    pool.host(HOST, "a", slots=3, running=[[id, fence]])
    pool.say(HOST, Results([completed(id, fence)]))
    assert pool.state(id) == "completed"


def test_a_lowered_limit_waits_for_leases_and_a_raised_one_counts_at_once(pool: Any) -> None:
    pool.host(HOST, "a", slots=4)
    leases = granted(pool.send(count=6))
    assert len(leases) == 4
    low: dict[str, Any] = {"workers": {"a": {"max_concurrent": 2}}}
    read(pool, low)
    for id, fence, _ in leases[:2]:
        assert granted(pool.say(HOST, Results([completed(id, fence)]))) == []
    assert len(granted(pool.say(HOST, Results([completed(*leases[2][:2])])))) == 1
    assert len(granted(read(pool, {"workers": {"a": {"max_concurrent": 9}}}, low))) == 1


def test_tasks_of_a_node_that_is_gone_stay_queued_and_retries_go_by_what_holds_now(pool: Any) -> None:
    read(pool, {"workers": {"a": {"max_concurrent": 1, "retry": {"max_attempts": 1}}}})
    pool.host(HOST, "a", slots=2)
    ((id, fence, _),) = granted(pool.send(count=2))
    read(pool, {}, BEFORE)
    assert len(pool.pool.queue.leases) == 2, "the limit is gone with its node"
    pool.say(HOST, Results([failed(id, fence)]))
    assert pool.state(id) == "scheduled"


def test_the_alert_and_the_size_of_the_queue_change(pool: Any) -> None:
    read(pool, {"queue": {"max_size": 2}, "monitoring": {"alerts": {"queue_depth_high": 1}}})
    (rejected,) = pool.send(count=3)[CLIENT]
    assert rejected.code == "queue_full"
    pool.send(count=2)
    assert pool.notes[-1] == "queue_depth_high"
    (reply,) = pool.say(CLIENT, Query(5, "status", {}))[CLIENT]
    assert reply.value["queue"]["max_size"] == 2


def test_alerts_and_goals_are_taken_over(pool: Any) -> None:
    config = {"monitoring": {"alerts": {"running_below": 1}, "objectives": {"queue_depth": 5}}}
    read(pool, config)
    pool.wait(3)
    assert pool.notes[-1] == "alert_raised"
    read(pool, {}, before=config)
    assert pool.pool.report.watch.alerts() == []
