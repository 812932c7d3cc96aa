"""What a person orders on the dashboard, in a real browser: one thing at a time, and only with the token."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from browsing import Page, expect, held
from served_pool import TOKEN, Served, nothing, served

WHAT_WAS_ASKED = """() => {
  window.asked = [];
  new MutationObserver(() => asked.push(document.getElementById("ask-what").textContent))
    .observe(document.getElementById("ask-what"), { childList: true, characterData: true, subtree: true });
}"""


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    with served(workers=[nothing]) as found:
        yield found


def test_one_yes_is_for_one_order(opened: Page, pool: Served):
    ids = [pool.client.send("film.none", tags=("these",)).id for _ in range(2)]
    page = opened.open(f"#{TOKEN}")
    page.evaluate(WHAT_WAS_ASKED)
    page.locator("#search").fill("#these")
    expect(page.locator("#rows tr")).to_have_count(2)
    asked = held(page, "**/api/tasks/cancel")
    ordered: list[Any] = []

    def note(request: Any) -> None:
        ordered.append(request)

    page.on("request", note)
    with page.expect_request("**/api/tasks/cancel"):
        page.get_by_role("button", name="cancel all tasks that are like this").click()
    row = page.locator("tr[data-type='film.none']")
    row.hover()
    row.get_by_role("button", name="pause film.none").click()
    expect(page.locator("#said")).to_contain_text("still under way")
    expect(page.locator("dialog")).to_be_hidden()
    asked[0].continue_()
    expect(page.locator("dialog")).to_contain_text("Cancel 2 tasks?")
    page.locator("#ask-yes").click()
    expect(page.locator("#said")).to_have_text("2 tasks: cancelled.")
    orders = [request for request in ordered if request.method == "POST" and "dry_run" not in request.post_data]
    assert [request.url for request in orders] == [f"{opened.url}/api/tasks/cancel"]
    assert len(page.evaluate("asked")) == 1
    assert [pool.client.show(id)["state"] for id in ids] == ["cancelled"] * 2
    page.get_by_role("button", name="drain embedded").click()  # the next one is asked about as ever
    expect(page.locator("dialog")).to_contain_text("Drain embedded")
    page.keyboard.press("Escape")


def test_the_token_may_come_later(opened: Page):
    page = opened.open()
    expect(page.locator("#access")).to_contain_text("workerhost up")
    button = page.get_by_role("button", name="drain embedded")
    expect(button).to_be_disabled()
    page.evaluate(f"location.hash = '#{TOKEN}'")
    expect(button).to_be_enabled()
    expect(page.locator("#access")).to_be_empty()
    assert TOKEN not in page.url
