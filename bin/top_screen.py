"""Draws a `Sight` as lines of a terminal: never wider, never higher than it. Knows no terminal and asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from ..transport.documents import GONE
from ..workers.errors import plain
from .pulse import Node, Sight
from .tables import breadth, count, cut, figure, span

OVERVIEW, TYPES, HOSTS = "overview", "types", "hosts"
PAGES: Final = (OVERVIEW, TYPES, HOSTS)
_COLOURS: Final = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")
"""One for each media type, in the order of their names."""
_NOTES_MAX: Final = 2
_SLOTS_MAX: Final = 16
"""Slots that are drawn one by one."""
_BAR: Final = 10
_TYPE_COLUMNS: Final = 16
_SHARE_HIGH: Final = 0.05
"""Of failed tasks, from which on it is red."""
_STATE_STYLES: Final = {"joined": "green", "draining": "yellow", "suspect": "red", "lost": "red"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What is to be drawn into.

    Attributes:
        width: Columns.
        height: Lines; None: as many as it takes.
        page: One of `PAGES`.
        skip: Lines of a long page that are above its first.
        unicode: Whether the terminal shows more than ASCII.
        paused: Whether it stands still, because a person wants so.
        trouble: What keeps it from being up to date, or "".
        keys: Whether there is a keyboard.
    """

    width: int = 80
    height: int | None = None
    page: str = OVERVIEW
    skip: int = 0
    unicode: bool = True
    paused: bool = False
    trouble: str = ""
    keys: bool = True


def draw(sight: Sight, frame: Frame) -> list[Text]:
    """The lines."""
    head = _head(sight, frame)
    foot = _foot(frame)
    room = None if frame.height is None else max(frame.height - len(head) - len(foot), 0)
    colours = {
        top: _COLOURS[n % len(_COLOURS)] for n, top in enumerate(sorted({n.type.split(".")[0] for n in sight.nodes}))
    }
    if frame.page == TYPES:
        body = _scrolled(_types(sight, frame, colours, None), frame, room)
    elif frame.page == HOSTS:
        body = _scrolled(_hosts(sight, frame, colours, None), frame, room)
    else:
        body = _overview(sight, frame, colours, room)
    lines = [*head, *body]
    if frame.height is not None:
        lines = lines[: max(frame.height - len(foot), 0)]
        lines += [Text()] * (frame.height - len(foot) - len(lines))
    lines += foot
    for line in lines:
        line.truncate(frame.width, overflow="ellipsis" if frame.unicode else "crop")
    return lines


def last_skip(sight: Sight, frame: Frame) -> int:
    """How far the page can be moved at the most."""
    long = replace(frame, height=None, skip=0)
    return max(0, len(draw(sight, long)) + len(_foot(frame)) - (frame.height or 0))


# The head and the foot.


def _head(sight: Sight, frame: Frame) -> list[Text]:
    about, tasks = sight.about, sight.tasks
    clock = datetime.fromtimestamp(sight.at).astimezone().strftime("%H:%M:%S")
    durable = "" if about.get("durable") else "  not durable"
    first = Text("workerhost", style="bold")
    first.append(f"  {plain(about.get('address'))}  up {span(about.get('uptime'))}", style="not bold")
    first.append(durable, style="not bold yellow")
    first.append(" " * max(2, frame.width - breadth(first.plain) - len(clock)) + clock, style="not bold dim")
    second = Text("tasks  ")
    for state in ("queued", "running", "scheduled", "waiting"):
        if tasks.get(state) or state in ("queued", "running"):
            second.append(f"{tasks.get(state, 0):,}", style="bold").append(f" {state}  ")
    second.append(f"{_rate(sight.pool.done)}/s", style="bold green").append(" done  ")
    second.append(f"{_rate(sight.pool.failing)}/s", style="bold red" if sight.pool.failing else "bold").append(
        " failed"
    )
    living = [host for host in sight.hosts if host["state"] not in GONE]
    slots, busy = sum(host["slots"] for host in living), sum(host["running"] for host in living)
    third = Text("slots  ")
    third.append_text(_bar(busy / slots if slots else 0.0, 2 * _BAR, frame))
    third.append(f" {busy:,} of {count(slots, 'slot')} busy on {count(len(living), 'host')}")
    third.append(f"  {sight.outlook}", style="bold")
    lines = [first, second, third]
    if frame.trouble:
        lines.append(Text(plain(frame.trouble, 300), style="bold red"))
    notes = sight.notes[:_NOTES_MAX]
    lines += [Text(f"note: {plain(note, 300)}", style="yellow") for note in notes]
    if len(sight.notes) > len(notes):
        lines.append(Text(f"and {count(len(sight.notes) - len(notes), 'note')} more: workerhost status", "yellow"))
    return [*lines, Text()]


