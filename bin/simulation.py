"""Plays seeds of the simulated pool: `bin/simulate --seed N` or `--seeds FIRST-LAST`.

What failed is said with the latest events and the command that shows exactly this history again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Final

from ..actors.simulation.ingredients import INGREDIENTS
from ..actors.simulation.misfortune import FAULTS
from ..actors.simulation.scenario import STEPS, Scenario
from ..actors.simulation.world import World


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what is asked for; 0 if every guarantee held, else 1 at the first that did not."""
    parser = _parser()
    given = parser.parse_args(arguments)
    fixed = {name: value for name in _FIELDS if (value := getattr(given, name)) is not None}
    if given.fault:
        fixed["faults"] = _faults(parser, given.fault)
    if given.ingredients:
        fixed["ingredients"] = frozenset(given.ingredients) - {"none"}
    seeds: Sequence[int] = [given.seed] if given.seeds is None else given.seeds
    started = time.monotonic()
    steps = 0
    for count, seed in enumerate(seeds, 1):
        scenario = Scenario.drawn(seed, given.steps, **fixed)
        began = time.monotonic()
        if len(seeds) > 1:  # before it is played: one that never ends is known, too
            print(f"seed {seed}: {count} of {len(seeds)}", file=sys.stderr, flush=True)
        world = _played(scenario)
        if world is None:
            return 1
        steps += world.steps
        if len(seeds) == 1:
            _tell_one(scenario, world, time.monotonic() - began)
    if len(seeds) > 1:
        print(f"{len(seeds)} seeds, {steps:,} steps, {steps / (time.monotonic() - started):,.0f} a second")
    return 0


_FIELDS: Final = ("hosts", "clients", "window", "durability", "ageing", "quick", "seconds")
_DESCRIPTION: Final = (
    "A whole pool on virtual time, with the real core, store and protocol, through misfortune drawn from a seed. "
    "A seed is a history: the same command always shows the same one."
)
_RATES: Final = (
    "Rates are per message for drop, duplicate and reorder, per connection for old_hello, the largest deviation for "
    "clock_skew, and per second for the others."
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/simulate",
        description=_DESCRIPTION,
        epilog=f"Faults and their usual rates: {_listed(FAULTS)}. {_RATES}",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, default=0, metavar="N", help="the seed (0)")
    which.add_argument("--seeds", type=_span, metavar="FIRST-LAST", help="many seeds, one after the other")
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="M", help=f"things that happen before peace ({STEPS})"
    )
    parser.add_argument("--hosts", type=int, metavar="H", help="hosts (drawn from the seed, 1 to 4)")
    parser.add_argument("--clients", type=int, metavar="C", help="clients (drawn from the seed, 1 to 3)")
    parser.add_argument("--window", type=int, metavar="ROWS", help="rows that the supervisor keeps in memory (drawn)")
    parser.add_argument("--durability", choices=("full", "relaxed"), help="what the supervisor's disk promises (drawn)")
    parser.add_argument("--ageing", type=float, help="seconds of waiting for one more priority, 0: none (drawn)")
    parser.add_argument(
        "--quick", action=argparse.BooleanOptionalAction, help="tasks of one type take less than a millisecond (drawn)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="how long tasks take, on average (0.2)")
    parser.add_argument(
        "--with",
        dest="ingredients",
        action="append",
        choices=[*INGREDIENTS, "none"],
        metavar="NAME",
        help=f"also this, and no other (drawn): {_told(INGREDIENTS)}; or `none`",
    )
    parser.add_argument(
        "--fault",
        action="append",
        metavar="NAME=RATE",
        help="only these faults happen (drawn); `none`: no fault at all; a NAME alone has its usual rate",
    )
    return parser


def _told(ingredients: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {words}" for name, words in ingredients.items())


def _listed(faults: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={rate:g}" for name, rate in faults.items())


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST-LAST, as in 1-200")
    span = range(int(first), int(last or first) + 1)
    if not span:
        raise argparse.ArgumentTypeError(f"{text!r} holds no seed; write the smaller number first: {last}-{first}")
    return span


def _faults(parser: argparse.ArgumentParser, given: Sequence[str]) -> Mapping[str, float]:
    faults: dict[str, float] = {}
    for text in given:
        name, _, rate = text.partition("=")
        if text == "none":
            continue
        if name not in FAULTS:
            parser.error(f"no fault is named {name!r}; there are {', '.join(FAULTS)}")
        try:
            faults[name] = float(rate) if rate else FAULTS[name]
        except ValueError:
            parser.error(f"{text!r}: a rate is a number, as in {name}={FAULTS[name]:g}")
    return faults


def _played(scenario: Scenario) -> World | None:
    """Play a world to its end; None if a guarantee was broken, which is told."""
    world = None
    try:
        with scenario.world() as world:
            world.run(scenario.steps).rest()
    except Exception as error:
        if world is not None:
            print(*world.timeline.told(), sep="\n")
        if not isinstance(error, AssertionError):  # an error of the code itself: show where
            traceback.print_exception(error, file=sys.stdout)
        when = f"step {world.steps}, second {world.timeline.now:.3f}" if world is not None else "before its first step"
        print(f"\nseed {scenario.seed}, {when}:")
        print(f"{type(error).__name__}: {error}")
        print(f"again: {scenario.command()}", flush=True)
        return None
    return world


def _tell_one(scenario: Scenario, world: World, seconds: float) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in world.oracle.kinds().items())
    print(f"seed {scenario.seed}: {scenario.hosts} hosts, {scenario.clients} clients, durability {scenario.durability}")
    print(f"faults: {_listed(scenario.faults) or 'none'}")
    happened = ", ".join(f"{count} {name}" for name, count in sorted(world.misfortune.happened().items()))
    print(f"happened: {happened or 'nothing'}")
    print(f"with: {', '.join(sorted(scenario.ingredients)) or 'nothing else'}")
    attempts, starts = world.executions.count, world.supervisor.starts
    print(f"{len(world.oracle.tasks)} tasks ({kinds}), {attempts} attempts, {starts} starts of the supervisor")
    print(f"{world.steps:,} steps, {world.timeline.now:,.1f} s of virtual time, {world.steps / seconds:,.0f} steps/s")


if __name__ == "__main__":
    sys.exit(main())
