"""A little of what `bin/fuzz` does for as long as one likes: every target that needs no socket, and one that does."""

from __future__ import annotations

import random
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


@pytest.mark.parametrize(
    ("lasts", "command"),
    [(True, "bin/fuzz third --seed 5 --cases 3\n"), (False, "bin/fuzz third --seed 7 --cases 1\n")],
)
def test_a_finding_names_the_cases_that_show_it_again(
    lasts: bool, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Third:
        """Fails at its third case."""

        count = 0
        lasts: bool

        def case(self, _chance: random.Random) -> None:
            self.count += 1
            assert self.count < 3

        def close(self) -> None:
            pass

    Third.lasts = lasts
    monkeypatch.setitem(fuzz.TARGETS, "third", Third)
    with pytest.raises(AssertionError):
        fuzz.run("third", 5, None, 5.0)
    assert capsys.readouterr().err.endswith(command)
