"""A YAML text is read as YAML 1.2 means it, and every key knows its line."""

from __future__ import annotations

import pytest

from workerhost.config.document import DocumentError, read, scalar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True), ("False", False), ("on", "on"), ("no", "no"), ("y", "y"), ("~", None), ("", None),
        ("10", 10), ("010", 10), ("0o10", 8), ("0x1F", 31), ("-7", -7), ("22:30", "22:30"), ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.2.3", "1.2.3"),
        ("-.inf", float("-inf")), ("9" * 40, float("9" * 40)), ("0b1", "0b1"), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars(text: str, expected: object) -> None:
    found = scalar(text)
    assert (found, type(found)) == (expected, type(expected))


def test_quoted_values_and_keys_stay_text() -> None:
    assert read("a: '10'\nb: \"true\"\n1: x\non: |\n  10\n").data == {"a": "10", "b": "true", "1": "x", "on": "10\n"}


def test_lines_are_known() -> None:
    document = read("a:\n  b: [1,\n    2]\n")
    assert document.lines["a", "b"] == 2
    assert document.lines["a", "b", 1] == 3


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(DocumentError, match="a key must be plain text"):
        read("[a, b]: 1")
