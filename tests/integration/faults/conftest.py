"""Pools of real processes for the fault suite. Whatever fails shows what each of its processes logged."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are no package: this is how they share these modules
from fault_pool import FaultPool

_pool = pytest.StashKey[FaultPool]()


@pytest.fixture
def pool(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[FaultPool]:
    """A pool of the test's own, nothing started yet. At the end nothing is left of it."""
    made = FaultPool(tmp_path)
    request.node.stash[_pool] = made
    yield made
    made.discard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of all processes to the report of a failure."""
    report = yield
    pool = item.stash.get(_pool, None)
    if report.failed and pool is not None:
        report.sections += [(f"log of {name}", text) for name, text in pool.logs()]
    return report
