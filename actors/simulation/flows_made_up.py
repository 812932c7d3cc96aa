"""Flows and dependencies that simulated clients make up."""

from __future__ import annotations

from random import Random
from typing import Any

_POLICIES = ("cancel", "cancel", "run", "wait")


def made_up_edges(random: Random, known: list[int]) -> dict[str, Any]:
    """Options of tasks that come after some that were sent before."""
    return {
        "after": random.sample(known, min(random.randint(1, 3), len(known))),
        "on_failure": random.choice(_POLICIES),
    }


def made_up_flow(random: Random, types: list[str], known: list[int]) -> list[list[Any]]:
    """A flow in one to three parts: groups in which each comes after some earlier place, if any."""
    parts: list[list[Any]] = []
    place = 0
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        groups: list[Any] = []
        for _ in range(random.randint(1, 4)):
            options: dict[str, Any] = {}
            count = random.randint(1, 3)
            params = [b"\x01"] * count
            if place and random.random() < 0.8:
                options["within"] = random.sample(range(place), min(place, random.randint(1, 3)))
                options["on_failure"] = random.choice(_POLICIES)
                if random.random() < 0.3:
                    count, params = 1, [b"\xc0"]
                    options["results"] = [[0, 0]]
            elif known and random.random() < 0.2:
                options = made_up_edges(random, known)
            groups.append([random.choice(types), random.randint(1, 3), options or None, params])
            place += count
        parts.append(groups)
    return parts
