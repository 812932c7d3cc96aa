"""The pictures of the documents. The life of a task is drawn from the core's table of moves."""

from __future__ import annotations

from collections.abc import Callable

from drawing import Drawing, Say, sequence

from workerhost.actors.core.life import MOVES
from workerhost.actors.core.rows import FINAL
from workerhost.transport.messages import STATES

_LIVE_X = {"waiting": 90, "scheduled": 330, "queued": 590, "running": 850}
_FINAL_X = {"completed": 120, "failed": 350, "cancelled": 590, "quarantined": 820}


def life() -> str:
    """Every legal move: arrows between the states that go on, and in each final state where it can be reached from."""
    drawing = Drawing(960, 520, "The life of a task: every legal move")
    moves: dict[tuple[str, str], list[str]] = {}
    for (state, event), to in MOVES.items():
        moves.setdefault((STATES[state].value, STATES[to].value), []).append(event)
    final = {STATES[code].value for code in FINAL}
    y = 230
    rises: dict[tuple[str, str], float] = {}
    for name, x in _LIVE_X.items():
        drawing.box(x - 62, y, 124, 44, name, kind="strong")
    for (before, after), events in moves.items():
        if before in final or after in final:
            continue
        x1, x2 = _LIVE_X[before], _LIVE_X[after]
        labels = [", ".join(events)]
        if before == after:
            drawing.arc(x1 - 30, x2 + 34, y + 44, -60, labels)
        elif x1 < x2 and x2 - x1 < 300:
            drawing.arrow([(x1 + 62, y + 22), (x2 - 62, y + 22)], labels[0])
        else:
            rise = 70.0 + abs(x2 - x1) * (0.22 if x1 > x2 else 0.35)
            rises[before, after] = rise
            drawing.arc(x1 - (14 if x1 > x2 else 0), x2 + (14 if x1 > x2 else 0), y, rise, labels)
    for name, x in _FINAL_X.items():
        sources: dict[str, list[str]] = {}
        for (before, after), events in moves.items():
            if after == name:
                sources.setdefault(before, []).extend(events)
        lines = [f"from {before}: {', '.join(events)}" for before, events in sources.items()]
        kind = "good" if name == "completed" else "bad"
        drawing.box(x - 108, 400, 216, 96, name, lines, kind=kind)
    again = sorted(before for (before, after) in moves if before in final and after not in final)
    drawing.arrow([(590, 400), (590, 345)], "")
    drawing.text(600, 372, f"again: by hand, from {', '.join(again)}", "small label")
    return drawing.svg()


def tree() -> str:
    """One supervisor, hosts that join it, a level actor per node in use, slots where tasks run."""
    drawing = Drawing(960, 470, "Supervisor, hosts, level actors and slots")
    drawing.box(360, 20, 240, 62, "supervisor", ["owns the queue, the tree and its file"], kind="strong")
    drawing.box(40, 28, 200, 46, "clients", ["send tasks, get results pushed"])
    drawing.arrow([(240, 50), (360, 50)], "tasks")
    for x, name, nodes in (
        (20, "host a", ("video", "video.youtube", "….channel")),
        (500, "host b", ("audio", "audio.spotify", "….track")),
    ):
        drawing.box(x, 150, 440, 300, name, kind="group")
        drawing.arrow([(480, 82), (x + 220, 150)])
        left = x + 20
        for number, node in enumerate(nodes):
            drawing.box(left + 18 * number, 190 + 56 * number, 170, 42, node, kind="")
            if number:
                drawing.arrow(
                    [
                        (left + 18 * number - 8, 176 + 56 * number),
                        (left + 18 * number - 8, 211 + 56 * number),
                        (left + 18 * number, 211 + 56 * number),
                    ]
                )
        drawing.text(left + 100, 390, "a level actor per node in use:")
        drawing.text(left + 100, 407, "prepares, supervises, escalates")
        for number, text in enumerate(("slot: process", "slot: process", "slot: threads", "slot: command")):
            drawing.box(x + 270, 190 + 52 * number, 150, 38, text, kind="good")
        drawing.text(x + 345, 418, "where tasks run")
    drawing.text(480, 128, "claims, progress and results go up; tasks come down")
    return drawing.svg()


