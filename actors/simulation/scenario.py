"""A seed and everything that is drawn from it: how many of whom, which misfortune, how quick the tasks are.

One scenario is one history. `command` is what a person types to see it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Self

from . import ingredients
from .host import Behaviour
from .misfortune import FAULTS
from .world import World

STEPS: Final = 3000
_HARSHNESS: Final = (0.3, 1.0, 1.0, 3.0, 8.0)


@dataclass(frozen=True)
class Scenario:
    """See the module.

    Attributes:
        seed: What all chance is drawn from.
        steps: How many things happen before the misfortune ends.
        hosts: How many hosts.
        clients: How many clients.
        window: How many rows the supervisor's memory holds.
        durability: `full` or `relaxed`.
        ageing: Seconds after which a waiting task counts one priority more; 0: never.
        quick: Whether tasks of one type take less than a millisecond, so that they are shipped ahead.
        faults: Rates by name.
        ingredients: What else there is, see `ingredients`.
        seconds: How long tasks take, on average.
    """

    seed: int
    steps: int
    hosts: int
    clients: int
    window: int
    durability: str
    ageing: float
    quick: bool
    faults: Mapping[str, float]
    ingredients: frozenset[str]
    seconds: float = 0.2

    @classmethod
    def drawn(cls, seed: int, steps: int = STEPS, **given: Any) -> Self:
        """Mixed weather: each seed has faults of its own, some rare, some frequent.

        Args:
            seed: See the class.
            steps: See the class.
            given: Fields that are not left to chance.
        """
        random = Random(f"weather {seed}")
        share = random.choice((0.3, 0.6, 1.0))
        faults = {
            name: rate * (1 if name == "clock_skew" else random.choice(_HARSHNESS))
            for name, rate in FAULTS.items()
            if random.random() < share
        }
        scenario = cls(
            seed,
            steps,
            hosts=random.randint(1, 4),
            clients=random.randint(1, 3),
            window=random.choice((8, 12, 40, 1000)),
            durability=random.choice(("full", "full", "relaxed")),
            ageing=Random(f"ageing {seed}").choice((0.0, 0.0, 3.0)),
            quick=random.random() < 0.3,
            faults=faults,
            ingredients=ingredients.drawn(seed),
        )
        return replace(scenario, **given)

    def world(self) -> World:
        """Its beginning."""
        behaviour = Behaviour(self.seconds, {"a": 0.0005} if self.quick else {})
        return World(
            self.seed,
            hosts=self.hosts,
            clients=self.clients,
            faults=self.faults,
            window=self.window,
            durability=self.durability,
            ageing=self.ageing,
            behaviour=behaviour,
            ingredients=self.ingredients,
        )

    def command(self) -> str:
        """What shows exactly this history again."""
        words = ["bin/simulate", "--seed", str(self.seed), "--steps", str(self.steps)]
        drawn = Scenario.drawn(self.seed, self.steps)
        for name in ("hosts", "clients", "window", "durability", "ageing", "seconds"):
            if (value := getattr(self, name)) != getattr(drawn, name):
                words += [f"--{name}", str(value)]
        if self.quick != drawn.quick:
            words.append("--quick" if self.quick else "--no-quick")
        if self.ingredients != drawn.ingredients:
            words += [word for name in sorted(self.ingredients) or ("none",) for word in ("--with", name)]
        if self.faults != drawn.faults:
            for name, rate in self.faults.items():
                words += ["--fault", f"{name}={rate!r}"]
            if not self.faults:
                words += ["--fault", "none"]
        return " ".join(words)
