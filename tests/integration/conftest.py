"""Where these tests find the modules they share: tests are no package."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))
from supervisors import Supervisors

os.environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard for pools that tests start; theirs name one


@pytest.fixture
def start() -> Generator[Supervisors]:
    """Starts supervisors of the test's own; those that are left are stopped in the end."""
    supervisors = Supervisors()
    yield supervisors
    while supervisors.started:
        supervisors.stop()


@pytest.fixture(scope="module")
def browser() -> Generator[Any]:
    """Chromium, for a module's tests of the dashboard."""
    from browsing import chromium  # needs playwright, which only those do

    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: Any, pool: Any, request: pytest.FixtureRequest) -> Generator[Any]:
    """A page that shows the module's `pool`: it must not complain, nor ask anybody else for anything."""
    from browsing import Page

    page = Page(browser, pool.url, **getattr(request, "param", {}))
    yield page
    page.context.close()
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(pool.url)] == []
