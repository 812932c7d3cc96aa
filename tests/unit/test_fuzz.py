"""A little of what `bin/fuzz` does for as long as one likes: every target that needs no socket, and one that does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))  # tests are no package
import fuzz as _fuzz

fuzz: Any = _fuzz  # found by its folder, which a type checker does not know


@pytest.mark.parametrize("name", list(fuzz.TARGETS))
def test_nothing_is_found(name: str) -> None:
    cases = {"pool": 100, "config": 25, "wire": 60, "crowd": 15}.get(name, 500)
    assert fuzz.run(name, 1_000_000, cases, 60.0) == cases
