"""What keeps the dashboard up to date, in a real browser: whatever tasks say, and whether anybody looks or answers."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, expect
from served_pool import Served, pages, served

from workerhost import BaseWorker, Task, WorkerHost

TITLE = "one\u2028two\u2029three"


class Titled(BaseWorker):
    type = "film.titled"

    def execute(self, task: Task) -> None:
        self.report_progress(0.3, TITLE)
        while not Path(task.params["path"]).exists():
            time.sleep(0.01)  # sleeps: the task is a slow one


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    with served(workers=[Titled]) as found:
        yield found


def test_a_line_separator_in_a_text_is_a_character_like_others(opened: Page, pool: Served, tmp_path: Path):
    handle = pool.client.send("film.titled", {"path": str(tmp_path / "go")})
    page = opened.open()
    slot = page.locator(f".slot[data-task='{handle.id}']")
    expect(slot).to_be_visible()
    expect(slot).to_have_attribute("title", re.compile("two"))
    assert slot.get_attribute("title").endswith(TITLE)
    expect(page.locator("#away")).to_be_hidden()
    (tmp_path / "go").touch()


def test_a_line_of_the_stream_ends_where_the_server_ended_it(opened: Page):
    taken = opened.open().evaluate(
        """async () => {
        const { Feed } = await import("/feed.js");
        const feed = new Feed(() => {}, () => {});
        feed.take('event: whole\\ndata: {"title": "one\u2028two"}');
        return feed.document.title;
        }"""
    )
    assert taken == "one\u2028two"


def test_a_type_may_have_any_name(opened: Page):
    taken = opened.open().evaluate(
        """async () => {
        const { patched } = await import("/feed.js");
        const change = (queued) => JSON.parse(`{"nodes": {"__proto__": ${queued}, "constructor": ${queued}}}`);
        let pool = patched(undefined, JSON.parse('{"nodes": {}}'));
        const seen = [];
        for (const queued of ['{"queued": 1}', '{"running": 2}', "null"]) {
          pool = patched(pool, change(queued));
          seen.push(JSON.stringify(pool.nodes));
        }
        return [...seen, pool.nodes.queued ?? null];
        }"""
    )
    both = ['{"queued":1}', '{"queued":1,"running":2}']
    assert taken == [*(f'{{"__proto__":{one},"constructor":{one}}}' for one in both), "{}", None]


def see(page: Any, *, seen: bool) -> None:
    """The page goes out of sight, as if another one came before it, or comes back."""
    page.evaluate(
        """hidden => {
        Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
        document.dispatchEvent(new Event("visibilitychange"));
        }""",
        not seen,
    )


def test_a_page_that_nobody_sees_leaves_its_connection_to_others(opened: Page):
    page = opened.open()
    expect(page.locator("#link")).to_have_text("healthy")

    def is_stream(request: Any) -> bool:
        return request.url.endswith("/api/events")

    with page.expect_event("requestfailed", is_stream):
        see(page, seen=False)
    expect(page.locator("#link")).to_have_text("connecting")
    assert page.title() == "WorkerHost"
    with page.expect_request("**/api/events"):
        see(page, seen=True)
    expect(page.locator("#link")).to_have_text("healthy")
    expect(page.locator("#away")).to_be_hidden()
    assert page.evaluate("document.body.className") == ""
    assert page.title().endswith("running · WorkerHost")


def test_a_page_that_is_opened_when_the_pool_is_gone_shows_nothing_that_the_last_one_saw(browser: Any):
    with ExitStack() as stack:
        with WorkerHost(workers=[Titled]) as pool:
            url = stack.enter_context(pages(pool.address, timeout=1.0))
            seen = Page(browser, url)
            expect(seen.open().locator("#link")).to_have_text("healthy")
            seen.context.close()
        late = Page(browser, url)
        page = late.open()
        expect(page.locator("#link")).to_have_text("not known")
        expect(page.locator("#alerts .bad")).to_have_count(1)
        expect(page.locator("#figures dd")).to_have_count(0)
        expect(page.locator("#away")).to_be_hidden()
        late.context.close()
