"""What `top` shows: rates and outlook from two looks, a tree and hosts that fit whatever terminal there is."""

from __future__ import annotations

import select
from dataclasses import replace
from typing import Any, cast

import pytest
from rich.text import Text

from workerhost.bin import top, top_screen
from workerhost.bin.pulse import Pulse, Sight
from workerhost.bin.tables import breadth
from workerhost.bin.top_screen import HOSTS, OVERVIEW, TYPES, Frame
from workerhost.transport.client import Client

WALL = 1_800_000_000.0
STATUS: dict[str, Any] = {
    "supervisor": {"address": "tcp://127.0.0.1:7470", "durable": True},
    "notes": [],
}


def numbers(**given: Any) -> dict[str, Any]:
    counted = dict.fromkeys(("queued", "scheduled", "waiting", "running", "completed", "failed", "quarantined"), 0)
    return {**counted, "oldest": None, "hosts": 1, "limits": {}, "blocks": [], **given}


def host(name: str, slots: int = 4, tasks: int = 2) -> dict[str, Any]:
    running = [
        {"id": 100 + n, "type": "video.clip", "fraction": n / 8, "note": "frame 片片", "since": WALL - 90, "attempt": 1}
        for n in range(tasks)
    ]
    return {"name": name, "owner": 1, "state": "joined", "slots": slots, "running": tasks, "tasks": running}


def snapshot(at: float, nodes: dict[str, dict[str, Any]], hosts: tuple[dict[str, Any], ...] = (), **pool: Any) -> Any:
    return {
        "at": at, "wall": WALL + at, "epoch": 1, "uptime": at, "tasks": {"queued": pool.get("queued", 0)},
        "pool": numbers(**pool), "nodes": nodes, "nodes_left_out": 0, "hosts": list(hosts),
    }  # fmt: skip


def text(lines: list[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


def test_rates_are_what_changed_between_two_looks() -> None:
    pulse = Pulse()
    first = pulse.look(STATUS, snapshot(0, {"a.b": numbers(completed=100)}, completed=100))
    second = pulse.look(STATUS, snapshot(4, {"a.b": numbers(completed=140, failed=3, quarantined=1)}, completed=140))

    assert (first.nodes[0].done, first.nodes[0].share) == (0, None), "one look tells no rate"
    assert (second.nodes[0].done, second.nodes[0].failing, second.pool.done) == (10, 1, 10)
    assert second.nodes[0].share == pytest.approx(4 / 44)
    later = [pulse.look(STATUS, snapshot(at, {"a.b": numbers(completed=140)})) for at in range(5, 17)][-1]
    assert later.nodes[0].done == 0, "what was longer ago than ten seconds is not the present rate"


def test_a_restarted_supervisor_counts_anew_and_makes_no_rate() -> None:
    pulse = Pulse()
    pulse.look(STATUS, snapshot(100, {"a": numbers(completed=1000)}))
    again = pulse.look(STATUS, {**snapshot(1, {"a": numbers(completed=5)}), "epoch": 2})
    assert again.nodes[0].done == 0
    assert pulse.look(STATUS, {**snapshot(3, {"a": numbers(completed=9)}), "epoch": 2}).nodes[0].done == 2


@pytest.mark.parametrize(
    ("queued", "outlook"),
    [((100, 40), "empty in about 6.7s"), ((10, 70), "growing by 6.0/s"), ((9, 9), "not getting shorter"), ((5, 0), "")],
)
def test_the_outlook_goes_by_how_the_queue_has_changed(queued: tuple[int, int], outlook: str) -> None:
    pulse = Pulse()
    assert pulse.look(STATUS, snapshot(0, {}, queued=queued[0])).outlook == ""
    assert pulse.look(STATUS, snapshot(10, {}, queued=queued[1])).outlook == outlook


def test_a_node_says_in_few_words_what_stops_it() -> None:
    nodes = {
        "a": numbers(queued=9, blocks=[{"code": "max_concurrent", "until": None}], limits={"max_concurrent": 5}),
        "b": numbers(queued=0, blocks=[{"code": "rate", "until": WALL}], limits={"rate": "10/s"}),
        "c": numbers(blocks=[{"code": "paused", "until": None}]),
        "d": numbers(queued=1, hosts=0),
        "e": numbers(queued=1, blocks=[{"code": "breaker", "until": WALL + 65}]),
    }
    sight = Pulse().look(STATUS, snapshot(0, nodes))
    assert [node.stops for node in sight.nodes] == ["at most 5", "", "paused", "no host", "breaker for 1m05s"]


def test_a_chain_of_nodes_that_are_alike_is_one_line() -> None:
    nodes = {
        "a": numbers(queued=1, running=2),
        "a.b": numbers(queued=1, running=2),
        "a.b.c": numbers(queued=1, running=2),
        "v": numbers(queued=5),
        "v.x": numbers(queued=3),
        "v.y": numbers(queued=2),
    }
    page = text(top_screen.draw(Pulse().look(STATUS, snapshot(0, nodes)), Frame()))
    begin = next(n for n, line in enumerate(page) if line.startswith("TYPE"))
    assert [line[:16].rstrip() for line in page[begin + 1 : begin + 5]] == ["a.b.c", "v", "  x", "  y"]


def large() -> Sight:
    nodes = {f"media{n % 9}.platform{n}": numbers(queued=n % 3 * 10**7, running=n % 2) for n in range(500)}
    nodes |= {f"media{n}": numbers(queued=1) for n in range(9)}
    nodes["media0"] = numbers(queued=1, blocks=[{"code": "paused", "until": None}])
    hosts = tuple(host(f"a-host-with-a-long-name-{n:03d}", 64, n % 40) for n in range(100))
    status = {**STATUS, "notes": ["no host serves 片" * 30] * 5}
    return Pulse().look(status, snapshot(0, nodes, hosts))


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 3), (200, 60), (80, 1)])
@pytest.mark.parametrize("page", [OVERVIEW, TYPES, HOSTS])
@pytest.mark.parametrize("unicode", [True, False])
def test_a_page_is_never_wider_nor_higher_than_the_terminal(size: tuple[int, int], page: str, unicode: bool) -> None:
    frame = Frame(*size, page=page, unicode=unicode, trouble="no answer " * 20, paused=True)
    for skip in (0, 7, top_screen.last_skip(large(), frame)):
        lines = top_screen.draw(large(), replace(frame, skip=skip))
        assert len(lines) == size[1]
        assert max(breadth(line.plain) for line in lines) <= size[0]


