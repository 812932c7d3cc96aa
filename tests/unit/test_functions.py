"""Functions that are called by path: what a host that names a package lets be called, and imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workerhost import testing
from workerhost.workers.source import FUNCTION

PACKAGE = "a_package_of_jobs"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    for name in ("__init__", "__main__", "_inner", "jobs"):
        (folder / f"{name}.py").write_text("def double(number):\n    return 2 * number\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


@pytest.mark.parametrize(("name", "state"), [
    ("jobs", "completed"), ("__main__", "failed"), ("_inner", "failed"), ("jobs._inner", "failed"), ("", "failed"),
    (".jobs", "failed"),
])  # fmt: skip
def test_below_a_package_what_begins_with_an_underscore_is_not_even_imported(name: str, state: str) -> None:
    with testing.Pool({"host": {"functions": [f"{PACKAGE}.*"]}}) as pool:
        handle = pool.send(FUNCTION, {"calls": [[f"{PACKAGE}.{name}:double", [4], {}]]}, max_attempts=1)
        pool.run_until_idle()
        assert handle.state == state
    assert f"{PACKAGE}.__main__" not in sys.modules
    assert f"{PACKAGE}._inner" not in sys.modules
