"""Rows of the dashboard, in a real browser: each has its own, and what a person holds stays where it is."""

from __future__ import annotations

from typing import Any

from browsing import Page, expect
from served_pool import served

from workerhost import worker


@worker("film.cut")
def cut() -> None:
    """Its type is there, and that is all."""


def test_two_alerts_of_one_metric_have_a_row_each(browser: Any):
    config = {"monitoring": {"alerts": {"queue_depth_high": 1, "queue_depth_above": 1}}}
    with served(config, workers=[cut]) as pool:
        page = Page(browser, pool.url)
        shown = page.open()
        pool.client.send_many("film.none", [{}] * 3)
        rows = shown.locator("#alerts .bad")
        expect(rows).to_have_count(2)
        expect(rows.filter(has_text="3 tasks queued, above 1")).to_have_count(1)
        expect(shown.locator("#link")).to_have_text("2 alerts")
        page.context.close()
