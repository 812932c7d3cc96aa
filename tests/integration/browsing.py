"""A real browser for tests of the dashboard, and a page in it that notes all that it says and asks for."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> Generator[Any]:
    """Chromium, while it is needed; the test is left out where there is none."""
    found = next((path for path in BROWSERS if Path(path).exists()), None)
    if found is None:
        pytest.skip(f"no Chromium at {', '.join(BROWSERS)}: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield launched
        launched.close()


class Page:
    """A page in a browser, with all that it said and asked for."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.url = url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.answers: list[Any] = []
        self.page.on("console", self.said)
        self.page.on("pageerror", self.failed)
        self.page.on("request", self.asked)
        self.page.on("response", self.answered)

    def said(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def failed(self, error: Any) -> None:
        self.complaints.append(str(error))

    def asked(self, request: Any) -> None:
        self.requests.append(request.url)

    def answered(self, answer: Any) -> None:
        self.answers.append(answer)

    def open(self, where: str = "") -> Any:
        self.page.goto(f"{self.url}/{where}")
        self.page.wait_for_selector("#link:not(:text-is('connecting'))")
        return self.page


def held(page: Any, where: str, count: int = 1) -> list[Any]:
    """The first requests to an address, each of which waits until it is continued."""
    found: list[Any] = []

    def hold(route: Any) -> None:
        if len(found) < count:
            found.append(route)
        else:
            route.continue_()

    page.route(where, hold)
    return found


def expect(found: Any) -> Any:
    return sync_api.expect(found)
