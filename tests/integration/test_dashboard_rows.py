"""Rows of the dashboard, in a real browser: each has its own, what a person holds stays, nothing piles up."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from browsing import Page, expect
from served_pool import Served, served

from workerhost import worker
from workerhost.actors.core.telling import snapshot

NOTHING: dict[str, Any] = {}


@worker("film.cut")
def cut() -> None:
    """Its type is there, and that is all."""


COUNT_LISTENERS = """
window.listeners = 0;
const { addEventListener: add, removeEventListener: remove } = document;
document.addEventListener = (...all) => { listeners += all[0] === "ordered"; add.apply(document, all); };
document.removeEventListener = (...all) => { listeners -= all[0] === "ordered"; remove.apply(document, all); };
"""


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    with served(workers=[cut]) as found:
        yield found


def test_a_page_that_stays_open_gathers_no_listeners(opened: Page):
    opened.page.add_init_script(COUNT_LISTENERS)
    page = opened.open()
    for _ in range(4):
        with page.expect_response("**/api/flows?*"):
            pass
    assert 0 < page.evaluate("listeners") <= 2


def test_rows_that_stay_keep_the_focus_whatever_becomes_of_others(opened: Page):
    found = opened.open().evaluate(
        """async () => {
        const { Keyed } = await import("/dom.js");
        const list = document.body.appendChild(document.createElement("ul"));
        const made = (id) => Object.assign(document.createElement("li"), { tabIndex: 0, id });
        const rows = new Keyed(list, made, () => {});
        const show = (keys) => {
          rows.show([...keys].map((key) => [key, null]));
          return [[...list.children].map((row) => row.id).join(""), document.activeElement.id];
        };
        show("abc");
        list.children[1].focus();
        return ["bc", "bca", "abc", "bac", "cabd", "b", "dbc", ""].map(show);
        }"""
    )
    assert [order for order, _ in found] == ["bc", "bca", "abc", "bac", "cabd", "b", "dbc", ""]
    assert [held for _, held in found] == ["b"] * 7 + [""]


def test_how_long_tasks_take_is_said_of_what_it_is(opened: Page, pool: Served):
    assert pool.client.send("film.cut").wait(15)
    page = opened.open()
    takes = page.locator("tr[data-type='film.cut'] td.wide").nth(1)
    expect(takes).to_have_attribute("title", "on average, over an hour")
    page.reload()  # the whole of it, in which what is not known is null
    expect(takes).to_have_attribute("title", "on average, over an hour")
    expect(page.locator("tr[data-type='film'] td.wide").nth(1)).to_have_attribute(
        "title", "95 of 100 tasks take less, over an hour"
    )


@pytest.mark.parametrize(("running", "named"), [(100, 64), (80, 64), (100, 0), (0, 0)])
def test_slots_whose_tasks_the_pool_does_not_name_are_busy(opened: Page, running: int, named: int):
    tasks = {str(id): {"id": id, "type": "film.cut", "fraction": 0.5} for id in range(1, named + 1)}
    squares = opened.open().evaluate(
        """async (host) => {
        const { Hosts } = await import("/hosts.js");
        new Hosts().show({ hosts: { 9: host } });
        const all = [...document.querySelectorAll(`[data-host='${host.name}'] .slot`)];
        return all.map((one) => [one.dataset.task !== undefined, one.classList.contains("empty"), one.title]);
        }""",
        {"name": "full", "owner": 9, "state": "joined", "slots": 100, "running": running, "tasks": tasks, "serve": []},
    )
    assert [named_one for named_one, _, _ in squares] == [True] * named + [False] * (100 - named)
    busy, free = [False, False, "busy"], [False, True, "a free slot"]
    assert squares[named:] == [busy] * (running - named) + [free] * (100 - running)


def test_types_that_the_pool_does_not_tell_of_are_counted(opened: Page, monkeypatch: pytest.MonkeyPatch):
    page = opened.open()
    expect(page.locator("tr[data-type]")).to_have_count(2)
    more = page.locator("#more-nodes")
    expect(more).to_be_hidden()
    monkeypatch.setattr(snapshot, "NODES_MAX", 1)
    expect(more).to_have_text("and 1 type more: workerhost types")
    expect(page.locator("tr[data-type]")).to_have_count(1)


def test_two_alerts_of_one_metric_have_a_row_each(browser: Any):
    config = {"monitoring": {"alerts": {"queue_depth_high": 1, "queue_depth_above": 1}}}
    with served(config, workers=[cut]) as pool:
        page = Page(browser, pool.url)
        shown = page.open()
        pool.client.send_many("film.none", [NOTHING] * 3)
        rows = shown.locator("#alerts .bad")
        expect(rows).to_have_count(2)
        expect(rows.filter(has_text="3 tasks queued, above 1")).to_have_count(1)
        expect(shown.locator("#link")).to_have_text("2 alerts")
        page.context.close()
