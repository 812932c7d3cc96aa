"""Draws boxes, arrows and sequences as SVG that reads well on light and dark pages. Knows nothing of WorkerHost."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_STYLE = """\
text{font:14px system-ui,sans-serif;fill:#1f2430}
.small{font-size:12px;fill:#596275}
.label{paint-order:stroke;stroke:#fff;stroke-width:5px}
.title{font-weight:600}
.middle{text-anchor:middle}
.box{fill:#f4f6fa;stroke:#8a94a8;rx:8px}
.group{fill:none;stroke:#b9c1d0;stroke-dasharray:5 4;rx:12px}
.strong{fill:#e3ecff;stroke:#3b6fd6}
.good{fill:#e2f5e8;stroke:#2f9e57}
.bad{fill:#fdeaea;stroke:#d04545}
.line{fill:none;stroke:#596275;stroke-width:1.5}
.life{stroke:#b9c1d0;stroke-dasharray:4 4}
.head{fill:#596275}
@media (prefers-color-scheme:dark){
text{fill:#e6e9f0}.small{fill:#a4adbf}.label{stroke:#14171e}
.box{fill:#252b38;stroke:#6c778e}.strong{fill:#22345c;stroke:#7aa5ff}
.good{fill:#1d3a29;stroke:#59c983}.bad{fill:#452527;stroke:#f08080}
.group,.life{stroke:#4a5368}.line{stroke:#a4adbf}.head{fill:#a4adbf}
}"""
_HEAD_OF_ARROWS = (
    '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path class="head" d="M0,0 L10,5 L0,10 z"/></marker></defs>'
)
_CHARACTER = 6.6
"""Width of a small character, about: labels get a background of no more than they need."""


class Drawing:
    """A picture of a given size, to which things are added."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size, self._title = (width, height), title
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, title: str, lines: Sequence[str] = (), kind: str = ""
    ) -> None:
        """A box with a title and smaller lines below it. `kind`: strong, good, bad, group."""
        style = kind if kind == "group" else f"box {kind}".strip()
        self._parts.append(f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>')
        top = y + 22 if lines or kind == "group" else y + height / 2 + 5
        self.text(x + width / 2, top, title, "title middle")
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 20 + 17 * number, line, "small middle")

    def text(self, x: float, y: float, text: str, style: str = "small label middle") -> None:
        """One line of text, legible across a line."""
        self._parts.append(f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def arrow(
        self, points: Sequence[tuple[float, float]], label: str = "", at: tuple[float, float] | None = None
    ) -> None:
        """A line through points with a head at its end; a label at a place, or in the middle of the line."""
        path = "M" + " L".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<path class="line" d="{path}" marker-end="url(#head)"/>')
        if label:
            (x1, y1), (x2, y2) = points[0], points[-1]
            x, y = at or ((x1 + x2) / 2, (y1 + y2) / 2 - 6)
            self.text(x, y, label)

    def arc(self, x1: float, x2: float, y: float, rise: float, labels: Sequence[str]) -> None:
        """An arrow above (or, with a negative rise, below) a row of boxes, from one to another."""
        path = f"M{x1:g},{y:g} C{x1:g},{y - rise:g} {x2:g},{y - rise:g} {x2:g},{y:g}"
        self._parts.append(f'<path class="line" d="{path}" marker-end="url(#head)"/>')
        top = y - 0.75 * rise
        for number, label in enumerate(reversed(labels)):
            self.text((x1 + x2) / 2, top - 6 - 15 * number if rise > 0 else top + 16 + 15 * number, label)

    def dashes(self, x: float, y1: float, y2: float) -> None:
        """A vertical line, as below the head of a sequence."""
        self._parts.append(f'<path class="line life" d="M{x:g},{y1:g} L{x:g},{y2:g}"/>')

    def svg(self) -> str:
        """The whole file."""
        width, height = self._size
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f'width="{width}" height="{height}" role="img">',
            f"<title>{escape(self._title)}</title>",
            f"<style>{_STYLE}</style>",
            _HEAD_OF_ARROWS,
            *self._parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


class Say(NamedTuple):
    """One line of a sequence: who says what to whom; `to` equal to `who` is something done alone."""

    who: str
    to: str
    text: str


def sequence(title: str, who: Sequence[str], steps: Sequence[Say]) -> str:
    """A sequence of messages between some, from top to bottom."""
    gap, top, step = 190, 60, 46
    drawing = Drawing(gap * len(who), top + step * (len(steps) + 1), title)
    place = {name: gap * number + gap / 2 for number, name in enumerate(who)}
    for name, x in place.items():
        drawing.box(x - 70, 12, 140, 34, name, kind="strong")
        drawing.dashes(x, 46, top + step * (len(steps) + 1) - 10)
    for number, (speaker, listener, text) in enumerate(steps, 1):
        y = top + step * number - 8
        x1, x2 = place[speaker], place[listener]
        if speaker == listener:
            width = max(120, len(text) * _CHARACTER + 18)
            drawing.box(x1 - width / 2, y - 20, width, 28, "", ())
            drawing.text(x1, y - 1, text, "small middle")
        else:
            side = 4 if x2 > x1 else -4
            drawing.arrow([(x1 + side, y), (x2 - side, y)], text)
    return drawing.svg()
