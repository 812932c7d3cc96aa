"""What commands show to a person fits 80 columns, whatever the names, the numbers and how many hosts there are."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.bin import tables, task_views, views

NOW = 1_800_000_000.0
LONG_TYPE = "media.youtube.channel_of_a_very_long_name_that_goes_on"
SENT = "2026-01-31T12:00:00.250Z"


def host(number: int) -> dict[str, Any]:
    return {
        "name": f"render-farm-host-in-the-cellar-{number:03d}",
        "state": "joined" if number % 17 else "draining",
        "slots": 16,
        "running": number % 17,
        "since": NOW - number * 3000,
        "serve": [],
        "types": ["video.thumbnail", LONG_TYPE],
        "levels": {LONG_TYPE: ["failed", "no package av here " * 9] if number % 50 == 0 else ["busy", ""]},
        "failed": {} if number % 50 else {LONG_TYPE: "ImportError: No module named 'av' " * 9},
        "tasks": [
            {"id": 10**15 + number * 20 + n, "type": LONG_TYPE, "fraction": n / 20, "note": "片" * 90}
            for n in range(number % 17)
        ],
    }


HOSTS = [host(number) for number in range(100)]
STATUS = {
    "supervisor": {
        "address": "tcp://[2001:db8:85a3::8a2e:370:7334]:7470", "uptime": 300_000.0, "pid": 4_000_000,
        "version": "0.1.0", "durable": True, "durability": "full", "database": "/home/" + "long/" * 30 + "tasks.db",
    },
    "hosts": HOSTS,
    "tasks": {"queued": 10_000_000, "running": 780, "completed": 123_456_789_012, "failed": 1234, "waiting": 0},
    "queue": {"unfinished": 10_200_000, "max_size": 20_000_000, "depth_warning": True},
    "notes": ["12 of video.y wait for another host or new code; declined: " + "needs CUDA " * 20],
}  # fmt: skip
TYPES = [
    {
        "type": type, "queued": 12_345_678, "running": 7, "completed": 987_654_321_000, "failed": 99_999_999,
        "hosts": [one["name"] for one in HOSTS[:serving]], "paused": serving == 1,
        "blocks": [{"text": "media runs 5 tasks, of at most 5 " * 5}],
        "code": {"abcdef123456": ["a" * 60], "123456abcdef": ["b" * 60]}, "broken": {"c" * 60: "no module " * 20},
    }
    for type, serving in (("media", 0), (LONG_TYPE, 1), ("x", 50))
]  # fmt: skip
TASKS = [
    {
        "id": 9_000_000_000_000 + number, "type": LONG_TYPE, "state": "quarantined", "priority": number,
        "attempt": 100, "sent_at": NOW - 90_000, "host": "render-farm-host-001", "error": "ValueError: " * 20,
    }
    for number in range(3)
]  # fmt: skip
STORY = {
    "id": 7, "type": LONG_TYPE, "state": "queued", "ahead": 12_345, "reasons": [{"text": "it is full " * 20}],
    "hosts": [{"name": one["name"], "says": "every slot is busy" if n else "it drains"} for n, one in enumerate(HOSTS)],
    "story": [{"at": SENT, "text": "sent"}, {"at": "2026-01-31T13:00:00.250Z", "text": "it raised " * 20}],
}  # fmt: skip
ATTEMPT = {
    "outcome": "exception", "host": "render-farm-host-in-the-cellar-001", "slot": 63, "code": "abcdef123456",
    "started_at": "2026-02-01T12:00:01.000Z", "ended_at": "2026-02-03T12:00:00.000Z",
    "detail": {"error_type": "ValueError", "message": "nope " * 50},
}  # fmt: skip
SHOWN = {
    "id": 7, "type": LONG_TYPE, "state": "failed", "priority": 9, "attempt": 100, "failures": 98, "crashes": 1,
    "sent_at": SENT, "error": {"message": "nope"},
    "attempts": [{**ATTEMPT, "attempt": 1}, {**ATTEMPT, "attempt": 100, "code": "123456abcdef"}],
}  # fmt: skip

PAGES = {
    "status": views.status(STATUS, NOW),
    "hosts": views.hosts(HOSTS, NOW) + views.host_details(HOSTS),
    "types": views.types(TYPES),
    "ls": task_views.tasks(TASKS, NOW),
    "why": task_views.why(STORY),
    "show": task_views.task(SHOWN),
}


@pytest.mark.parametrize("command", PAGES)
def test_no_line_is_longer_than_80_columns(command: str) -> None:
    too_long = [line for line in PAGES[command] if tables.breadth(line) > 80]
    assert not too_long


def test_numbers_are_never_cut() -> None:
    assert "9000000000002" in PAGES["ls"][3], "an id is typed again: all of it is shown"
    assert "1000000000000020" in "\n".join(PAGES["hosts"])
    assert "123,456,789,012 completed" in "\n".join(PAGES["status"]).replace("\n            ", " ")
    assert PAGES["types"][1].split()[1:5] == ["12.3M", "7", "988G", "100M"]


def test_status_of_a_hundred_hosts_fits_a_screen_and_shows_what_is_odd_first() -> None:
    page = PAGES["status"]
    assert "hosts       100 (6 draining, 94 joined); 785 of 1,600 slots are busy" in page
    assert "and 85 more: workerhost hosts" in page
    table = page[page.index("") + 1 :]
    assert [line.split()[1] for line in table[1:8]] == ["draining"] * 6 + ["joined"]


def test_hosts_that_are_gone_have_no_slots_and_stand_behind_those_that_live() -> None:
    gone = [{**host(number), "state": "lost" if number % 2 else "left"} for number in range(20)]
    page = views.status({**STATUS, "hosts": [*gone, {**host(1), "slots": 4}]}, NOW)
    assert "hosts       21 (10 left, 10 lost, 1 joined); 1 of 4 slots are busy" in page
    table = page[page.index("") + 1 :]
    assert [line.split()[1] for line in table[1:16]] == ["joined"] + ["lost"] * 10 + ["left"] * 4


def test_what_the_pool_had_no_room_to_name_is_counted() -> None:
    some: dict[str, Any] = {**host(1), "types": [], "types_left_out": 1000, "levels_left_out": 990}
    assert views.hosts([some], NOW)[1].endswith("  1,000 types")
    assert views.host_details([some, some])[-1] == "and 1,980 levels more"


def test_hosts_that_say_the_same_say_it_once() -> None:
    said = " ".join(" ".join(PAGES["why"]).split())
    assert "it drains: render-farm-host-in-the-cellar-000" in said
    assert "every slot is busy: render-farm-host-in-the-cellar-001," in said
    assert "and 89 more" in said
    assert [line.split()[1:3] for line in PAGES["hosts"] if "  busy  " in line] == [["busy", "98"]]


def test_attempts_that_are_left_out_are_counted() -> None:
    assert not any("left out" in line for line in PAGES["show"])
    many = task_views.task({**SHOWN, "attempts_left_out": 1779})
    assert many.count("1,779 attempts left out, between the first and the latest") == 1


def test_a_column_that_says_nothing_is_left_out() -> None:
    fresh = {"id": 1, "type": "a.b", "state": "queued", "priority": 5, "attempt": 0, "sent_at": NOW - 1, "host": ""}
    assert task_views.tasks([fresh], NOW) == ["ID  TYPE  STATE   TRY  AGE", " 1  a.b   queued    0  1.0s"]
    assert task_views.tasks([{**fresh, "priority": 7}], NOW)[0] == "ID  TYPE  STATE   PRIO  TRY  AGE"


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("media.youtube.channel", 21, "media.youtube.channel"),
        ("media.youtube.channel", 13, "media.…hannel"),
        ("a sentence of words", 10, "a sentenc…"),
        ("片片片片片", 7, "片片片…"),
        ("片片片片片片", 9, "片片…片片"),
    ],
)
def test_names_are_cut_in_the_middle_and_sentences_at_the_end(text: str, columns: int, shown: str) -> None:
    assert tables.cut(text, columns) == shown
    assert tables.breadth(shown) <= columns


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (9_999_999, "9999999"), (10_000_000, "10M"), (999_600_000, "1000M"), (12_345_678_901, "12.3G")],
)
def test_figures(number: int, shown: str) -> None:
    assert tables.figure(number) == shown
