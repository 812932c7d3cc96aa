"""What the pages cost with a thousand types and a hundred hosts, in processor time, which no crowd beside us takes."""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest

from workerhost.actors.core.statistics import BOUNDS, Figures
from workerhost.actors.metrics import Metrics
from workerhost.actors.monitor import Board, Monitor, Seen
from workerhost.transport import clock
from workerhost.transport.http.app import application
from workerhost.transport.http.contract import Pool
from workerhost.transport.http.server import Server, bound

NODES, HOSTS = 1000, 100
SERVED_SECONDS, MADE_SECONDS = 0.02, 0.1


def numbers(*, media: bool = False) -> dict[str, Any]:
    """A node at which things were counted."""
    found: dict[str, Any] = {name: 1000 for name in Figures().shown() if name != "causes"}
    found |= {"queued": 5, "scheduled": 0, "waiting": 0, "running": 5, "oldest": None, "hosts": 1, "limits": {}}
    buckets = [100] + [0] * len(BOUNDS)
    found |= {"durations": buckets, "waits": buckets} if media else {}
    return {**found, "causes": {"crash": 3}, "blocks": []}


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    nodes = {f"m{media}": numbers(media=True) for media in range(20)}
    nodes |= {f"m{media}.p{platform}": numbers() for media in range(20) for platform in range(7)}
    nodes |= {f"{above}.e{number}": numbers() for above in list(nodes) if "." in above for number in range(6)}
    assert len(nodes) == NODES
    hosts = [{"name": f"h{n}", "state": "joined", "slots": 8, "running": 4, **numbers()} for n in range(HOSTS)]
    return {
        "at": 1.0, "wall": 100.0, "epoch": 1, "uptime": 5.0, "tasks": {"queued": 6, "completed": 7},
        "bounds": list(BOUNDS), "pool": numbers(media=True), "nodes": nodes, "hosts": hosts,
    }  # fmt: skip


def median(work: Callable[[], Any], times: int = 11) -> float:
    """Seconds of this process, all of its threads."""
    taken: list[float] = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def test_metrics_are_made_in_a_tenth_of_the_second_between_two(snapshot: dict[str, Any]) -> None:
    metrics = Metrics()
    assert median(lambda: metrics.page(snapshot, heard=True)) < MADE_SECONDS


def test_metrics_are_served_as_they_were_made_once_for_each_snapshot(snapshot: dict[str, Any]) -> None:
    board = Board()
    board.put(Seen(snapshot, heard=clock.now(), problem=""))
    first = board.page()
    assert board.page() is first
    assert gzip.decompress(board.page(compressed=True)) == first
    board.put(Seen(snapshot, heard=clock.now(), problem=""))
    assert board.page() is not first


def test_metrics_are_served_within_20_ms(snapshot: dict[str, Any]) -> None:
    board = Board()
    board.put(Seen(snapshot, heard=clock.now(), problem=""))
    monitor = Monitor(cast("Any", None), board)  # no actor: nothing newer comes
    nobody = cast("Pool", None)
    app = application(nobody, lambda: nobody, monitor, token="t" * 20, local=True, open=True, version="0")
    server = Server(app, bound("127.0.0.1:0")).start()
    try:
        with httpx.Client(base_url=server.url) as http:
            found = http.get("/metrics")
            assert found.headers["content-encoding"] == "gzip"
            assert len(found.content) > NODES * HOSTS
            assert median(lambda: http.get("/metrics"), 21) < SERVED_SECONDS  # the asking and unpacking included
            plain = http.get("/metrics", headers={"Accept-Encoding": "gzip;q=0, identity"})
            assert "content-encoding" not in plain.headers
            assert plain.content == found.content
    finally:
        server.stop()