def claim() -> str:
    """From `send` to the result."""
    return sequence(
        "From send to the result",
        ("client", "supervisor", "its file", "host", "slot"),
        (
            Say("host", "supervisor", "CLAIM: 4 slots are free"),
            Say("client", "supervisor", "SUBMIT: a task"),
            Say("supervisor", "its file", "insert, grant: one commit"),
            Say("supervisor", "client", "ACCEPTED: its id"),
            Say("supervisor", "host", "TASKS: with a fence"),
            Say("host", "slot", "the task, over a socket pair"),
            Say("slot", "host", "progress, then the result"),
            Say("host", "supervisor", "RESULTS: kept until recorded"),
            Say("supervisor", "its file", "end, grant the next: one commit"),
            Say("supervisor", "host", "RECORDED, TASKS: the next"),
            Say("supervisor", "client", "EVENTS: completed"),
        ),
    )


def rescue() -> str:
    """A host dies while it runs a task."""
    return sequence(
        "A host dies, its task is rescued",
        ("client", "supervisor", "host a", "host b"),
        (
            Say("supervisor", "host a", "TASKS: 12, fence 7"),
            Say("host a", "host a", "killed"),
            Say("host a", "supervisor", "its connection closes"),
            Say("supervisor", "supervisor", "suspect, 1 s later lost"),
            Say("supervisor", "supervisor", "12 queued again, loss 1"),
            Say("supervisor", "host b", "TASKS: 12, fence 8"),
            Say("host b", "supervisor", "RESULTS: 12, fence 8"),
            Say("supervisor", "client", "EVENTS: 12 completed"),
            Say("host a", "supervisor", "back: RESULTS 12, fence 7"),
            Say("supervisor", "host a", "RECORDED: 12 is stale"),
        ),
    )


def one_machine() -> str:
    """What `workerhost up` starts."""
    drawing = Drawing(860, 330, "One machine: workerhost up")
    drawing.box(20, 20, 820, 290, "one machine: workerhost up", kind="group")
    drawing.box(60, 130, 150, 60, "your program", ["Client()"])
    drawing.box(320, 70, 200, 60, "supervisor", ["tcp://127.0.0.1:7470"], kind="strong")
    drawing.box(320, 210, 200, 60, "tasks.db", ["the queue, in one file"])
    drawing.box(620, 70, 180, 60, "host", ["a slot per processor"], kind="good")
    drawing.box(620, 210, 180, 60, "monitor", ["http://127.0.0.1:7471"])
    drawing.arrow([(210, 150), (320, 110)], "")
    drawing.arrow([(420, 130), (420, 210)], "")
    drawing.arrow([(620, 100), (520, 100)], "")
    drawing.arrow([(640, 210), (505, 130)], "")
    drawing.text(430, 300, "up starts all of them and starts again what crashes")
    return drawing.svg()


def many_machines() -> str:
    """One supervisor, hosts and clients on other machines."""
    drawing = Drawing(960, 420, "Many machines")
    drawing.box(350, 30, 260, 150, "machine 1: up --network", kind="group")
    drawing.box(390, 66, 180, 52, "supervisor", ["tcp://*:7470"], kind="strong")
    drawing.text(480, 145, "identities in its own folder,")
    drawing.text(480, 162, "tasks.db on a local disk")
    for number, (name, text) in enumerate(
        (("machine 2", "host --join"), ("machine 3", "host --join"), ("machine 4", "host --join --serve ml"))
    ):
        x = 30 + 310 * number
        drawing.box(x, 280, 280, 120, name, kind="group")
        drawing.box(x + 40, 318, 200, 60, text, ["slots: as many as it can"], kind="good")
        drawing.arrow([(x + 140, 280), (420 + 60 * number, 180)])
    drawing.box(30, 66, 200, 56, "a client elsewhere", ["workerhost send, Client()"])
    drawing.arrow([(230, 94), (390, 94)], "encrypted")
    drawing.box(730, 66, 200, 56, "a person", ["workerhost top, status, why"])
    drawing.arrow([(730, 94), (570, 94)], "")
    drawing.text(480, 240, "every connection goes to the supervisor; hosts listen nowhere")
    return drawing.svg()


DIAGRAMS: dict[str, Callable[[], str]] = {
    "life": life,
    "tree": tree,
    "claim": claim,
    "rescue": rescue,
    "one-machine": one_machine,
    "many-machines": many_machines,
}
