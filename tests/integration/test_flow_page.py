"""Flows, schedules and tenants on the dashboard, in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, expect
from served_pool import TOKEN, Served, served

from workerhost import Fail, worker

SECONDS = 15
NOTHING: dict[str, Any] = {}


@worker("film.shot")
def shot(path: str = "") -> None:
    while path and not Path(path).exists():
        time.sleep(0.01)  # sleeps: the task is a slow one


@worker("film.cut")
def cut(path: str) -> None:
    if not Path(path).exists():
        raise Fail("no such reel")


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    config = {
        "defaults": {"retry": {"max_attempts": 1}},
        "tenants": {"ann": {"max_concurrent": 1}},
        "schedules": {"nightly": {"type": "film.shot", "cron": "0 3 * * *"}},
    }
    with served(config, workers=[shot, cut], slots=4) as found:
        yield found


def film(pool: Served, reel: Path, name: str = "") -> Any:
    """Five shots, then a cut that fails as long as the reel is missing, then four more."""
    with pool.client.flow(name) as flow:
        shots = flow.group("film.shot", [NOTHING] * 5)
        cutting = flow.send("film.cut", {"path": str(reel)}, after=shots)
        flow.group("film.shot", [NOTHING] * 4, after=cutting)
    return flow


def test_a_flow_is_drawn_in_layers_and_lives(opened: Page, pool: Served, tmp_path: Path):
    with pool.client.flow("drawn") as flow:
        shots = flow.group("film.shot", [{"path": str(tmp_path / "go")}] * 3)
        flow.send("film.shot", {}, after=shots, on_failure="run")
    page = opened.open(f"#/flow/{flow.id}")
    expect(page.locator("#flow .head h2")).to_contain_text(f"Flow {flow.id} drawn running")
    expect(page.locator(".layer")).to_have_count(2)
    expect(page.locator(".box.alike")).to_contain_text("film.shot")
    expect(page.locator(".step.running")).to_have_count(3)
    expect(page.locator(".step.waiting")).to_have_count(1)
    line = page.locator(".lines path")
    expect(line).to_have_class("open run")
    above, below = page.locator(".layer").nth(0).bounding_box(), page.locator(".layer").nth(1).bounding_box()
    assert above["y"] + above["height"] <= below["y"]
    assert float(line.get_attribute("d").split("C")[0].split(" ")[1]) > 0
    (tmp_path / "go").touch()
    expect(page.locator(".step.completed")).to_have_count(4)
    expect(line).to_have_class("done run")
    expect(page.locator("#flow .head .state").first).to_have_text("completed")
    expect(page.locator("#flow .head .shares i.completed")).to_have_attribute("style", "width: 100%;")


def test_a_flow_goes_on_from_where_it_failed_after_a_question(opened: Page, pool: Served, tmp_path: Path):
    flow = film(pool, tmp_path / "reel", "season 3")
    assert flow.wait(SECONDS)
    page = opened.open(f"#{TOKEN}")
    row = page.locator(f"#flows tr[data-flow='{flow.id}']")
    expect(row).to_contain_text("10 of 10 ended, 5 badly")
    row.get_by_role("link").click()
    expect(page.locator(".step.failed")).to_have_count(1)
    expect(page.locator(".box.alike .step.cancelled")).to_have_count(4)
    expect(page.locator(".lines path.broken")).to_have_count(1)
    (tmp_path / "reel").touch()
    page.get_by_role("button", name=f"retry flow {flow.id}").click()
    expect(page.locator("dialog")).to_contain_text("(season 3) from where it failed")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".step.completed")).to_have_count(10)
    assert pool.client.flow(int(flow.id)).show()["state"] == "completed"


def test_a_flow_is_cancelled_after_a_question(opened: Page, pool: Served, tmp_path: Path):
    with pool.client.flow() as flow:
        flow.chain(*[("film.shot", {"path": str(tmp_path / "go")})] * 5)
    page = opened.open(f"#{TOKEN}")
    page.goto(f"{opened.url}/#/flow/{flow.id}")
    page.get_by_role("button", name=f"cancel flow {flow.id}").click()
    page.get_by_role("button", name="Cancel the flow").click()
    expect(page.locator(".box.row .step.cancelled")).to_have_count(5)
    expect(page.get_by_role("button", name=f"cancel flow {flow.id}")).to_be_hidden()
    (tmp_path / "go").touch()


def test_tasks_and_flows_lead_to_each_other_by_keyboard(opened: Page, pool: Served, tmp_path: Path):
    flow = film(pool, tmp_path)
    assert flow.wait(SECONDS)
    page = opened.open(f"#/flow/{flow.id}")
    page.locator(f".step[data-task='{flow.id}']").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.task") == str(flow.id + 1)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.task") == str(flow.id + 5)
    page.keyboard.press("Enter")
    expect(page.locator("#task .head h2")).to_contain_text(f"Task {flow.id + 5}")
    expect(page.locator(".facts")).to_contain_text(f"{flow.id} completed")
    page.locator(".facts").get_by_role("link", name=str(flow.id), exact=True).first.click()
    expect(page.locator("#flow .head h2")).to_contain_text(f"Flow {flow.id}")
    page.get_by_role("link", name="as a list").click()
    expect(page.locator("#rows tr")).to_have_count(10)
    expect(page.locator("#search")).to_have_value(f"flow:{flow.id}")


def test_a_flow_of_too_many_tasks_is_told_type_by_type(opened: Page, pool: Served):
    with pool.client.flow("large") as flow:
        flow.group("film.shot", [NOTHING] * 300, then=("film.cut", {"path": "/"}))
    assert flow.wait(SECONDS)
    page = opened.open(f"#/flow/{flow.id}")
    row = page.locator("#flow tr[data-type='film.shot']")
    expect(row).to_contain_text("300 completed")
    expect(page.locator(".step")).to_have_count(0)
    row.get_by_role("link").click()
    expect(page.locator("#search")).to_have_value(f"flow:{flow.id} film.shot")
    expect(page.locator("#rows tr td.type").first).to_have_text("film.shot")


def test_a_flow_that_is_not_there_is_said_to_be_none(browser: Any, pool: Served):
    page = Page(browser, pool.url)
    shown = page.open("#/flow/999999")
    expect(shown.locator("#flow")).to_contain_text("No such flow")
    shown.keyboard.press("Escape")
    expect(shown.locator("#overview")).to_be_visible()
    page.context.close()


def test_schedules_are_paused_and_run(opened: Page, pool: Served):
    page = opened.open(f"#{TOKEN}")
    row = page.locator("#schedules tr[data-schedule='nightly']")
    expect(row).to_contain_text("0 3 * * *")
    expect(row.locator(".then")).to_have_text(re.compile(r"^then \d+[hd], \dd, \dd, \dd$"))
    row.get_by_role("button", name="run nightly now").click()
    page.get_by_role("button", name="Send it now").click()
    expect(row.get_by_role("link")).to_have_count(1)
    row.get_by_role("button", name="pause schedule nightly").click()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(row).to_contain_text("paused")
    pool.client.resume_schedule("nightly")
    expect(row).to_contain_text("in ")


def test_tenants_are_shown_with_what_keeps_them(opened: Page, pool: Served, tmp_path: Path):
    page = opened.open()
    sent = pool.client.send_many("film.shot", [{"path": str(tmp_path / "go")}] * 3, tenant="ann")
    row = page.locator("#tenants tr[data-tenant='ann']")
    expect(row).to_contain_text("1/1")
    expect(row).to_contain_text("as many as it may")
    row.get_by_role("link").click()
    expect(page.locator("#rows tr")).to_have_count(3)
    (tmp_path / "go").touch()
    assert sent.wait(SECONDS)


@pytest.mark.parametrize("opened", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_phone_shows_flows_without_scrolling_sideways(opened: Page, pool: Served, tmp_path: Path):
    flow = film(pool, tmp_path, "x" * 200)
    assert flow.wait(SECONDS)
    for where in (f"#/flow/{flow.id}", ""):
        page = opened.open(where)
        page.wait_for_selector(".step.completed, #flow-rows tr")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
