"""A configuration in JSON: what YAML would refuse is refused, and no number ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.config.durations import seconds
from workerhost.config.loading import check

DIGITS = "9" * 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{{"defaults": {{"timeout": {DIGITS}}}}}', "is out of range; a duration is above zero and at most 3650d"),
        (f'{{"defaults": {{"timeout": "{DIGITS}d"}}}}', "is out of range; a duration is above zero"),
        (f'{{"queue": {{"max_size": {DIGITS}}}}}', "is too large; at most"),
        (f'{{"queue": {{"max_size": {"9" * 5000}}}}}', ": a number is too long to be read"),
        ('{"queue": {"max_size": 1, "max_size": 2}}', ": the key max_size stands there a second time; remove one"),
        ('{"queue": {}, "pool": {}, "queue": {}}', ": the key queue stands there a second time; remove one"),
        ('{"queue": ', ":1: not valid JSON: "),
    ],
)
def test_a_mistake_in_json_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "workerhost.json"
    file.write_text(text)
    (problem,) = check(file)
    assert problem.startswith(str(file))
    assert said in problem


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan"), f"{DIGITS}d", f"{DIGITS}.5"])
def test_no_number_is_too_large_to_be_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        seconds(value)
