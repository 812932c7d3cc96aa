"""What `doctor` reads out of a pool's answers. Pure: answers in, findings out; each check is one row of `CHECKS`.

"Not claiming", "timing out" and "high error rate" are checks here, each with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ..config.schema import Settings
from ..transport.documents import GONE
from .finding import FINE, ODD, WRONG, Finding
from .tables import count, span

CLOCK_SECONDS_MAX: Final = 1.0
"""Two clocks that differ by more disagree about `at` and about what is said to people."""
ATTEMPTS_MIN: Final = 20
"""Fewer attempts tell no rate."""
FAILING_SHARE_MAX: Final = 0.05
"""The target: more than 95 % of attempts succeed."""
TIMEOUT_SHARE: Final = 0.7
"""A mean time of so much of the timeout leaves many tasks above it."""
_FULL_SHARE: Final = 0.9
_UNHEARD: Final = ("suspect", "lost")
"""What the pool itself says of hosts that it misses: how long one may be silent depends on its heartbeat."""
_LISTED_MAX: Final = 5
_SECURED_BY_NOBODY: Final = "insecure"


@dataclass(frozen=True)
class Answers:
    """What the pool said.

    Attributes:
        address: Where it is.
        version: That of this program.
        status, snapshot, types, hosts: Its answers to these queries.
        clock: By how many seconds its wall clock is ahead of ours.
        stuck: Of types with tasks that wait for no reason that another check knows: what `why` says of one.
        settings: This machine's configuration, for the timeouts; None if there is none that is right. Without a file it
            says nothing of this pool.
    """

    address: str
    version: str
    status: dict[str, Any]
    snapshot: dict[str, Any]
    types: list[dict[str, Any]]
    hosts: list[dict[str, Any]]
    clock: float = 0.0
    stuck: list[dict[str, Any]] = field(default_factory=list)
    settings: Settings | None = None

    def nodes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The nodes of the tree by name."""
        yield from self.snapshot["nodes"].items()

    def leaves(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The nodes below which there is none: each task counts at one of them alone."""
        inner = {name.rpartition(".")[0] for name in self.snapshot["nodes"]}
        yield from ((name, node) for name, node in self.nodes() if name not in inner)


def supervisor(answers: Answers) -> Iterator[Finding]:
    """Who answered, and how safe what it takes is."""
    about = answers.status["supervisor"]
    if about.get("version") != answers.version:
        text = f"is version {about.get('version')}, this program {answers.version}; one version apart is served"
        yield Finding("supervisor", ODD, text, answers.address, "pip install --upgrade workerhost, on both")
    if about.get("secured") == _SECURED_BY_NOBODY:
        text = "whoever reaches it over the network may do everything"
        yield Finding("supervisor", WRONG, text, answers.address, "workerhost up --network, in place of --insecure")
    if not about.get("durable"):
        text = "the queue is in memory: it ends with the supervisor"
        yield Finding("supervisor", ODD, text, answers.address, "queue: {persistence: sqlite, database: tasks.db}")
    yield Finding("supervisor", FINE, f"answers, up {span(about.get('uptime'))}", answers.address)


def clock(answers: Answers) -> Iterator[Finding]:
    """Whether this machine and the supervisor's agree about the time."""
    if abs(answers.clock) > CLOCK_SECONDS_MAX:
        ahead = "ahead of" if answers.clock > 0 else "behind"
        text = f"the supervisor's clock is {span(abs(answers.clock))} {ahead} this machine's"
        yield Finding("clock", WRONG, text, answers.address, "timedatectl set-ntp true, on both machines")
    else:
        yield Finding("clock", FINE, "the supervisor's clock and this machine's agree")


def room(answers: Answers) -> Iterator[Finding]:
    """Whether the queue takes more tasks."""
    queue = answers.status.get("queue", {})
    unfinished, most = queue.get("unfinished", 0), queue.get("max_size") or 1
    if queue.get("disk_low"):
        text = "its disk is almost full, so no new task is taken"
        yield Finding("room", WRONG, text, str(answers.status["supervisor"].get("database")), "free some room there")
    if unfinished >= _FULL_SHARE * most:
        text = f"holds {unfinished:,} unfinished tasks of at most {most:,}"
        level = WRONG if unfinished >= most else ODD
        yield Finding("room", level, text, "the queue", "more hosts, or queue: {max_size: ...}")


def hosts(answers: Answers) -> Iterator[Finding]:
    """Whether there is anybody who runs tasks, and whether all of them are heard."""
    if not answers.hosts:
        cure = f"workerhost host --join {answers.address} CODE"
        yield Finding("hosts", WRONG, "no host has joined, so nothing runs", answers.address, cure)
        return
    silent = [host for host in answers.hosts if host["state"] in _UNHEARD]
    returned = {host["name"] for host in answers.hosts if host["state"] == "joined"}
    for host in silent[:_LISTED_MAX]:
        if host["state"] == "lost" and host["name"] in returned:
            continue  # it is listed for a day, and another process has its name
        lost = "is lost: it " if host["state"] == "lost" else ""
        text = f"{lost}was last heard {span(host['silent'])} ago"
        cure = f"see whether it still runs on {host.get('machine') or 'its machine'} and reaches {answers.address}"
        level = ODD if host["state"] == "lost" and returned else WRONG  # what it ran goes on elsewhere
        yield Finding("hosts", level, text, host["name"], cure)
    draining = [host["name"] for host in answers.hosts if host["state"] == "draining"]
    for name in draining[:_LISTED_MAX]:
        yield Finding("hosts", ODD, "drains: it takes nothing new", name, f"workerhost drain {name} --undo")
    joined = sum(host["state"] == "joined" for host in answers.hosts)
    living = [host for host in answers.hosts if host["state"] not in GONE]
    slots = sum(host["slots"] for host in living)
    if joined:
        busy = sum(host["running"] for host in living)
        yield Finding("hosts", FINE, f"{count(joined, 'host')} joined, {busy:,} of {slots:,} slots are busy")


def broken(answers: Answers) -> Iterator[Finding]:
    """Code that hosts cannot run, slots that cannot be started, and levels that failed."""
    for host in answers.hosts:
        for pool, why in list(host.get("start_failed", {}).items())[:_LISTED_MAX]:
            text = f"cannot start its slots{f' for {pool}' if pool else ''}: {why}"
            cure = f"put right what it says on {host.get('machine') or 'its machine'}; the host tries again by itself"
            yield Finding("broken", WRONG, text, host["name"], cure)
        for type, why in list(host.get("failed", {}).items())[:_LISTED_MAX]:
            cure = "workerhost check worker CODE there; then workerhost reload"
            yield Finding("broken", WRONG, f"cannot run {type}: {why}", host["name"], cure)
        for type, (state, note) in sorted(host.get("levels", {}).items()):
            if state == "failed":
                cure = f"put right what it says, then workerhost reload {host['name']}"
                yield Finding("broken", WRONG, f"{type} failed: {note}", host["name"], cure)
    for item in answers.types:
        if len(item.get("code", {})) > 1:
            served = "; ".join(f"{code} on {', '.join(names)}" for code, names in item["code"].items())
            text = f"is served from different code: {served}"
            yield Finding("broken", ODD, text, item["type"], "workerhost reload, once all hosts have the same code")


def served(answers: Answers) -> Iterator[Finding]:
    """Types that wait for a host, and hosts that serve nothing anybody sends."""
    for type, node in answers.leaves():
        if node["hosts"] or not answers.hosts:
            continue
        if node["queued"]:
            text = f"no host serves it, {_waiting(node['queued'])}"
            cure = f"workerhost host --join {answers.address} CODE, or the right type: workerhost types"
            yield Finding("served", WRONG, text, type, cure)
    for host in answers.hosts:
        if not any(host.get(what) for what in ("types", "any", "failed", "start_failed")) and host["state"] == "joined":
            cure = f"start it with code: workerhost host --join {answers.address} CODE"
            yield Finding("served", ODD, "serves no type at all, so it gets no task", host["name"], cure)


def stopped(answers: Answers) -> Iterator[Finding]:
    """Nodes that a person, a service or a breaker has stopped."""
    for name, node in answers.nodes():
        waiting = _waiting(node["queued"])
        paused = node["limits"].get("paused")
        if paused is not None:
            why = f" ({paused['reason']})" if paused["reason"] else ""
            word = "is paused" if paused["until"] is None else "sleeps"
            yield Finding("stopped", ODD, f"{word}{why}, {waiting}", name, f"workerhost resume {name}")
        if node["limits"].get("breaker") == "open":
            text = f"its breaker is open after many failures, {waiting}"
            cure = f"workerhost ls --state failed --type {name}; it tries again by itself"
            yield Finding("stopped", WRONG, text, name, cure)


def _waiting(number: int) -> str:
    return "nothing waits" if not number else "1 task waits" if number == 1 else f"{number:,} tasks wait"


def claiming(answers: Answers) -> Iterator[Finding]:
    """Tasks that wait although hosts serve them: what the pool itself says of one."""
    for said in answers.stuck:
        reasons = "; ".join(reason["text"] for reason in said["reasons"]) or "nothing keeps it, and nobody claims it"
        yield Finding("claiming", WRONG, f"waits: {reasons}", said["type"], f"workerhost why {said['id']}")


def failing(answers: Answers) -> Iterator[Finding]:
    """Types whose attempts fail often, with what they mostly fail by."""
    fine = True
    for type, node in answers.leaves():
        causes = {cause: number for cause, number in node["causes"].items() if cause != "timeout"}
        failed, attempts = sum(causes.values()), node["attempts"]
        if attempts < ATTEMPTS_MIN or failed <= FAILING_SHARE_MAX * attempts:
            continue
        fine = False
        most = max(causes, key=lambda cause: causes[cause])
        text = f"{failed / attempts:.0%} of {attempts:,} attempts failed, mostly by {most}"
        yield Finding("failing", WRONG, text, type, f"workerhost ls --state failed --type {type}")
    if fine and answers.snapshot["pool"]["attempts"]:
        yield Finding("failing", FINE, "no type fails more than 5 % of its attempts")


def timeouts(answers: Answers) -> Iterator[Finding]:
    """Types that run into their timeout, or come near it."""
    settings = answers.settings
    policies = settings.policies() if settings is not None and settings.source is not None else None
    for type, node in answers.leaves():
        attempts, late = node["attempts"], node["causes"].get("timeout", 0)
        timeout = policies.effective(type).timeout if policies is not None else None
        written = f" of {span(timeout)}" if timeout is not None else ""
        longer = _longer(type, timeout)
        if late and late > FAILING_SHARE_MAX * attempts:
            text = f"{late:,} of {attempts:,} attempts ran into the timeout{written}"
            yield Finding("timeouts", WRONG, text, type, f"{longer}, smaller tasks, or checkpoints")
        elif timeout is not None and attempts >= ATTEMPTS_MIN and node["seconds"] > TIMEOUT_SHARE * timeout * attempts:
            text = f"an attempt takes {span(node['seconds'] / attempts)} on average, close to the timeout{written}"
            yield Finding("timeouts", ODD, text, type, longer)


def _longer(type: str, timeout: float | None) -> str:
    """Where a timeout is raised; to how much, only where it is known how long it is."""
    if timeout is None:
        return f"raise workers.{type}.timeout where the supervisor reads its file"
    return f"workers: {{{type}: {{timeout: {2 * timeout:.0f}s}}}}"


def quarantined(answers: Answers) -> Iterator[Finding]:
    """Tasks that killed their workers."""
    number = answers.status["tasks"].get("quarantined", 0)
    if number:
        text = f"of {count(number, 'task')} each killed its worker too often, and waits for a person"
        cure = "workerhost ls --state quarantined, workerhost show ID; then workerhost retry --state quarantined"
        yield Finding("quarantined", WRONG, text, "the queue", cure)


CHECKS: Final[dict[str, Callable[[Answers], Iterator[Finding]]]] = {
    "supervisor": supervisor,
    "clock": clock,
    "room": room,
    "hosts": hosts,
    "broken": broken,
    "served": served,
    "stopped": stopped,
    "claiming": claiming,
    "failing": failing,
    "timeouts": timeouts,
    "quarantined": quarantined,
}
