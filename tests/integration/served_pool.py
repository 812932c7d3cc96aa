"""A pool in this process with its pages on a real port, and a monitor that keeps what these tests look at."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

from workerhost import WorkerHost, WorkerHostError
from workerhost.transport.client import Client
from workerhost.transport.http.app import application
from workerhost.transport.http.server import Server, bound

TOKEN = "only-for-tests-0123456789"


class Watching:
    """A monitor of a pool: one look a second."""

    def __init__(self, address: str) -> None:
        self._client = Client(address, timeout=2.0)
        self._looks: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(1.0):
            try:
                self._looks = [*self._looks[-3600:], self._client.snapshot()]
            except WorkerHostError:
                continue

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        self._client.close()

    def metrics(self) -> bytes:
        return f"# TYPE workerhost_looks_total counter\nworkerhost_looks_total {len(self._looks)}\n".encode()

    def health(self) -> dict[str, Any]:
        return {"ok": True}

    def ready(self) -> dict[str, Any]:
        return {"ok": bool(self._looks), "reason": "" if self._looks else "nothing was heard of the pool yet"}

    def worker_health(self, type: str) -> dict[str, Any] | None:
        node = self._looks[-1]["nodes"].get(type) if self._looks else None
        return node and {"ok": bool(node["hosts"]), "hosts": node["hosts"]}

    def view(self) -> dict[str, Any]:
        looks = self._looks
        if not looks:
            return {}
        windows = {}
        for name, seconds in {"1m": 60, "5m": 300, "1h": 3600}.items():
            old, new = looks[max(0, len(looks) - 1 - seconds)], looks[-1]
            nodes = {k: figures(v, old["nodes"].get(k, {}), new["at"] - old["at"]) for k, v in new["nodes"].items()}
            windows[name] = {
                "pool": figures(new["pool"], old["pool"], new["at"] - old["at"]),
                "nodes": nodes,
                "hosts": {},
            }
        return {"windows": windows}

    def history(self, seconds: float) -> dict[str, Any]:
        looks = self._looks[-int(seconds) :]
        columns: dict[str, Any] = {"step": 1.0, "at": [look["wall"] for look in looks[1:]]}
        pairs = list(pairwise(looks))
        for name in ("completed", "failed"):
            columns[name] = [b["pool"][name] - a["pool"][name] for a, b in pairs]
        for name in ("queued", "running"):
            columns[name] = [b["pool"][name] for _, b in pairs]
        took = [
            (b["pool"]["seconds"] - a["pool"]["seconds"], b["pool"]["attempts"] - a["pool"]["attempts"])
            for a, b in pairs
        ]
        columns["duration_p95"] = [s / n if n else None for s, n in took]
        return columns


def figures(new: Mapping[str, Any], old: Mapping[str, Any], span: float) -> dict[str, Any]:
    def grew(name: str) -> float:
        return new[name] - old.get(name, 0)

    ends = grew("completed") + grew("failed")
    return {
        "completed": grew("completed"), "failed": grew("failed"), "per_second": ends / span if span else None,
        "success": grew("completed") / ends if ends else None,
        "duration": grew("seconds") / grew("attempts") if grew("attempts") else None,
        "wait": grew("waited") / grew("grants") if grew("grants") else None,
    }  # fmt: skip


class Served:
    """A pool and where its pages are."""

    def __init__(self, pool: WorkerHost, url: str) -> None:
        self.pool, self.client, self.url = pool, pool.client, url


@contextmanager
def served(
    config: Mapping[str, Any] | None = None, *, workers: Sequence[Any] = (), slots: int = 2
) -> Generator[Served]:
    """A pool with its pages."""
    with WorkerHost(config, workers=workers, slots=slots) as pool, pages(pool.address) as url:
        yield Served(pool, url)


@contextmanager
def pages(address: str, *, timeout: float = 5.0) -> Generator[str]:
    """The pages of a pool, which may be one that is not there; where they are."""
    with closing(Watching(address)) as monitor, Client(address, timeout=timeout) as client:
        app = application(client, monitor, token=TOKEN, local=True, version="0")
        server = Server(app, bound("127.0.0.1:0")).start()
        try:
            yield server.url
        finally:
            server.stop()
