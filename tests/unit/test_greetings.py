"""What a HELLO may say of itself."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.transport.messages import Hello, Refused, Welcome


@pytest.mark.parametrize("role", ["client", "observer", "admin", "host"])
@pytest.mark.parametrize("session", [b"", b"n" * 15, b"n" * 17, bytes(7_000_000)])
def test_a_session_is_named_by_16_bytes(pool: Any, role: str, session: bytes) -> None:
    """It is kept for a week, and compared with all others."""
    offer = {"types": ["a"], "slots": {"": 1}}
    before = pool.store.open().meta
    reason = f"malformed Hello: session has {len(session)} bytes; say 16 random ones, made when the process starts"
    assert pool.say(b"n", Hello(role, [1, 1], session, "n", offer)) == {b"n": [Refused("forbidden", reason)]}
    assert b"n" not in pool.pool.sessions.peers
    assert {**pool.store.open().meta, "epoch": 0} == {**before, "epoch": 0}
    assert isinstance(pool.say(b"n", Hello(role, [1, 1], b"n" * 16, "n", offer))[b"n"][0], Welcome)
