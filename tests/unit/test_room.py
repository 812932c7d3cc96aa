"""A disk that fills up: what the core refuses, what the shell tells it, and the ballast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors import disk as module
from workerhost.actors.core.effects import Backup, Note
from workerhost.actors.disk import Disk
from workerhost.transport.messages import Accepted, Admin, Hello, Query, Rejected, Reply, Results, Submit

MIB = 1024 * 1024


def told(pool: Any, free: int) -> list[str]:
    """Tell the core how much is free; the events it notes."""
    return [effect.event for effect in pool.pool.disk(free, pool.now, pool.wall) if isinstance(effect, Note)]


def test_below_the_reserve_submissions_are_refused_and_results_are_not(pool_with: Callable[..., Any]) -> None:
    pool = pool_with(disk_reserve=64 * MIB)
    pool.host(b"h", "a", slots=1)
    first = pool.send()
    fence = first[b"h"][0].groups[0][1][0][1]
    assert told(pool, 64 * MIB - 1) == ["disk_low"]

    (refused,) = pool.send()[b"c"]
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.retry_after) == ("disk_full", 5.0)
    assert "less than 64 MiB free" in refused.reason
    again = pool.say(b"c", Submit(1, 1, [["a", 5, None, [b"0"]]]))
    assert again[b"c"] == [Accepted(1, 1, 1)]  # it is stored already, and only the answer was lost
    status = pool.say(b"c", Query(1, "status"))[b"c"][0].value
    assert status["queue"]["disk_low"]
    assert status["notes"] == [refused.reason]

    pool.say(b"h", Results([[1, fence, 0, b"done", 0.1, 0, None]]))
    assert pool.state(1) == "completed"


def test_room_must_be_clearly_there_before_anything_new_is_taken(pool_with: Callable[..., Any]) -> None:
    pool = pool_with(disk_reserve=64 * MIB)
    assert told(pool, 10**12) == []
    assert told(pool, 0) == ["disk_low"]
    assert told(pool, 0) == []
    assert told(pool, 79 * MIB) == []
    assert isinstance(pool.send()[b"c"][0], Rejected)

    assert told(pool, 80 * MIB) == ["disk_has_room"]
    assert isinstance(pool.send()[b"c"][0], Accepted)


def asked(pool: Any, request: int, path: Any, peer: bytes = b"c") -> tuple[list[Any], list[Backup]]:
    """Ask for a copy; what was said to the asker, and what the shell is to begin."""
    pool.numbers[peer] += 1
    news = [(peer, pool.numbers[peer], Admin(request, "backup", {"path": path}))]
    effects = pool.pool.handle(news, pool.now, pool.wall)
    said = [effect.message for effect in effects if hasattr(effect, "message")]
    return said, [effect for effect in effects if isinstance(effect, Backup)]


def ended(pool: Any, fault: str | None, size: int) -> dict[bytes, list[Any]]:
    return pool._turn(pool.pool.backed_up(fault, size, pool.now, pool.wall))


def test_a_backup_is_answered_when_it_is_done_and_whoever_asks_for_the_same_hears_of_it_too(pool: Any) -> None:
    pool.client(b"d")
    assert asked(pool, 1, "/b/one.db") == ([], [Backup("/b/one.db")])
    assert asked(pool, 7, "/b/one.db", b"d") == ([], [])
    (busy,), begun = asked(pool, 2, "/b/two.db")
    assert (busy.ok, busy.value["code"], begun) == (False, "busy", [])

    value = {"path": "/b/one.db", "bytes": 4096}
    assert ended(pool, None, 4096) == {b"c": [Reply(1, True, value)], b"d": [Reply(7, True, value)]}
    assert asked(pool, 3, "/b/two.db") == ([], [Backup("/b/two.db")])
    assert ended(pool, "no room", 0) == {b"c": [Reply(3, False, {"code": "backup", "reason": "no room"})]}


def test_a_lost_answer_to_a_backup_is_given_again_and_the_copy_not_made_twice(pool: Any) -> None:
    asked(pool, 1, "one.db")
    pool.close(b"c")
    assert ended(pool, None, 4096) == {}

    pool.say(b"n", Hello("client", [1, 1], b"c" * 16, "client"))
    assert asked(pool, 1, "one.db", b"n") == ([Reply(1, True, {"path": "one.db", "bytes": 4096})], [])
    assert asked(pool, 2, "one.db", b"n") == ([], [Backup("one.db")])


@pytest.mark.parametrize("path", ["", 7, "a\0b"])
def test_a_backup_needs_a_files_name(pool: Any, path: Any) -> None:
    (reply,), begun = asked(pool, 1, path)
    assert (reply.ok, reply.value["code"], begun) == (False, "invalid", [])


class Sizes:
    """A disk of any size, as far as `shutil.disk_usage` tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
        self.total, self.free = total, free
        monkeypatch.setattr("shutil.disk_usage", self.of)

    def of(self, _: Path) -> Sizes:
        return self


def test_a_disk_is_looked_at_once_a_second_or_when_much_was_written(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "tasks.db")

    assert disk.look(100.0) is not None
    assert disk.look(100.9) is None
    assert disk.look(101.0) is not None
    disk.wrote(disk.reserve // 16 - 1)
    assert disk.look(101.1) is None
    disk.wrote(1)
    assert disk.look(101.2) is not None


def test_without_its_ballast_a_disk_counts_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Sizes(monkeypatch, 64 * MIB, 40 * MIB)
    disk = Disk(tmp_path / "tasks.db")
    ballast = tmp_path / "tasks.db-ballast"
    assert disk.reserve == 8 * MIB

    assert disk.look(100.0) == 38 * MIB
    assert ballast.stat().st_blocks * 512 >= 2 * MIB  # no holes
    assert ballast.stat().st_mode & 0o077 == 0
    assert disk.look(101.0) == 40 * MIB

    disk.give_way(101.0)
    assert not ballast.exists()
    assert disk.look(101.1) == 0  # the turn that failed is not tried again at once
    sizes.free = 17 * MIB
    assert disk.look(107.0) == 0
    sizes.free = 18 * MIB
    assert disk.look(108.0) == 16 * MIB
    assert ballast.exists()


def test_a_ballast_that_finds_no_room_is_not_left_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(module.os, "posix_fallocate", no_room)
    disk = Disk(tmp_path / "tasks.db")

    assert disk.look(100.0) == 0
    assert list(tmp_path.iterdir()) == []
