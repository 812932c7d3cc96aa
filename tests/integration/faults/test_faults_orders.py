"""A supervisor that dies over an order by filters: it is carried out whole or not at all, and nothing else is."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import closing

import pytest
from fault_pool import FaultPool, broken_at

from workerhost import Client
from workerhost.transport.messages import STATES

pytestmark = pytest.mark.faults

MEANT, BESIDE = 2000, 50


class Order:
    """An order in a thread of its own: it is asked once more when the supervisor is back."""

    def __init__(self, client: Client, verb: str) -> None:
        self.changed: list[int] | None = None
        self._thread = threading.Thread(target=self._run, args=(client, verb))
        self._thread.start()

    def _run(self, client: Client, verb: str) -> None:
        self.changed = getattr(client, verb)(tag="meant")

    def answer(self) -> list[int]:
        self._thread.join(60)
        assert self.changed is not None, "the order was answered"
        return sorted(self.changed)


def stored(pool: FaultPool) -> dict[int, str]:
    """The state of each task, read while no supervisor is there."""
    with closing(sqlite3.connect(pool.database)) as database:
        rows: list[tuple[int, int]] = database.execute("select id, state from task").fetchall()
    return {id: str(STATES[state]) for id, state in rows}


@pytest.mark.parametrize("verb", ["cancel", "delete"])
@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
def test_a_death_over_an_order_by_filters_leaves_it_whole_or_undone(pool: FaultPool, point: str, verb: str) -> None:
    fail = pool.folder / "fail"
    pool.impatient()
    pool.start_supervisor(**broken_at(point, fail))
    with pool.client() as sender:
        meant = [id for ids in sender.send_many("quick", [None] * MEANT, tags=["meant"]).ids() for id in ids]
        beside = [id for ids in sender.send_many("quick", [None] * BESIDE, tags=["other"]).ids() for id in ids]
        if verb == "delete":
            sender.cancel(meant + beside)
    before = dict.fromkeys(meant + beside, "cancelled" if verb == "delete" else "queued")
    after = dict.fromkeys(meant, "cancelled") if verb == "cancel" else {}
    after |= {id: before[id] for id in beside}

    client = pool.client(60)
    fail.touch()
    order = Order(client, verb)
    assert pool.supervisor.ended() == -signal.SIGKILL, "it died over the order"
    assert stored(pool) == (after if point == "after_commit" else before)

    fail.unlink()
    pool.start_supervisor()
    assert order.answer() == ([] if point == "after_commit" else meant), "what its repetition has changed"
    assert getattr(client, verb)(tag="meant") == [], "there is no more to be done"
    counts = client.status()["tasks"]
    pool.supervisor.send(signal.SIGTERM)
    assert pool.supervisor.ended() == 0
    assert stored(pool) == after
    found = {state: sum(1 for one in after.values() if one == state) for state in counts}
    assert {state: counts[state] for state in found} == found, "the counts that are kept are those of the rows"