def test_a_host_that_is_gone_has_no_slots_and_stands_behind_those_that_live() -> None:
    hosts = ({**host("a", tasks=0), "state": "lost"}, host("b", tasks=1))
    page = text(top_screen.draw(Pulse().look(STATUS, snapshot(0, {}, hosts)), Frame(80, 24, unicode=False)))
    assert any(line.endswith("1 of 4 slots busy on 1 host") for line in page)
    assert [line.split() for line in page if line.endswith("/4")] == [
        ["b", "joined", "#...", "1/4"],
        ["a", "lost", "0/4"],
    ]


def test_what_does_not_fit_is_counted() -> None:
    page = text(top_screen.draw(large(), Frame(80, 24)))
    assert any(line.startswith("and ") and line.endswith(" more: tab") for line in page)
    assert "and 95 hosts more: tab" in page
    small = Pulse().look(STATUS, snapshot(0, {"a": numbers()}, (host("one"),)))
    page = text(top_screen.draw(small, Frame(80, 24)))
    assert not any("more" in line or "not shown" in line for line in page)


@pytest.mark.parametrize("page", [OVERVIEW, TYPES])
@pytest.mark.parametrize("height", [None, 12, 24])
def test_what_the_pool_left_out_is_counted(page: str, height: int | None) -> None:
    nodes = {f"media{n:02d}": numbers(queued=1) for n in range(20)}
    sight = Pulse().look(STATUS, {**snapshot(0, nodes, (host("one"),)), "nodes_left_out": 1234})
    frame = Frame(80, height, page)
    if page == TYPES:
        frame = replace(frame, skip=top_screen.last_skip(sight, frame) if height else 0)
    lines = text(top_screen.draw(sight, frame))
    assert "and 1,234 types more: workerhost types" in lines
    assert height is None or len(lines) == height
    assert not any("workerhost types" in line for line in text(top_screen.draw(replace(sight, left_out=0), frame)))


def test_a_slot_is_filled_as_far_as_its_task_is() -> None:
    sight = Pulse().look(STATUS, snapshot(0, {"video.clip": numbers(running=2)}, (host("one", 4, 2),)))
    page = "\n".join(text(top_screen.draw(sight, Frame(80, 24))))
    assert "one   joined    ▁▂··    2/4" in page
    assert "     101 video.clip" in page
    assert "  12%" in page
    assert "1m30s" in page


def test_without_unicode_all_is_ascii() -> None:
    sight = Pulse().look(STATUS, snapshot(0, {"a": numbers()}, (host("one", 4, 0),)))
    assert "\n".join(text(top_screen.draw(sight, Frame(80, 24, unicode=False)))).isascii()


def test_a_task_called_markup_is_text() -> None:
    nodes = {"a": numbers(queued=1)}
    evil = {**host("one"), "name": "[red]x\x1b[2J"}
    status = {**STATUS, "notes": ["[bold]\x1b[31m"]}
    page = "\n".join(text(top_screen.draw(Pulse().look(status, snapshot(0, nodes, (evil,))), Frame(80, 24))))
    assert "[bold]" in page
    assert "\x1b" not in page


def test_the_end_of_a_long_page_is_reached_and_not_passed() -> None:
    sight, frame = large(), Frame(80, 24, TYPES)
    end = top_screen.last_skip(sight, frame)
    last = text(top_screen.draw(sight, replace(frame, skip=end)))
    assert last[-2].split()[0] == "platform98"
    assert text(top_screen.draw(sight, replace(frame, skip=end - 1)))[-2] != last[-2]


def test_keys() -> None:
    frame = Frame(80, 24)
    assert top.pressed(b"p", frame).paused
    pages = [frame]
    for _ in range(3):
        pages.append(top.pressed(b"\t", pages[-1]))
    assert [one.page for one in pages] == [OVERVIEW, TYPES, HOSTS, OVERVIEW]
    assert top.pressed(b"\x1b[B", frame).skip == 1
    assert top.pressed(b"\x1b[A", frame).skip == 0, "above the first line is nothing"
    assert top.pressed(b"?", frame) == frame


class OfAnotherVersion:
    """A pool whose answers lack what is shown."""

    def status(self) -> dict[str, Any]:
        return STATUS

    def snapshot(self) -> dict[str, Any]:
        return {}


def test_an_answer_that_cannot_be_shown_is_said_and_asked_for_again():
    pulse = Pulse()
    seen = pulse.look(STATUS, snapshot(0.0, {}))
    watcher = top.Watcher(cast("Client", OfAnotherVersion()), pulse, seen)
    for _ in range(2):
        assert select.select([watcher.news], [], [], 20.0)[0]
        watcher.news.recv(1)
        assert "cannot be shown, trying again: KeyError" in watcher.trouble
    watcher.close()
    assert watcher.sight is seen
