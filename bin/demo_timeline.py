"""The report's picture of who ran what when: a lane for each slot, a bar for each attempt, drawn as SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final

from .demo_run import LOST, OPERATIONS, Attempt, Line, Run, color_of, operation_of, text

WIDTH: Final = 1000
LEFT: Final = 92
LANE: Final = 26
BAR: Final = 18
GROUP_GAP: Final = 14
TOP: Final = 22
BAR_WIDTH_MIN: Final = 2.0
BARS_MAX: Final = 3000
"""Bars drawn; more than this nobody can tell apart."""


Lane = tuple[str, int]
"""A host and one of its slots."""


def draw_timeline(run: Run) -> str:
    """The picture with its legend; a sentence instead where nothing ran."""
    attempts = _placed(run)[:BARS_MAX]
    if not attempts:
        return "<p>Nothing ran.</p>"
    lanes = _lanes(run, [lane for _, _, lane in attempts])
    height = max(lanes.values()) + LANE + 20
    scale = _Scale(run)
    drawn = [*_names(run, lanes), *_ticks(scale, height), *_death(run, lanes, scale)]
    drawn += [_bar(run, line, attempt, lanes[lane], scale) for line, attempt, lane in attempts]
    drawn += _rescues(run, attempts, lanes, scale)
    legend = "".join(
        f'<li><i class="dot op-{number}"></i>{text(name)}</li>' for number, name in enumerate(OPERATIONS.values())
    )
    return (
        f'<div class=scroll><svg class=timeline viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="attempts by host and time">{"".join(drawn)}</svg></div>'
        f'<ul class=legend>{legend}<li><i class="dot lost"></i>cut short by the kill</li></ul>'
    )


def _placed(run: Run) -> list[tuple[Line, Attempt, Lane]]:
    """Every attempt with its lane. A lost one never said its slot: it was one that did nothing else by then."""
    placed = [(line, attempt, (attempt.host, attempt.slot)) for line in run.lines for attempt in line.attempts]
    last: dict[Lane, float] = {}
    for _, attempt, lane in placed:
        if attempt.outcome != LOST:
            last[lane] = max(last.get(lane, 0.0), attempt.started)
    for number, (line, attempt, lane) in enumerate(placed):
        if attempt.outcome == LOST:
            free = [slot for slot in sorted(last) if slot[0] == attempt.host and last[slot] <= attempt.started]
            lane = free[0] if free else lane
            last[lane] = math.inf
            placed[number] = line, attempt, lane
    return placed


class _Scale:
    """Seconds -> x."""

    def __init__(self, run: Run) -> None:
        ends = [attempt.ended or attempt.started for line in run.lines for attempt in line.attempts]
        starts = [attempt.started for line in run.lines for attempt in line.attempts]
        self.first, self.last = min(starts), max(*ends, min(starts) + 0.1, run.killed.at if run.killed else 0.0)
        self._factor = (WIDTH - LEFT - 12) / (self.last - self.first)

    def x(self, seconds: float) -> float:
        return round(LEFT + (min(max(seconds, self.first), self.last) - self.first) * self._factor, 1)


def _lanes(run: Run, found: list[Lane]) -> dict[Lane, int]:
    """Lane -> y. The slots of a host stand together."""
    order = {name: number for number, name in enumerate(run.hosts)}
    lanes: dict[Lane, int] = {}
    y, before = TOP, None
    for lane in sorted(set(found), key=lambda lane: (order.get(lane[0], len(order)), lane)):
        if before is not None and lane[0] != before:
            y += GROUP_GAP
        lanes[lane] = y
        y, before = y + LANE, lane[0]
    return lanes


def _names(run: Run, lanes: dict[Lane, int]) -> Iterator[str]:
    for y in lanes.values():
        yield f"<rect class=lane x={LEFT} y={y} width={WIDTH - LEFT - 12} height={BAR} rx=4 />"
    for host in dict.fromkeys(host for host, _ in lanes):
        rows = [y for (name, _), y in lanes.items() if name == host]
        gone = " gone" if run.killed and run.killed.host == host else ""
        yield f'<text class="host{gone}" x=0 y={sum(rows) / len(rows) + BAR - 5:.0f}>{text(host[:12])}</text>'


def _ticks(scale: _Scale, height: int) -> Iterator[str]:
    """Three to eight lines at round times."""
    step = next(
        s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 1e9) if scale.last - scale.first <= s * 8
    )
    number = int(scale.first / step) + 1
    while number * step <= scale.last:
        x = scale.x(number * step)
        yield f"<line class=tick x1={x} x2={x} y1={TOP - 6} y2={height - 20} />"
        yield f"<text class=time x={x} y={height - 6}>{number * step:g} s</text>"
        number += 1


def _death(run: Run, lanes: dict[Lane, int], scale: _Scale) -> Iterator[str]:
    """The instant of the kill, and the time from then on without that host."""
    rows = [y for (host, _), y in lanes.items() if run.killed and host == run.killed.host]
    if run.killed is None or not rows:
        return
    x, end = scale.x(run.killed.at), WIDTH - 12
    top, bottom = min(rows) - 5, max(rows) + BAR + 5
    yield f"<rect class=dead x={x} y={top} width={max(0.0, end - x):.1f} height={bottom - top} rx=4 />"
    yield f"<line class=kill x1={x} x2={x} y1={top - 5} y2={bottom} />"
    yield f"<text class=kill x={min(x, end - 70)} y={top - 8}>SIGKILL {text(run.killed.host)}</text>"
    if run.killed.noticed is not None:
        x = scale.x(run.killed.noticed)
        yield f"<line class=noticed x1={x} x2={x} y1={top} y2={bottom} />"


def _bar(run: Run, line: Line, attempt: Attempt, y: int, scale: _Scale) -> str:
    x = scale.x(attempt.started)
    lost = attempt.outcome == LOST
    end = run.killed.at if lost and run.killed else attempt.ended
    width = max(BAR_WIDTH_MIN, scale.x(attempt.started if end is None else end) - x)
    look = "lost" if lost else "bad" if attempt.outcome != "completed" else "again" if line.rescued else ""
    said = f"#{line.id} {operation_of(line.type)} of {line.file}: {attempt.outcome} on {attempt.host}"
    return (
        f'<rect class="bar {color_of(line.type)} {look}" x={x} y={y} width={width:.1f} height={BAR} rx=3>'
        f"<title>{text(said)}</title></rect>"
    )


def _rescues(
    run: Run, attempts: list[tuple[Line, Attempt, Lane]], lanes: dict[Lane, int], scale: _Scale
) -> Iterator[str]:
    """A curve from each attempt that was cut short to the one that took its place."""
    for (line, before, there), (same, after, here) in itertools.pairwise(attempts):
        if line is same and before.outcome == LOST:
            x1, y1 = scale.x(run.killed.at if run.killed else before.started), lanes[there] + BAR / 2
            x2, y2 = scale.x(after.started), lanes[here] + BAR / 2
            bend = max(24.0, (x2 - x1) / 2)
            yield f'<path class=rescue d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" />'
            yield f"<circle class=rescue cx={x2} cy={y2} r=4 />"
