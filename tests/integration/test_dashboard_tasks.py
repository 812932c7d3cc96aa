"""The dashboard's list of tasks, in a real browser: how far it looks, and what it says when nobody answers."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from browsing import Page, expect
from served_pool import Served, nothing, served

NOTHING: dict[str, Any] = {}
LOOKED_AT = 10
PATIENCE_MS = 20_000
"""A look that takes many pages comes again after as many seconds."""


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    with served(workers=[nothing]) as found:
        yield found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the list looks at few rows, as if there were thousands in the way."""
    for store in ("search", "search_memory"):
        monkeypatch.setattr(f"workerhost.actors.stores.{store}.LISTED_ROWS_MAX", LOOKED_AT)


@pytest.mark.usefixtures("short")
def test_a_task_behind_many_others_is_found(opened: Page, pool: Served):
    first = pool.client.send("film.first").id
    pool.client.send_many("film.none", [NOTHING] * (3 * LOOKED_AT))
    page = opened.open()
    page.locator("#search").fill("film.first")
    expect(page.locator(f"#rows tr[data-task='{first}']")).to_be_visible()
    expect(page.locator("#rows tr")).to_have_count(1)
    pool.client.cancel([first])


@pytest.mark.usefixtures("short")
def test_a_task_behind_very_many_others_is_looked_for_as_long_as_a_person_wants(opened: Page, pool: Served):
    rows = [pool.client.send("film.second").id]
    pool.client.send_many("film.none", [NOTHING] * (7 * LOOKED_AT))
    page = opened.open()
    page.locator("#search").fill("film.second")
    expect(page.locator("#no-tasks")).to_contain_text("None among the newest, down to task")
    expect(page.locator("#rows tr")).to_have_count(0)
    page.get_by_role("button", name="Older ones").click()
    expect(page.locator(f"#rows tr[data-task='{rows[0]}']")).to_be_visible()
    expect(page.locator("#no-tasks")).to_be_hidden()
    rows.insert(0, pool.client.send("film.second").id)  # what comes is seen, and what was found stays
    expect(page.locator("#rows tr")).to_have_count(2, timeout=PATIENCE_MS)
    assert page.evaluate("[...document.querySelectorAll('#rows tr')].map(row => Number(row.dataset.task))") == rows
    pool.client.cancel(rows)
    expect(page.locator("#rows .cancelled")).to_have_count(2, timeout=PATIENCE_MS)


def test_older_ones_go_on_from_where_the_last_look_ended(opened: Page):
    old = {"id": 3, "type": "film.old", "state": "completed", "sent_at": "2026-01-31T12:00:00Z"}
    pages: dict[str, Any] = {
        "": {"tasks": [], "next": 9},
        "9": {"tasks": [], "next": 7},
        "7": {"tasks": [old], "next": None},
    }
    asked: list[str] = []

    def answer(route: Any) -> None:
        url: str = route.request.url
        asked.append(parse_qs(urlsplit(url).query).get("before", [""])[0])
        route.fulfill(status=200, content_type="application/json", body=json.dumps(pages[asked[-1]]))

    opened.page.route("**/api/tasks?*", answer)
    page = opened.open()
    expect(page.locator("#rows tr[data-task='3']")).to_be_visible()
    assert asked[:3] == ["", "9", "7"]


def test_rows_stay_when_nobody_answers_and_the_page_says_so(browser: Any, pool: Served):
    page = Page(browser, pool.url)
    shown = page.open()
    handle = pool.client.send("film.cut")
    row = shown.locator(f"#rows tr[data-task='{handle.id}']")
    expect(row).to_contain_text("completed")
    problem = json.dumps({"status": 504, "detail": "nobody is there"})

    def refuse(route: Any) -> None:
        route.fulfill(status=504, content_type="application/problem+json", body=problem)

    shown.route("**/api/tasks?*", refuse)
    assert pool.client.send("film.cut").wait(15)
    expect(shown.locator("#no-tasks")).to_have_text("Not answered, these are from before: nobody is there")
    expect(row).to_be_visible()
    shown.locator("#search").fill("film.none")
    expect(shown.locator("#no-tasks")).to_have_text("Not answered: nobody is there")
    expect(shown.locator("#rows tr")).to_have_count(0)
    shown.unroute("**/api/tasks?*")
    shown.locator("#search").fill("film.cut")
    expect(row).to_be_visible()
    expect(shown.locator("#no-tasks")).to_be_hidden()
    page.context.close()


def test_ages_go_on_in_a_quiet_pool(opened: Page, pool: Served):
    handle = pool.client.send("film.cut")
    assert handle.wait(15)
    page = opened.open()
    age = page.locator(f"#rows tr[data-task='{handle.id}'] td.wide").nth(1)
    expect(age).to_have_text(re.compile("^[1-9]"))
    page.wait_for_timeout(1500)  # whatever the last counts made it ask
    asked, before = len(lists_asked(opened)), age.inner_text()
    expect(age).not_to_have_text(before)
    assert len(lists_asked(opened)) == asked


def lists_asked(opened: Page) -> list[str]:
    return [url for url in opened.requests if "/api/tasks?" in url]


@pytest.mark.parametrize(("written", "wanted"), [("100%", "100%"), ("film%2Ecut", "film.cut")])
def test_what_is_looked_for_need_not_be_written_as_in_an_address(browser: Any, pool: Served, written: str, wanted: str):
    opened = Page(browser, pool.url)
    expect(opened.open(f"#/find/{written}").locator("#search")).to_have_value(wanted)
    opened.context.close()
