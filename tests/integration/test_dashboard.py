"""The dashboard in a real browser: what it shows, what it lets a person do, and what it keeps out."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from browsing import Page, expect
from served_pool import TOKEN, Served, served

from workerhost import worker

MARKUP = "<script>document.title='broken in'</script><img src=x onerror=\"document.title='broken in'\">"
WEIGHT_MAX = 150 * 1024


@worker("film.cut")
def cut(path: str, note: str = "") -> str:
    while not Path(path).exists():
        time.sleep(0.01)  # sleeps: the task is a slow one
    return note


@worker("film.broken")
def broken(note: str) -> None:
    raise ValueError(note)


@pytest.fixture(scope="module")
def pool() -> Generator[Served]:
    config = {"workers": {"film.broken": {"retry": {"max_attempts": 1}}, "film": {"max_concurrent": 3}}}
    with served(config, workers=[cut, broken], slots=4) as found:
        yield found


def test_a_task_that_begins_is_in_its_square_within_a_second(opened: Page, pool: Served, tmp_path: Path):
    page = opened.open()
    page.wait_for_selector(".host[data-host=embedded] .slot")
    assert page.locator(".slot").count() == 4
    taken: list[float] = []
    for number in range(5):
        go = tmp_path / f"go {number}"
        began = time.monotonic()
        handle = pool.client.send("film.cut", {"path": str(go)})
        page.wait_for_selector(f".slot[data-task='{handle.id}']", timeout=5000)
        taken.append(time.monotonic() - began)
        expect(page.locator("tr[data-type='film.cut'] td").nth(1)).to_contain_text("1")
        go.touch()
        page.wait_for_selector(f".slot[data-task='{handle.id}']", state="detached")
    print("a change shows after", [round(one, 2) for one in taken])
    assert statistics.median(taken) < 1.0, taken  # half a second between two looks


def test_a_task_is_cancelled_only_after_a_question(opened: Page, pool: Served, tmp_path: Path):
    handle = pool.client.send("film.cut", {"path": str(tmp_path / "go")})
    page = opened.open(f"#{TOKEN}")
    assert TOKEN not in page.url
    page.goto(f"{opened.url}/#/task/{handle.id}")
    button = page.get_by_role("button", name=f"cancel task {handle.id}")
    button.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text(f"Cancel task {handle.id}")
    page.keyboard.press("Enter")  # the answer that does no harm has the focus
    expect(dialog).to_be_hidden()
    assert pool.client.show(handle.id)["state"] == "running"
    button.click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator("#task .head .state")).to_have_text("cancelled")
    assert pool.client.show(handle.id)["state"] == "cancelled"
    (tmp_path / "go").touch()


def test_a_type_is_paused_from_the_tree(opened: Page, pool: Served):
    page = opened.open(f"#{TOKEN}")
    row = page.locator("tr[data-type='film.broken']")
    row.hover()
    row.get_by_role("button", name="pause film.broken").click()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(row.locator(".chip")).to_have_text("paused")
    pool.client.resume("film.broken")
    expect(row.locator(".chip")).to_have_count(0)


def test_without_the_token_nothing_can_be_changed_and_the_page_says_why(opened: Page, pool: Served, tmp_path: Path):
    handle = pool.client.send("film.cut", {"path": str(tmp_path / "go")})
    page = opened.open(f"#/task/{handle.id}")
    button = page.get_by_role("button", name=f"cancel task {handle.id}")
    expect(button).to_be_disabled()
    assert "workerhost up" in button.get_attribute("title")
    expect(page.locator("#access")).to_contain_text("workerhost up")
    (tmp_path / "go").touch()


def test_whatever_a_task_is_called_or_says_is_text(opened: Page, pool: Served, tmp_path: Path):
    (tmp_path / "go").touch()
    good = pool.client.send("film.cut", {"path": str(tmp_path / "go"), "note": MARKUP}, tags=(MARKUP[:100],))
    bad = pool.client.send("film.broken", {"note": MARKUP})
    assert good.wait(15)
    assert bad.wait(15)
    page = opened.open()
    expect(page.locator(f"#rows tr[data-task='{bad.id}']")).to_contain_text("<script>")
    page.goto(f"{opened.url}/#/task/{bad.id}")
    expect(page.locator("pre.error")).to_contain_text(MARKUP)
    page.goto(f"{opened.url}/#/task/{good.id}")
    expect(page.locator("#task")).to_contain_text("broken in")
    expect(page.locator("#task script, #task img")).to_have_count(0)
    assert "broken in" not in page.title()


def test_a_task_is_explained(opened: Page, pool: Served):
    handle = pool.client.send("film.broken", {"note": "no such reel"})
    assert handle.wait(15)
    page = opened.open(f"#/task/{handle.id}")
    expect(page.locator(".attempt .said")).to_contain_text("failed: no such reel")
    expect(page.locator(".story")).to_contain_text("attempt 1")
    expect(page.locator("#task")).to_contain_text('"note": "no such reel"')
    expect(page.get_by_role("button", name=f"run task {handle.id} again")).to_be_visible()


def test_it_is_used_by_keyboard(opened: Page, pool: Served, tmp_path: Path):
    (tmp_path / "go").touch()
    handle = pool.client.send("film.cut", {"path": str(tmp_path / "go")})
    assert handle.wait(15)
    page = opened.open()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("film.cut")
    expect(page.locator("#rows tr td.type").first).to_have_text("film.cut")
    expect(page.locator("#rows td.type").filter(has_text="film.broken")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('tr').dataset.task") == str(handle.id)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#task .head h2")).to_contain_text(f"Task {handle.id}")
    page.keyboard.press("Escape")
    expect(page.locator("#overview")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(str(handle.id))
    page.keyboard.press("Enter")
    expect(page.locator("#task .head h2")).to_contain_text(f"Task {handle.id}")


def test_tasks_are_found_and_changed_by_what_is_written(opened: Page, pool: Served):
    first, second = (pool.client.send("film.none", key=key, tags=("these",)).id for key in ("a", "b"))
    broken = pool.client.send("film.broken", {"note": "no such reel"})
    assert broken.wait(15)
    page = opened.open(f"#{TOKEN}")
    for written, found in [
        ("key:b", [second]), ('film.broken error:"no such"', [broken.id]), ("#these older:1d", []),
        ("#these key:a", [first]), ("type:film.broken", [broken.id]), ("tag:these key:b", [second]), ("older:soon", []),
    ]:  # fmt: skip
        page.locator("#search").fill(written)
        expect(page.locator("#rows tr")).to_have_count(len(found))
        for id in found:
            expect(page.locator(f"#rows tr[data-task='{id}']")).to_be_visible()
    expect(page.locator("#no-tasks")).to_contain_text("Not understood")
    page.locator("#search").fill("#these")
    button = page.get_by_role("button", name="cancel all tasks that are like this")
    button.click()
    expect(page.locator("dialog")).to_contain_text("Cancel 2 tasks?")
    page.locator("#ask-yes").click()
    expect(page.locator("#said")).to_have_text("2 tasks: cancelled.")
    assert [pool.client.show(id)["state"] for id in (first, second)] == ["cancelled"] * 2
    button.click()
    expect(page.locator("#said")).to_have_text("No task that is like this can be cancelled.")
    page.locator("#search").fill("")
    expect(button).to_be_hidden()


@pytest.mark.parametrize("opened", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_phone_shows_it_without_scrolling_sideways(opened: Page, pool: Served):
    handle = pool.client.send("film.broken", {"note": "x" * 500})
    assert handle.wait(15)
    for where in ("", f"#/task/{handle.id}"):
        page = opened.open(where)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("opened", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True)
def test_text_stands_out_from_what_is_behind_it(opened: Page, pool: Served):
    page = opened.open()
    colours = page.evaluate(
        """() => { const of = getComputedStyle(document.documentElement);
        return Object.fromEntries(['panel', 'ground', 'text', 'soft', 'accent', 'good', 'bad', 'warn', 'good-back',
          'bad-back', 'warn-back', 'still-back'].map(name => [name, of.getPropertyValue('--' + name).trim()])); }"""
    )
    pairs = [
        (front, back) for front in ("text", "soft", "accent", "good", "bad", "warn") for back in ("panel", "ground")
    ]
    pairs += [("good", "good-back"), ("bad", "bad-back"), ("warn", "warn-back"), ("soft", "still-back")]
    faint = {pair: ratio for pair in pairs if (ratio := contrast(colours[pair[0]], colours[pair[1]])) < 4.5}
    assert faint == {}


def test_it_is_small_and_there_at_once(opened: Page):
    page = opened.open()
    files = [answer for answer in opened.answers if "/api/" not in answer.url]
    assert len(files) > 10
    assert sum(len(answer.body()) for answer in files) < WEIGHT_MAX
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 1000 * 3  # a second on a machine that does nothing else


def test_what_is_not_heard_any_more_is_said(browser: Any):
    with served(workers=[cut]) as pool:
        page = Page(browser, pool.url)
        shown = page.open()
        expect(shown.locator("#away")).to_be_hidden()
        url = pool.url
    expect(shown.locator("#away")).to_contain_text("Not connected since")
    assert re.search(r"\d\d:\d\d:\d\d", shown.locator("#away").inner_text())
    assert url == page.url
    page.context.close()


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
