"""Who may look at a pool's page without its token: whoever may ask the pool itself, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.bin import monitor
from workerhost.config.loading import check
from workerhost.transport.keys import Home, new_pair

PORT = "tcp://127.0.0.1:7470"


def test_a_page_is_everybodys_where_the_pool_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERHOST_HOME", str(tmp_path))
    assert monitor.is_anybodys(PORT)
    assert not monitor.is_anybodys("ipc:///home/me/pool")
    pair = new_pair()
    with Home(tmp_path).changing(pair.public) as pool:
        pool.met([PORT])
        pool.pairs["client"] = pair
    assert not monitor.is_anybodys(PORT)


@pytest.mark.parametrize("http", ["foo", "", ":7471", "localhost:", "[::1]:65536", "a b:1", "x:" + "9" * 5000, 7471])
def test_where_pages_cannot_be_served_is_found_before_they_are(http: object) -> None:
    (problem,) = check({"monitoring": {"http": http}})
    assert "monitoring.http " in problem
    assert " is not ADDRESS:PORT; write 127.0.0.1:7471" in problem


@pytest.mark.parametrize("http", [None, "127.0.0.1:7471", "[::1]:0", "::1:80", "localhost:80", "my-host.example:65535"])
def test_where_pages_can_be_served_is_right(http: str | None) -> None:
    assert check({"monitoring": {"http": http}}) == []
