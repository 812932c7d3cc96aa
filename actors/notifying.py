"""Who is told of alerts: a log, a web address, a program. Carried out one after the other in a thread of its own.

It decides nothing about alerts. Nothing here waits for ever: a web address has five seconds and three tries, a program
ten seconds, and a destination that does not work is logged once until it works again.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from .log import Log

WAITING_MAX: Final = 1000
"""Notices that may wait; what comes beyond is dropped and logged."""
_ANSWER_SECONDS: Final = 5.0
_TRIES: Final = (0.0, 1.0, 4.0)
"""Seconds before each try at a web address."""
_PROGRAM_SECONDS: Final = 10.0
_LEAVE_SECONDS: Final = 6.0
LOG: Final = "log"

log = Log("monitor")

Destination = str | tuple[str, ...]
"""`log`, a web address, or a program and its arguments."""
Destinations = Callable[[str], Sequence[Destination]]
"""Who is told of the alerts of a node ("": of the pool)."""


class Notifier:
    """Tells.

    Args:
        destinations: See there.
    """

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING_MAX)
        self._broken: set[Destination] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._thread.start()

    def tell(self, notice: dict[str, Any]) -> None:
        """Something is to be told: `event` (`raised` or `cleared`) and what the alert is."""
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            log.error("notice_dropped", alert=notice.get("name"), node=notice.get("node"), waiting=WAITING_MAX)

    def stop(self) -> None:
        """Tell what waits, as far as that goes within a few seconds."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(_LEAVE_SECONDS / 2)
        self._over.set()
        self._thread.join(_LEAVE_SECONDS / 2)

    def _work(self) -> None:
        while not self._over.is_set() and (notice := self._waiting.get()) is not None:
            for destination in self._destinations(str(notice["node"])):
                self._told(destination, notice)

    def _told(self, destination: Destination, notice: dict[str, Any]) -> None:
        if destination == LOG:
            level = "warning" if notice["event"] == "raised" else "info"
            log.say(level, f"alert_{notice['event']}", alert=notice["name"], node=notice["node"], text=notice["text"])
            return
        body = json.dumps(notice).encode()
        try:
            if isinstance(destination, str):
                self._post(destination, body)
            else:
                _run(destination, body)
        except Exception as error:  # whatever it is, the next one is told all the same
            if destination not in self._broken:
                self._broken.add(destination)
                log.error("notice_failed", destination=_shown(destination), error=str(error) or repr(error))
            return
        if destination in self._broken:
            self._broken.discard(destination)
            log.info("notice_works_again", destination=_shown(destination))

    def _post(self, address: str, body: bytes) -> None:
        """A POST of JSON, tried a few times.

        Raises:
            OSError: None of them was taken.
        """
        for place, pause in enumerate(_TRIES):
            if pause and self._over.wait(pause):
                pass  # it is told to end: one last try at once
            try:
                asked = urllib.request.Request(  # noqa: S310 -- the configuration takes http and https alone
                    address, body, {"Content-Type": "application/json", "User-Agent": "workerhost"}
                )
                with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS):  # noqa: S310 -- as above
                    return
            except OSError:
                if place == len(_TRIES) - 1 or self._over.is_set():
                    raise


def _run(words: tuple[str, ...], body: bytes) -> None:
    """Run a program with the notice on its stdin.

    Raises:
        OSError, subprocess.SubprocessError: It cannot be run, takes too long, or says that it failed.
    """
    subprocess.run(
        words, input=body, timeout=_PROGRAM_SECONDS, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _shown(destination: Destination) -> str:
    """Without what may be secret: a web address often ends in a token."""
    return "/".join(destination.split("/")[:3]) if isinstance(destination, str) else destination[0]
