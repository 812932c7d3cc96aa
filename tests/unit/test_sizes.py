"""Sizes as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from workerhost.config.loading import load
from workerhost.config.policy import AttemptLimits
from workerhost.config.sizes import size, size_text


@pytest.mark.parametrize(
    ("text", "expected"), [(1, 1), ("1", 1), ("512K", 2**19), ("1.5M", 3 * 2**19), ("2G", 2**31), ("1024T", 2**50)]
)
def test_sizes(text: Any, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", [0, -1, "0", "2000T", True, 1.5, "2g", "2 G", "G", "", None, [], "1e3", f"{10**400}T"])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write bytes or|is out of range"):
        size(text)


def test_sizes_for_people() -> None:
    assert [size_text(value) for value in (5, 2048, 300 * 2**20, 1.5 * 2**30, 3 * 2**40)] == [
        "5 bytes",
        "2 KiB",
        "300 MiB",
        "1.5 GiB",
        "3072 GiB",
    ]


def test_limits_of_a_node() -> None:
    nodes = {"video": {"limits": {"memory": "2G", "processes": 64, "cpu": "10m", "output": "1M"}}}
    policy = load({"workers": nodes, "defaults": {"no_progress_timeout": "2m"}}).policies().effective("video")
    assert policy.limits == AttemptLimits(memory=2**31, processes=64, cpu=600.0, output=2**20)
    assert policy.no_progress_timeout == 120.0
