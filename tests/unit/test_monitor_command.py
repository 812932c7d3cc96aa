"""Who may look at a pool's page without its token: whoever may ask the pool itself, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.bin import monitor
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
