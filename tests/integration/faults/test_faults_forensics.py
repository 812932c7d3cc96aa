"""However an attempt ends, `show` and `why` say why: the cause, the signal or exit code, the last lines that it wrote,
the peak memory of a process that died, and which code ran.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_pool import FaultPool, Program, gone
from waiting import until

from workerhost import Client
from workerhost.bin import documents, task_views

pytestmark = pytest.mark.faults

CODE = Path(__file__).with_name("dying.py")
WORKERS: dict[str, Any] = {
    "dies.hangs": {"timeout": 0.3},
    "dies.stalls": {"no_progress_timeout": 0.3},
    "dies.eats": {"limits": {"memory": "200M"}},
    "dies.forks": {"limits": {"processes": 8}},
    "dies.burns": {"limits": {"cpu": 0.3}},
    "dies.floods": {"limits": {"output": "100K"}},
    "gone": {"isolation": "command", "command": ["./gone.sh"]},
}


@dataclass(frozen=True)
class Ending:
    """What must be said of an attempt.

    Attributes:
        state: Of its task.
        outcome: Of the attempt.
        cause: In its detail.
        says: Some words of the reason, which a person reads in `show` and in `why`.
        signal: Which one killed the process, if one did.
        exit_code: With which one it ended, if it did.
        died: Whether the process is known to be dead, so that its peak memory is.
        writes: Whether what it wrote last is known.
    """

    state: str
    outcome: str
    cause: str
    says: str
    signal: int | None = None
    exit_code: int | None = None
    died: bool = False
    writes: bool = True


ENDINGS = {
    "dies.raises": Ending("failed", "failed", "exception", "ValueError: so it goes"),
    "dies.fails": Ending("failed", "failed", "failed", "there is no such page"),
    "dies.bursts": Ending("failed", "failed", "result_too_large", "store the data"),
    "dies.hangs": Ending("failed", "failed", "timeout", "ran longer than 0.3 s"),
    "dies.stalls": Ending("failed", "failed", "no_progress", "reported no progress for 0.3 s"),
    "dies.burns": Ending("failed", "failed", "cpu", "processor time; its limit is 0.3 s"),
    "dies.floods": Ending("failed", "failed", "output", "its limit is 100 KiB", writes=False),
    "dies.forks": Ending("failed", "failed", "processes", "its limit is 8", signal.SIGKILL, died=True),
    "dies.eats": Ending("quarantined", "quarantined", "oom", "its limit is 200 MiB", signal.SIGKILL, died=True),
    "dies.crashes": Ending("quarantined", "quarantined", "crash", "SIGSEGV", signal.SIGSEGV, died=True),
    "dies.shot": Ending("quarantined", "quarantined", "crash", "SIGKILL", signal.SIGKILL, died=True),
    "dies.exits": Ending("quarantined", "quarantined", "crash", "exit code 3", exit_code=3, died=True),
    "dies.babbles": Ending(
        "quarantined", "quarantined", "protocol_error", "did not keep the protocol", signal.SIGKILL, died=True
    ),
    "dies.declines": Ending("completed", "released", "released", "not at this time"),
    "gone": Ending("failed", "failed", "start_failed", "gone.sh cannot be started", writes=False),
}
ONCE = {"retry": {"max_attempts": 1}, "crash_limit": 1}


def check(client: Client, id: int, type: str, expected: Ending) -> None:
    """What is said of the first attempt of a task, to programs and to people."""
    shown = client.show(id)
    attempt = shown["attempts"][0]
    detail = attempt["detail"]
    assert (shown["state"], attempt["outcome"], detail["cause"]) == (expected.state, expected.outcome, expected.cause)
    assert re.fullmatch(r"[0-9a-f]{8,}", attempt["code"] or ""), f"which code ran: {attempt['code']!r}"
    assert attempt["host"]
    page = "\n".join(task_views.task(documents.task(shown)))
    story = " ".join(" ".join(task_views.why(documents.plain_data(client.why(id)))).split())  # its lines are wrapped
    assert expected.says in story, story
    assert expected.outcome in page
    for name, number in (("signal", expected.signal), ("exit code", expected.exit_code)):
        if number is not None:
            assert detail[name.replace(" ", "_")] == number
            assert f"{name} {number}" in story, story
    if expected.died:
        assert detail["memory"] > 1_000_000
        assert re.search(r"attempt 1: peak memory [0-9.]+ MiB", page), page
    if expected.writes:
        assert f"the last words of {type}" in detail["output"]
        assert f"  the last words of {type}" in page.splitlines()


def test_every_end_of_an_attempt_is_explained(pool: FaultPool) -> None:
    program = pool.folder / "gone.sh"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    pool.configure(workers=WORKERS, defaults=ONCE)
    pool.start_supervisor()
    pool.start_host("one", str(CODE), slots=4)
    client = pool.client()
    handles = {type: client.send(type) for type in ENDINGS}
    wrong: list[str] = []
    for type, handle in handles.items():
        assert handle.wait(30), type
        try:
            check(client, handle.id, type, ENDINGS[type])
        except (AssertionError, KeyError, TypeError) as error:
            wrong.append(f"{type}: {error!r}\n{client.show(handle.id)['attempts']}")
    assert not wrong, "\n\n".join(wrong)


def begin(pool: FaultPool, *options: str, isolation: str = "process") -> tuple[Client, Program, int]:
    """A pool whose one host runs `dies.waits`: a client, the host, the task."""
    pool.start_supervisor()
    host = pool.start_host("one", str(CODE), "--isolation", isolation, *options)
    client = pool.client()
    handle = client.send("dies.waits")
    until((pool.folder / "begun").exists, "it runs")
    until(lambda: any(client.tail(handle.id)), "its words are heard: what its host has not read when it ends is lost")
    return client, host, handle.id


def lost(pool: FaultPool, host: Program, client: Client) -> None:
    host.kill()


def silent(pool: FaultPool, host: Program, client: Client) -> None:
    host.send(signal.SIGSTOP)
    until(lambda: pool.state(client, "one") == "lost", "it is given up")
    host.kill()


def drained(pool: FaultPool, host: Program, client: Client) -> None:
    host.send(signal.SIGTERM)
    assert host.ended() == 0


def forced(pool: FaultPool, host: Program, client: Client) -> None:
    host.send(signal.SIGTERM)
    host.await_event("host_drains")
    host.send(signal.SIGTERM)
    assert host.ended() == 0


def cut_off(pool: FaultPool, host: Program, client: Client) -> None:
    children = host.children()
    pool.supervisor.kill()
    until(lambda: any(map(gone, children)), "its process is gone")
    pool.start_supervisor()


def beside_one_that_dies(pool: FaultPool, host: Program, client: Client) -> None:
    """Where two ran in one process nobody knows which one ended it, so nobody is blamed."""
    client.send("dies.exits")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lost, Ending("completed", "host lost", "host_lost", "did not come back", writes=False)),
        (silent, Ending("completed", "host lost", "host_lost", "no word came from it for", writes=False)),
        (drained, Ending("completed", "released", "drain", "the host leaves")),
        (forced, Ending("completed", "released", "drain", "the host leaves")),
        (cut_off, Ending("completed", "released", "cut_off", "cut off from the supervisor")),
        (beside_one_that_dies, Ending("completed", "released", "neighbour", "its slot's process ended", exit_code=3)),
    ],
)
def test_an_attempt_that_was_ended_for_no_fault_of_its_own_says_why(
    pool: FaultPool, end: Any, expected: Ending
) -> None:
    pool.impatient()
    cut_off_after = "stop" if end is cut_off else "1h"
    pool.configure(defaults={**ONCE, "cut_off": cut_off_after}, host={"drain_timeout": 0.3})
    client, host, id = begin(pool, isolation="thread" if end is beside_one_that_dies else "process")
    end(pool, host, client)
    if host.process.poll() is not None:
        pool.start_host("two", str(CODE))
    assert client.task(id).result(20) == 2
    check(client, id, "dies.waits", expected)
    assert (shown := client.show(id))["failures"] == shown["crashes"] == 0


def test_a_task_whose_hosts_keep_dying_even_when_it_is_alone_says_so_at_each_attempt(pool: FaultPool) -> None:
    pool.impatient()
    pool.start_supervisor()
    client = pool.client()
    handle = client.send("gated", {"gate": "never"})
    for number in range(1, 5):
        host = pool.start_host(f"host-{number}")
        pool.await_trace(attempt=number)
        host.kill()
        until(lambda: client.show(handle.id)["state"] != "running", "it is rescued")
    shown = client.show(handle.id)
    assert (shown["state"], shown["failures"], shown["crashes"]) == ("quarantined", 0, 0)
    ends = [(one["host"], one["outcome"], one["detail"]["cause"]) for one in shown["attempts"]]
    assert ends == [
        *[(f"host-{number}", "host lost", "host_lost") for number in (1, 2, 3)],
        ("host-4", "quarantined", "host_lost"),
    ]
    story = " ".join(" ".join(task_views.why(documents.plain_data(client.why(handle.id)))).split())
    assert "4 hosts were lost while it ran, the last time with no neighbour" in story, story