def _foot(frame: Frame) -> list[Text]:
    if frame.height is None or not frame.keys:
        return []
    text = Text("q", "bold").append(" quit  ", "dim").append("p", "bold")
    text.append(" go on  " if frame.paused else " pause  ", "dim").append("tab", "bold")
    text.append(f" {PAGES[(PAGES.index(frame.page) + 1) % len(PAGES)]}  ", "dim")
    if frame.page != OVERVIEW:
        text.append("up down", "bold").append(" move  ", "dim")
    if frame.paused:
        text.append("it stands still", "reverse")
    return [text]


# The tree and the hosts.


def _overview(sight: Sight, frame: Frame, colours: dict[str, str], room: int | None) -> list[Text]:
    """Both, each with half of the room and what the other leaves."""
    if room is None:
        return [*_types(sight, frame, colours, None), Text(), *_hosts(sight, frame, colours, None)]
    types, hosts = _types(sight, frame, colours, None), _hosts(sight, frame, colours, None)
    room -= 1
    for_hosts = min(len(hosts), max(room // 2, room - len(types)))
    for_types = room - for_hosts
    return [
        *_types(sight, frame, colours, for_types),
        Text(),
        *_hosts(sight, frame, colours, for_hosts),
    ]


def _types(sight: Sight, frame: Frame, colours: dict[str, str], room: int | None) -> list[Text]:
    """The tree, and how many nodes the pool told nothing of, in at most `room` lines."""
    if not sight.left_out:
        return _tree(sight.nodes, frame, colours, room)
    lines = _tree(sight.nodes, frame, colours, None if room is None else max(room - 1, 0))
    lines.append(Text(f"and {count(sight.left_out, 'type')} more: workerhost types", style="dim"))
    return lines if room is None else lines[:room]


def _tree(nodes: Sequence[Node], frame: Frame, colours: dict[str, str], room: int | None) -> list[Text]:
    """The tree, in at most `room` lines: where it is too long, without what is idle."""
    shown, note = list(nodes), ""
    if room is not None and len(nodes) + 1 > room:
        busy = {node.type for node in nodes if node.busy()}
        above = {".".join(type.split(".")[:length]) for type in busy for length in (1, 2)}
        shown = [node for node in nodes if node.type in busy | above]
        idle = len(nodes) - len(shown)
        if len(shown) + 1 + bool(idle) > room:
            kept = shown[: max(room - 2, 0)]
            note = f"and {len(shown) - len(kept) + idle:,} more: tab"
            shown = kept
        else:
            note = f"and {idle:,} idle: tab"
    labels = _labels(shown)
    name = min(max([_TYPE_COLUMNS, *(breadth(label) + 1 for label in labels)]), max(_TYPE_COLUMNS, frame.width - 62))
    head = f"{'TYPE':{name}}{'QUEUED':>8}{'RUN':>6}{'DONE/S':>8}{'FAIL/S':>8}{'FAILED':>8}{'OLDEST':>8}  STOPPED BY"
    lines = [Text(head, style="bold dim")]
    lines += [_node(node, label, name, colours) for node, label in zip(shown, labels, strict=True)]
    if not nodes:
        lines.append(Text("no types yet: no host offers one and no task was sent", style="dim"))
    if note:
        lines.append(Text(note, style="dim"))
    return lines if room is None else lines[:room]


def _labels(nodes: Sequence[Node]) -> list[str]:
    """What each node is called under the nearest one above it that is shown."""
    shown: list[str] = []
    labels: list[str] = []
    for node in nodes:
        while shown and not node.type.startswith(shown[-1] + "."):
            shown.pop()
        labels.append("  " * len(shown) + (node.type[len(shown[-1]) + 1 :] if shown else node.type))
        shown.append(node.type)
    return labels


def _node(node: Node, label: str, columns: int, colours: dict[str, str]) -> Text:
    name = cut(plain(label), columns - 1)
    line = Text(name, style=colours[node.type.split(".")[0]])
    line.append(" " * (columns - breadth(name)))
    line.append(f"{figure(node.queued):>8}{figure(node.running):>6}", "bold" if node.queued or node.running else "dim")
    line.append(f"{_rate(node.done):>8}", "green" if node.done else "dim")
    line.append(f"{_rate(node.failing):>8}", "red" if node.failing else "dim")
    share = "-" if node.share is None else f"{node.share:.1%}" if 0 < node.share < 1 else f"{node.share:.0%}"
    line.append(f"{share:>8}", "red" if (node.share or 0) >= _SHARE_HIGH else "dim")
    line.append(f"{span(node.oldest):>8}", "dim")
    line.append(f"  {plain(node.stops, 200)}".rstrip(), "yellow")
    return line


def _hosts(sight: Sight, frame: Frame, colours: dict[str, str], room: int | None) -> list[Text]:
    """Each host with its slots, and under it what runs there, as far as there is room."""
    if not sight.hosts:
        return [Text("no host has joined: workerhost host --join ADDRESS CODE", style="yellow")]
    name = min(max(4, *(len(host["name"]) for host in sight.hosts)), max(12, frame.width // 3))
    hosts, left = sight.hosts, None
    if room is not None:
        if len(hosts) + 1 > room:
            hosts = hosts[: max(room - 2, 0)]
        left = room - 1 - len(hosts) - (len(hosts) < len(sight.hosts))
    slots = min(_SLOTS_MAX, max(host["slots"] for host in sight.hosts))
    lines = [Text(f"{'HOST':{name}}  {'STATE':9} {'SLOTS':{slots}}   BUSY", style="bold dim")]
    wanted = [len(host.get("tasks", ())) for host in hosts]
    for host, fit in zip(hosts, wanted if left is None else _shares(wanted, left), strict=True):
        tasks = host.get("tasks", [])
        lines.append(_host(host, name, slots, frame, hidden=len(tasks) - fit))
        lines += [_task(task, frame, colours, sight.at) for task in tasks[:fit]]
    if len(hosts) < len(sight.hosts):
        lines.append(Text(f"and {count(len(sight.hosts) - len(hosts), 'host')} more: tab", style="dim"))
    return lines if room is None else lines[:room]


def _shares(wanted: list[int], room: int) -> list[int]:
    """So much of the room for each, that nobody gets more than he wants or than another who wants more."""
    shares = [0] * len(wanted)
    while room > 0 and shares != wanted:
        for number, most in enumerate(wanted):
            if room > 0 and shares[number] < most:
                shares[number] += 1
                room -= 1
    return shares


def _host(host: dict[str, Any], name: int, slots: int, frame: Frame, *, hidden: int) -> Text:
    shown = cut(plain(host["name"]), name)
    line = Text(shown + " " * (name - breadth(shown)) + "  ", style="bold")
    line.append(f"{plain(host['state'], 9):9} ", f"not bold {_STATE_STYLES.get(host['state'], 'yellow')}")
    cells = [_cell(task.get("fraction"), frame) for task in host.get("tasks", [])][:slots]
    cells += [_BUSY[frame.unicode]] * (min(host["running"], slots) - len(cells))
    line.append("".join(cells), "not bold cyan")
    there = 0 if host["state"] in GONE else min(host["slots"], slots)
    line.append(_FREE[frame.unicode] * max(there - len(cells), 0), "not bold dim")
    line.append(" " * max(slots - max(len(cells), there), 0))
    line.append(f"  {host['running']:>3}/{host['slots']}", "not bold")
    if hidden:
        line.append(f"  {hidden} not shown", "not bold dim")
    for node in list(host.get("troubled", {}))[:1]:
        line.append(f"  {plain(node, 60)} failed", "not bold red")
    return line


def _task(task: dict[str, Any], frame: Frame, colours: dict[str, str], at: float) -> Text:
    room = max(12, frame.width // 3)
    type = cut(plain(task["type"]), room)
    line = Text(f"  {task['id']:>8} ", style="dim")
    line.append(type + " " * (room - breadth(type) + 1), f"not dim {colours.get(task['type'].split('.')[0], '')}")
    fraction = task.get("fraction")
    if fraction is None:
        line.append(" " * (_BAR + 5))
    else:
        line.append_text(_bar(fraction, _BAR, frame)).append(f" {min(max(fraction, 0.0), 1.0):>4.0%}", "not dim")
    since = task.get("since")
    line.append(f"  {span(None if since is None else max(0.0, at - since)):>6}", "not dim")
    line.append("  stopping" if task.get("stopping") else "", "not dim yellow")
    line.append(f"  {plain(task.get('note') or '', 200)}".rstrip(), "dim")
    return line


def _scrolled(lines: list[Text], frame: Frame, room: int | None) -> list[Text]:
    """The heading, and as many lines below it as there is room, from `skip` on."""
    return lines if room is None else [*lines[:1], *lines[1 + frame.skip : room + frame.skip]]


# Small things.

_FREE: Final = {True: "·", False: "."}
_BUSY: Final = {True: "▒", False: "#"}
_EIGHTHS: Final = "▁▂▃▄▅▆▇█"


def _cell(fraction: float | None, frame: Frame) -> str:
    """One slot, filled as far as its task is."""
    if fraction is None or not frame.unicode:
        return _BUSY[frame.unicode]
    return _EIGHTHS[min(max(int(fraction * 8), 0), 7)]


def _bar(fraction: float, columns: int, frame: Frame) -> Text:
    full = round(min(max(fraction, 0.0), 1.0) * columns)
    done, left = ("━", "─") if frame.unicode else ("#", "-")
    return Text(done * full, "not dim cyan").append(left * (columns - full), "dim")


def _rate(number: float) -> str:
    """Three digits at most that mean something."""
    if number == 0:
        return "0"
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"
