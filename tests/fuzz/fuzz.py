"""Foreign bytes for everything that reads them: `bin/fuzz [TARGET ...] [--seconds S | --cases N] [--seed N]`.

Each case is made from its own number, so that a finding is told by that number and is the same again on every machine.
What is tried on one supervisor, case after case, is told with the cases before it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from crowds import Crowd
from targets import TARGETS as _TARGETS

TARGETS = {**_TARGETS, "crowd": Crowd}


def arguments() -> argparse.Namespace:
    """The command line."""
    names = "\n".join(f"  {name:11} {(make.__doc__ or '').splitlines()[0]}" for name, make in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="bin/fuzz",
        description="Foreign bytes for everything that reads them.",
        epilog=f"targets (all of them unless you name some):\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long, each target its share (60)")
    parser.add_argument("--cases", type=int, help="so many of each target, however long that takes")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case (0)")
    found = parser.parse_args()
    if unknown := [name for name in found.targets if name not in TARGETS]:
        parser.error(f"no target is named {unknown[0]}; there are {', '.join(TARGETS)}")
    return found


def run(name: str, first: int, cases: int | None, seconds: float) -> int:
    """Try cases until there are enough, or the time is over; how many.

    Raises:
        Exception: What a case found.
    """
    target = TARGETS[name]()
    end = time.monotonic() + seconds
    number = first
    try:
        while number - first < cases if cases is not None else time.monotonic() < end:
            try:
                target.case(random.Random(f"{name} {number}"))
            except Exception:
                seed = first if target.lasts else number
                found = f"bin/fuzz {name} --seed {seed} --cases {number - seed + 1}"
                print(f"fuzz: found by: {found}", file=sys.stderr, flush=True)
                raise
            number += 1
    finally:
        target.close()
    return number - first


def main() -> int:
    """Try all targets; 1 if one found something."""
    wanted = arguments()
    names = wanted.targets or list(TARGETS)
    for name in names:
        began = time.monotonic()
        try:
            count = run(name, wanted.seed, wanted.cases, wanted.seconds / len(names))
        except Exception:
            traceback.print_exc()
            return 1
        print(f"{name}: {count} cases in {time.monotonic() - began:.1f} s, nothing found", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
