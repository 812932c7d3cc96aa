"""Keys and cached results against a model: whatever clients send, and however tasks end, a name means one task."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from unit.conftest import PoolAtHand  # pyright: ignore[reportMissingImports]
from unit.pool_words import (  # pyright: ignore[reportMissingImports]
    CLIENT,
    HOST,
    completed,
    failed,
)

from workerhost.actors.core.effects import Where
from workerhost.actors.stores.sqlite import SqliteStore
from workerhost.transport.messages import Accepted, Admin, Cancel, Rejected, Reply, Results, Submit

UNFINISHED = ("waiting", "scheduled", "queued", "running")
Keys = st.sampled_from(["k", "l"])
Params = st.sampled_from([b"x", b"y"])
Instants = dict[int, float]


class Names(RuleBasedStateMachine):
    """A pool with one client and one host beside what keys and caches promise."""

    sqlite = False

    @initialize()
    def begin(self) -> None:
        self.pool: Any = PoolAtHand()
        if self.sqlite:
            self.folder = TemporaryDirectory()
            self.pool.store = SqliteStore(Path(self.folder.name, "queue.db"), durability="relaxed")
            self.pool.start()
        self.number = self.request = 0
        self.bearer: dict[str, tuple[int, float]] = {}  # key -> its latest task, and until when it has it
        self.answering: dict[bytes, int] = {}  # params -> the latest that was cached
        self.params: dict[int, bytes] = {}
        self.ended: Instants = {}
        self.states: dict[int, str] = {}
        self.join()

    def teardown(self) -> None:
        if self.sqlite and hasattr(self, "folder"):
            self.pool.store.close()
            self.folder.cleanup()

    def join(self) -> None:
        self.pool.client()
        self.pool.host(slots=2)

    def holds(self, key: str) -> int | None:
        id, until = self.bearer.get(key, (0, 0.0))
        state = self.pool.state(id) if id else None
        return id if state in UNFINISHED or (state == "completed" and until > self.pool.wall) else None

    def submit(self, options: dict[str, Any], params: bytes) -> Accepted | Rejected:
        self.number += 1
        said = self.pool.say(CLIENT, Submit(self.number, 1, [["a", 5, options, [params]]]))[CLIENT]
        return next(message for message in said if isinstance(message, Accepted | Rejected))

    @rule(
        key=Keys,
        params=Params,
        unique_for=st.sampled_from([None, 5.0, "kept"]),
        conflict=st.sampled_from(["return", "replace", "refuse"]),
        delay=st.sampled_from([None, 3.0]),
    )
    def send_with_a_key(self, key: str, params: bytes, unique_for: Any, conflict: str, delay: float | None) -> None:
        old = self.holds(key)
        wall = self.pool.wall
        task = self.pool.store.show(old) if old else None
        options: dict[str, Any] = {"key": key, "on_conflict": conflict}
        options |= {} if unique_for is None else {"unique_for": unique_for}
        options |= {} if delay is None else {"delay": delay}
        said = self.submit(options, params)
        if old is None:
            assert isinstance(said, Accepted)
            assert said.others == []
            until = 0.0 if unique_for is None else 1e18 if unique_for == "kept" else wall + unique_for
            self.bearer[key] = said.first, until
            self.params[said.first] = params
        elif conflict == "refuse":
            assert isinstance(said, Rejected)
            assert said.code == "conflict"
        else:
            assert task is not None
            same = self.params[old] == params
            fresh = task["state"] in UNFINISHED[:3] and task["attempt"] == 0
            how = 0 if same else 2 if conflict == "replace" and fresh else 1
            if how == 2:
                self.params[old] = params
            assert isinstance(said, Accepted)
            assert said.others == [[0, old, how]]

    @rule(params=Params, age=st.sampled_from([2.0, 1e6]))
    def send_with_cache(self, params: bytes, age: float) -> None:
        old = self.answering.get(params)
        state = self.pool.state(old) if old else None
        fresh = state in UNFINISHED or (state == "completed" and self.ended[old or 0] > self.pool.wall - age)
        said = self.submit({"cache": age}, params)
        assert isinstance(said, Accepted)
        assert said.others == ([[0, old, 0]] if fresh else [])
        if not fresh:
            self.answering[params] = said.first
            self.params[said.first] = params

    @rule(well=st.booleans(), last=st.booleans())
    def end(self, well: bool, last: bool) -> None:
        leases = self.pool.pool.queue.leases
        if leases:
            id = (max if last else min)(leases)
            ends = completed(id, leases[id].row.fence) if well else failed(id, leases[id].row.fence, retry=False)
            self.ended[id] = self.pool.wall
            self.pool.say(HOST, Results([ends]))

    @rule(key=Keys)
    def cancel_what_waits(self, key: str) -> None:
        id = self.holds(key)
        if id and self.pool.state(id) in UNFINISHED[:3]:
            self.pool.say(CLIENT, Cancel(1, [id]))

    @rule()
    def retry_all(self) -> None:
        self.request += 1
        ids = sorted(id for id in self.params if self.pool.state(id) in ("failed", "cancelled"))
        if not ids:
            return
        bearers = {key: self.bearer[key][0] for key in self.bearer}
        said = self.pool.say(CLIENT, Admin(self.request, "retry", {"ids": ids}))[CLIENT]
        reply = next(message.value for message in said if isinstance(message, Reply))
        superseded = dict(reply.get("superseded", ()))
        assert sorted([*reply["retried"], *superseded]) == ids
        for id in reply["retried"]:
            key = self.key_of(id)
            if key is not None and bearers[key] != id:
                self.bearer[key] = id, 0.0
        for id, newer in superseded.items():
            assert self.bearer[self.key_of(id) or ""][0] == newer

    def key_of(self, id: int) -> str | None:
        key: str | None = self.pool.store.show(id)["key"]
        return key

    @rule(seconds=st.sampled_from([1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.pool.wait(seconds, step=2.0)

    @rule(key=Keys)
    def clear_a_key(self, key: str) -> None:
        self.request += 1
        self.pool.say(CLIENT, Admin(self.request, "clear_cache", {"type": "a", "key": key}))
        id, until = self.bearer.get(key, (0, 0.0))
        if id and self.pool.state(id) == "completed" and until > self.pool.wall:
            self.bearer[key] = id, 0.0

    @rule()
    def clear_all(self) -> None:
        self.request += 1
        self.pool.say(CLIENT, Admin(self.request, "clear_cache", {}))
        self.answering.clear()

    @rule()
    def restart(self) -> None:
        if not self.pool.pool.queue.leases:  # what a host holds over a restart is the simulation's
            self.pool.store.close()
            self.pool.start()
            self.join()

    @invariant()
    def a_key_is_that_of_one_unfinished_task(self) -> None:
        if not hasattr(self, "pool"):
            return
        tasks, _ = self.pool.store.tasks(Where(), 1000)
        keys = [task["key"] for task in tasks if task["state"] in UNFINISHED and task["key"]]
        assert len(keys) == len(set(keys))
        for key in ("k", "l"):
            listed, _ = self.pool.store.tasks(Where(key=key), 9)
            assert [task["id"] for task in listed] == ([self.bearer[key][0]] if key in self.bearer else [])
        for id, params in self.params.items():
            assert self.pool.store.show(id)["params"] == params


@pytest.mark.parametrize("sqlite", [False, True], ids=["memory", "sqlite"])
def test_names_mean_what_they_promise(sqlite: bool) -> None:
    machine = type("Names", (Names,), {"sqlite": sqlite})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=15 if sqlite else 40, stateful_step_count=25, deadline=None)
    )
