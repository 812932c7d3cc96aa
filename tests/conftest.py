"""What holds for every test."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import structlog


@pytest.fixture(autouse=True)
def loggers_as_before() -> Generator[None]:
    """A test that runs a program in this process sets up where lines go: the next one hears its own."""
    yield
    structlog.reset_defaults()
