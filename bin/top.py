"""`top`: the pool as it is at this moment, on the whole terminal, every second anew.

A thread of its own asks the pool, so that a key is answered at once also while the pool is away. Where there is no
terminal one page is printed instead.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import typer

from . import options
from .exits import OK
from .options import Address

if TYPE_CHECKING:
    from rich.console import Console

    from ..transport.client import Client
    from .pulse import Pulse, Sight
    from .top_screen import Frame

REFRESH_SECONDS: Final = 1.0


def top(context: typer.Context, address: Address = None) -> None:
    """Watch the pool: tree, hosts, what runs in each slot. q ends it, p freezes the picture, tab turns the page."""
    from rich.console import Console

    console = Console()
    with options.pool(context, address) as client:
        if console.is_terminal and not console.is_dumb_terminal:
            raise typer.Exit(_watch(client, console))
        _print(client)


def look(client: Client, pulse: Pulse) -> Sight:
    """Ask the pool all that a page shows."""
    return pulse.look(client.status(), client.snapshot())


def _print(client: Client) -> None:
    """One page for whatever stdout is; two looks, because a rate needs two."""
    from . import top_screen
    from .pulse import Pulse

    pulse = Pulse()
    look(client, pulse)
    time.sleep(REFRESH_SECONDS)
    frame = top_screen.Frame(unicode=_unicode())
    for line in top_screen.draw(look(client, pulse), frame):
        print(line.plain.rstrip())


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


class Watcher:
    """Asks the pool again and again in a thread of its own.

    Attributes:
        sight: What was seen last.
        trouble: Why nothing newer is known, or "".
        paused: Whether to leave the pool alone.
        news: Becomes readable when there is something new to draw.
    """

    def __init__(self, client: Client, pulse: Pulse, sight: Sight) -> None:
        self.sight, self.trouble, self.paused = sight, "", False
        self.news, self._tell = socket.socketpair()
        self._client, self._pulse = client, pulse
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        from ..workers.errors import WorkerHostError

        away_since: float | None = None
        while not self._over.wait(REFRESH_SECONDS):
            if self.paused:
                continue
            try:
                self.sight, self.trouble, away_since = look(self._client, self._pulse), "", None
            except WorkerHostError as error:
                away_since = away_since or time.time()
                since = time.strftime("%H:%M:%S", time.localtime(away_since))
                self.trouble = f"no answer since {since}, trying again: {error}"
            except Exception as error:  # a page that stands still must say so
                self.trouble = f"what the pool says cannot be shown, trying again: {error!r}"
            self._tell.send(b".")

    def close(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join(2 * options.PATIENCE_SECONDS)
        self.news.close()
        self._tell.close()


def _watch(client: Client, console: Console) -> int:
    """Draw until a person has seen enough. Returns the exit code."""
    from rich.console import Group
    from rich.live import Live

    from . import top_screen
    from .pulse import Pulse

    pulse = Pulse()
    watcher = Watcher(client, pulse, look(client, pulse))  # a pool that is not there is said in one line, not drawn
    frame = top_screen.Frame(unicode=_unicode(), keys=sys.stdin.isatty())
    try:
        with _keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                frame = replace(frame, width=console.width, height=console.height, trouble=watcher.trouble)
                frame = replace(frame, skip=min(frame.skip, top_screen.last_skip(watcher.sight, frame)))
                live.update(Group(*top_screen.draw(watcher.sight, frame)), refresh=True)
                ready, _, _ = select.select([watcher.news, *keyboard], [], [])
                if watcher.news in ready:
                    watcher.news.recv(4096)
                if keyboard and keyboard[0] in ready:
                    key = os.read(keyboard[0], 64)
                    if not key or key in (b"q", b"Q", b"\x04"):
                        return OK
                    frame = pressed(key, frame)
                    watcher.paused = frame.paused
    except KeyboardInterrupt:
        return OK
    finally:
        watcher.close()


def pressed(key: bytes, frame: Frame) -> Frame:
    """What a key changes."""
    from .top_screen import PAGES

    page = (frame.height or 24) - 6
    moves = {
        b"\x1b[A": -1, b"\x1bOA": -1, b"k": -1, b"\x1b[B": 1, b"\x1bOB": 1, b"j": 1,
        b"\x1b[5~": -page, b"\x1b[6~": page, b" ": page,
    }  # fmt: skip
    if key == b"p":
        return replace(frame, paused=not frame.paused)
    if key == b"\t":
        return replace(frame, page=PAGES[(PAGES.index(frame.page) + 1) % len(PAGES)], skip=0)
    return replace(frame, skip=max(0, frame.skip + moves.get(key, 0)))


@contextmanager
def _keyboard() -> Generator[list[int]]:
    """Keys as they are pressed, unechoed, from stdin if it is a terminal (none elsewhere); as before afterwards."""
    try:
        import termios
        import tty
    except ImportError:  # Windows: Ctrl-C ends it
        yield []
        return
    if not sys.stdin.isatty():
        yield []
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def end(_number: int, _frame: object) -> None:
        sys.exit(OK)  # the terminal is put right on the way out

    ended = signal.signal(signal.SIGTERM, end)
    try:
        tty.setcbreak(number)
        yield [number]
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)
