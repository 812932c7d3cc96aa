"""How fast the pool is, beside the ceiling in the same minute: `bin/bench [NAME ...]`.

Rates and round trips are measured in turns, ceiling then pool, and the medians of the pairs compared, so that what else
the machine does hits both. Every run is kept in `bench-results/` with the commit it measured; docs/performance.md says
how to read it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from types import FrameType

from ceiling import IN_FLIGHT, TASKS_PER_MESSAGE
from figures import Figure, keep, kept_before, run_of, show
from measures import MEASURES, SLOTS, Extent

from workerhost.actors.core.settings import PoolSettings
from workerhost.bin.exits import INTERRUPTED
from workerhost.transport.conversation import CREDIT


def say(text: str) -> None:
    """A line of progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    names = "\n".join(f"  {name:10} {'*' if m.usual else ' '} {m.what}" for name, m in MEASURES.items())
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measures the pool beside a bare loop that does the same commits.",
        epilog=f"what can be measured (* unless you name some; these take about three minutes):\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="measure only these")
    parser.add_argument(
        "--all",
        action="store_true",
        help="measure everything (3 GB of disk; writes ten million rows four times, half a minute of processor each)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument("--compare", action="store_true", help="show the change against what was measured last")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each measurement, 5 or more to trust it (5)")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks sent in one turn (20000)")
    parser.add_argument("--deep", type=int, default=10_000_000, help="rows of `depths` and `past` (10000000)")
    found = parser.parse_args()
    if unknown := [name for name in found.names if name not in MEASURES]:
        parser.error(f"no measurement is named {unknown[0]}; there are {', '.join(MEASURES)}")
    return found


def main() -> None:
    """Measure, keep, show."""
    wanted = arguments()
    names = wanted.names or [name for name, measure in MEASURES.items() if wanted.all or measure.usual]
    conditions = {
        "rounds": wanted.rounds,
        "tasks": wanted.tasks,
        "slots": SLOTS,
        "credit": CREDIT,
        "max_size": PoolSettings().max_size,
        "ceiling_in_flight": IN_FLIGHT,
        "ceiling_tasks_per_message": TASKS_PER_MESSAGE,
    }
    figures: list[Figure] = []
    for name in names:
        say(MEASURES[name].what)
        figures += MEASURES[name].function(Extent(wanted.rounds, wanted.tasks, wanted.deep))
    before = kept_before({figure.name for figure in figures}, conditions) if wanted.compare else None
    document = run_of(figures, conditions)
    if wanted.json:
        print(json.dumps(document))
    else:
        show(figures, before)
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in conditions.items()))
    say(f"kept in {keep(document)}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C: all that was started is ended
    try:
        main()
    except KeyboardInterrupt:
        say("interrupted; what was measured is not kept")
        sys.exit(INTERRUPTED)
