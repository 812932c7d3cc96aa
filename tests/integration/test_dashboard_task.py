"""The page of one task, in a real browser: asked for as long as it is shown, and calm while somebody reads it."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, expect, held
from served_pool import Served, served

from workerhost import BaseWorker, Task, worker

ASKED_MS = 2500
"""Within which a page that is shown asks at least twice."""


@worker("film.cut")
def cut(path: str, text: str = "") -> None:
    while not Path(path).exists():
        time.sleep(0.01)  # sleeps: the task is a slow one


class Steps(BaseWorker):
    type = "film.steps"

    def execute(self, task: Task) -> str:
        folder = Path(task.params["path"])
        while not (folder / "half").exists():
            time.sleep(0.01)  # sleeps: the task is a slow one
        self.report_progress(0.5, "half-way")
        while not (folder / "go").exists():
            time.sleep(0.01)  # sleeps: the task is a slow one
        return "done"


@worker("film.count")
def count(n: int) -> dict[str, Any]:
    return {"half": 1e300, "n": n, "text": "9007199254740993"}


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    with served(workers=[cut, Steps, count]) as found:
        yield found


@pytest.mark.parametrize("kind", ["task", "flow"])
def test_a_page_that_was_left_is_asked_for_no_more(opened: Page, pool: Served, tmp_path: Path, kind: str):
    with pool.client.flow() as flow:
        flow.send("film.cut", {"path": str(tmp_path / "go")})
    page, number = opened.open(), flow.id  # and of its first task
    first = f"**/api/{kind}s/{number}" + ("/graph" if kind == "flow" else "")
    asked = held(page, first, 2)
    for where in (f"#/{kind}/{number}", "#/", f"#/{kind}/{number}"):
        page.evaluate(f"location.hash = '{where}'")
        page.wait_for_timeout(100)
    assert len(asked) == 2
    for route in asked:
        route.continue_()
    expect(page.locator(f"#{kind} h2").first).to_contain_text(str(number))
    page.evaluate("location.hash = '#/'")
    expect(page.locator("#overview")).to_be_visible()
    page.wait_for_timeout(200)  # what was asked before that
    before = len(opened.requests)
    page.wait_for_timeout(ASKED_MS)
    assert [url for url in opened.requests[before:] if f"/api/{kind}s/" in url] == []
    (tmp_path / "go").touch()


@pytest.mark.parametrize("kind", ["task", "flow"])
def test_a_page_that_cannot_be_had_says_why(browser: Any, pool: Served, kind: str):
    def refuse(route: Any) -> None:
        route.fulfill(status=409, json={"detail": "the answer is too large"})

    opened = Page(browser, pool.url)
    opened.page.route(re.compile(rf"/api/{kind}s/12\b"), refuse)
    expect(opened.open(f"#/{kind}/12").locator(f"#{kind}")).to_contain_text("the answer is too large")
    opened.context.close()


def test_attempts_that_are_left_out_are_counted(opened: Page, pool: Served):
    handle = pool.client.send("film.count", {"n": 1})
    handle.wait(15)

    def many(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "attempts_left_out": 1779})

    opened.page.route(f"**/api/tasks/{handle.id}", many)
    page = opened.open(f"#/task/{handle.id}")
    expect(page.locator("#task")).to_contain_text("1,780 attempts")
    expect(page.locator("#task")).to_contain_text("1,779 attempts left out, between the first and the latest")


def test_numbers_are_shown_as_they_are(opened: Page, pool: Served):
    handle = pool.client.send("film.count", {"n": 2**53 + 1})
    assert handle.wait(15)
    page = opened.open(f"#/task/{handle.id}")
    expect(page.locator("#task pre").nth(0)).to_have_text('{\n "n": 9007199254740993\n}')
    expect(page.locator("#task pre").nth(1)).to_contain_text('"half": 1e+300,\n "n": 9007199254740993,')


def test_what_a_person_reads_stays_as_it_is_while_the_task_goes_on(opened: Page, pool: Served, tmp_path: Path):
    handle = pool.client.send("film.steps", {"path": str(tmp_path), "text": "long " * 5000})
    page = opened.open(f"#/task/{handle.id}")
    expect(page.locator("#task .head .state")).to_have_text("running")
    params = page.get_by_label("params", exact=True)
    params.evaluate(
        "pre => { pre.focus(); pre.scrollTop = 100; getSelection().selectAllChildren(pre); window.pre = pre; }"
    )
    kept = """() => [pre === document.activeElement, pre.scrollTop, getSelection().toString().length > 20000]"""
    said = page.locator(".attempt .said").inner_text()
    page.wait_for_timeout(ASKED_MS)
    assert page.locator(".attempt .said").inner_text() != said  # for how long it runs
    assert page.evaluate(kept) == [True, 100, True]
    (tmp_path / "half").touch()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(page.locator(".progress")).to_have_text("50 % half-way")
    assert page.evaluate(kept) == [True, 100, True]
    (tmp_path / "go").touch()
    expect(page.locator("#task .head .state")).to_have_text("completed")
    expect(page.locator(".progress")).to_be_hidden()
    expect(page.get_by_label("result", exact=True)).to_have_text('"done"')
    assert page.evaluate("[document.activeElement.ariaLabel, document.activeElement.scrollTop]") == ["params", 100]
