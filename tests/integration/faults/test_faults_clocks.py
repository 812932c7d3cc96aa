"""Wall clocks that are set while tasks run and wait, and a supervisor that stands still."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime

import pytest
from fault_pool import FaultPool, broken_at, clock
from waiting import until

pytestmark = pytest.mark.faults

HOUR = 3600.0
SUMMER = datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp()  # in most of Europe two o'clock becomes three
WINTER = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()  # and here three becomes two once more


@pytest.mark.parametrize(
    "jump", ["an hour on", "an hour back", "ten years back", "into summer time", "into winter time"]
)
def test_a_wall_clock_that_is_set_moves_no_lease_and_runs_nothing_twice(pool: FaultPool, jump: str) -> None:
    to_summer, to_winter = SUMMER - time.time() - 1, WINTER - time.time() - 1
    seconds = {"an hour on": HOUR, "an hour back": -HOUR, "ten years back": -3653 * 24 * HOUR}.get(
        jump, to_summer if jump == "into summer time" else to_winter
    )
    offset = pool.folder / "offset"
    pool.impatient()
    pool.start_supervisor(TZ="Europe/Berlin", **broken_at("wall_clock", offset))
    pool.start_host("one", slots=4)
    client = pool.client()
    runs = client.send("gated", {"gate": "go"})
    pool.await_trace()
    due = time.time() + 1.5
    later = [client.send("quick", at=due) for _ in range(3)]
    delayed = client.send("quick", delay=2.0)
    sent = clock()

    offset.write_text(str(seconds))
    assert delayed.result(20)["attempt"] == 1, "it waits by the clock that never jumps"
    assert clock() - sent > 1.9
    if seconds > 0:
        assert [handle.result(20)["attempt"] for handle in later] == [1, 1, 1], "their time has come"
    else:
        assert {client.show(handle.id)["state"] for handle in later} == {"scheduled"}, "their time is far"
        offset.write_text("0")
        assert [handle.result(20)["attempt"] for handle in later] == [1, 1, 1]
    offset.write_text("0")
    pool.open("go")
    assert runs.result(10)["attempt"] == 1
    assert pool.supervisor.events("host_lost") == []
    ids = [runs.id, delayed.id, *(handle.id for handle in later)]
    assert pool.audit(ids, executions_max=1) == {"completed": 5}


def test_a_supervisor_that_stood_still_for_longer_than_a_lease_gives_nobody_up(pool: FaultPool) -> None:
    """As when its machine sleeps: what hosts and clients said meanwhile is heard before any timer."""
    pool.impatient()
    pool.start("one", "two", slots=1)
    client = pool.client()
    handles = [client.send("gated", {"gate": gate}) for gate in ("go", "never")]
    pool.await_trace(count=2)
    pool.supervisor.send(signal.SIGSTOP)
    stopped = clock()
    pool.open("go")
    until(lambda: clock() - stopped > 2.5, "more than twice lost_after has passed")
    pool.supervisor.send(signal.SIGCONT)

    assert handles[0].result(20)["attempt"] == 1
    until(lambda: all(pool.state(client, name) == "joined" for name in ("one", "two")), "both are with it")
    pool.open("never")
    assert handles[1].result(20)["attempt"] == 1
    assert pool.supervisor.events("host_lost") == []
    assert pool.audit([handle.id for handle in handles], executions_max=1) == {"completed": 2}
