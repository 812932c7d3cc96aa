"""`supervisor`: it is started and ended by the main thread, which hears of signals all the while."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ..actors.configured import start
from ..actors.stores.contract import StoreBroken
from ..actors.supervisor import Supervisor, SupervisorSettings
from .exits import INPUT_OUTPUT, INTERNAL, OK, leave, say
from .signals import Events, Hangup, Signalled


@dataclass(frozen=True)
class _NotStarted:
    """Why there is no supervisor."""

    error: BaseException


def run(settings: SupervisorSettings, events: Events, *, tell: bool) -> int:
    """Run a supervisor until it is told to end, or fails. Returns the exit code.

    It is started in a thread of its own: a large queue may be copied and migrated then, and whoever asks it to end
    meanwhile need not wait. What it was doing is undone by its next start, as after a kill.

    Args:
        settings: What it is started with; its `on_failure` puts the error among the events.
        events: What the main thread waits for.
        tell: Whether somebody is to be told where it listens.

    Raises:
        ConfigError, StoreBroken: It cannot be started.
    """

    def begin() -> None:
        try:
            events.put(start(settings))
        except BaseException as error:
            events.put(_NotStarted(error))

    threading.Thread(target=begin, name="start", daemon=True).start()
    running: Supervisor | None = None
    changed = False
    while True:
        event = events.get()
        if isinstance(event, Supervisor):
            running = event
            if tell:
                say(f"the supervisor listens at {running.address}; Ctrl-C ends it, hosts work on")
            if changed:
                running.reload()
        elif isinstance(event, Hangup):
            changed = True
            if running is not None:
                running.reload()
        elif isinstance(event, _NotStarted):
            raise event.error
        elif isinstance(event, StoreBroken):
            say(str(event))
            return INPUT_OUTPUT
        elif isinstance(event, Signalled):
            events.next_ends()
            if running is not None:
                running.stop()
            leave(OK)
        else:
            return INTERNAL  # the actor has logged why
