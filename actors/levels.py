"""The hierarchy on one host: a media actor for each first part of a type, its platform actors, their endpoint actors.

The supervisor's TREE spawns them, by way of the host. A level actor prepares and watches over its node here: whether
its workers were loaded, whether it is at work, whether it may take tasks. It is told by message only, never asked, and
no task passes through it: it writes its verdict into a table, which the host reads when it routes and when it beats.

Types can be invented by clients, threads cannot be had without end: beyond `LEVEL_ACTORS_MAX` a node has no actor, and
the actor above it (at the top the host) judges it and all below it in the same way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import pykka

from ..config.policy import parents
from ..transport import clock
from .core.host.verdicts import FAILED, Brief, Verdict, verdict, verdicts
from .core.restarts import LEVEL, Restarts
from .log import Log
from .slot_spawner import spawner

LEVEL_ACTORS_MAX: Final = 256
"""Level actors of one host. Each is a thread: 8 MiB of address space, 24 KiB of memory, half a millisecond to start
and, as it is watched, 0.07 ms of every second. A host with 1,000 endpoints in use would spend 7 % of a processor on
watching them, and more threads than many a container may have; what it needs is a right verdict on each, and for that
no actor is needed.
"""

log = Log("levels")


class VerdictTable:
    """What the level actors of one host think of their nodes. Written by them, read by the host.

    Each start of an actor writes under a number of its own, and only the latest one of a node counts: what an actor
    that was replaced still writes changes nothing.

    Attributes:
        version: Grows with every change.
    """

    def __init__(self) -> None:
        self.version = 0
        self._verdicts: dict[str, Verdict] = {}
        self._writers: dict[str, int] = {}
        self._last_writer = 0
        self._actors: set[str] = set()  # the nodes that have one
        self._full_said = False
        self._lock = threading.Lock()

    def hire(self, type: str) -> int | None:
        """A node is to have an actor: the number under which that writes; None if there are as many as may be."""
        with self._lock:
            if type in self._actors or len(self._actors) < LEVEL_ACTORS_MAX:
                return self._open(type, actor=True)
            said, self._full_said = self._full_said, True
        if not said:
            log.info("level_actors_full", actors=LEVEL_ACTORS_MAX, first_without=type)
        return None

    def open(self, type: str, *, actor: bool = True) -> int:
        """A new actor watches over a node in place of the last, or its owner does: the number under which it writes."""
        with self._lock:
            return self._open(type, actor=actor)

    def _open(self, type: str, *, actor: bool) -> int:
        (self._actors.add if actor else self._actors.discard)(type)
        self._last_writer += 1
        self._writers[type] = self._last_writer
        return self._last_writer

    def put(self, type: str, writer: int, verdict: Verdict) -> bool:
        """Write a node's verdict; returns whether that changed anything."""
        with self._lock:
            if self._writers.get(type) != writer or self._verdicts.get(type) == verdict:
                return False
            self._verdicts[type] = verdict
            self.version += 1
            return True

    def close(self, type: str, writer: int) -> None:
        """Nobody watches over a node any more."""
        with self._lock:
            if self._writers.get(type) == writer:
                del self._writers[type]
                self._actors.discard(type)
                self._verdicts.pop(type, None)
                self.version += 1

    def copy(self) -> dict[str, Verdict]:
        """All verdicts as they are now."""
        with self._lock:
            return dict(self._verdicts)


@dataclass(frozen=True, slots=True)
class Down:
    """Child -> the actor that started it: I die. `writer` tells which start of it this was, see `VerdictTable`."""

    type: str
    writer: int
    reason: str


class Briefing:
    """Owner -> child: the latest brief. It replaces one that was not taken yet, so that they do not pile up."""

    def __init__(self) -> None:
        self._brief: Brief | None = None
        self._lock = threading.Lock()

    def put(self, brief: Brief) -> bool:
        """Returns whether the actor must be told of it: it has not been told, or has taken the last one."""
        with self._lock:
            before, self._brief = self._brief, brief
            return before is None

    def take(self) -> Brief | None:
        """The latest, once."""
        with self._lock:
            brief, self._brief = self._brief, None
            return brief


@dataclass(frozen=True, slots=True)
class Started:
    """Asked once, by whoever started an actor: answered with its thread when `on_start` is behind it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Owner -> child, every second: look whether those below you live."""


@dataclass(frozen=True, slots=True)
class Revive:
    """An actor to itself: the wait before a child's restart is over."""

    type: str
    writer: int


class Hopeless(Exception):
    """A child died so often that restarting it does not help: the failure is now that of the node above."""


@dataclass(slots=True)
class _Child:
    ref: pykka.ActorRef[LevelActor] | None = None
    thread: threading.Thread | None = None
    writer: int = 0
    told: Brief | None = None
    briefing: Briefing = field(default_factory=Briefing)
    restarts: Restarts = field(default_factory=lambda: Restarts(LEVEL))
    judged: dict[str, int] | None = None
    """Of one without an actor: it and all below it, each with the number under which its owner writes."""


class Subtree:
    """The child actors of one node, or of the host: each started, told its part, and restarted alone when it dies.

    A child for which there is no actor left is judged here, for as long as it is in the tree.
    """

    def __init__(self, child: type[LevelActor], verdicts: VerdictTable, tell: Callable[[Any], None]) -> None:
        """See the class.

        Args:
            child: What to start.
            verdicts: Where they all write.
            tell: Puts a message into the inbox of the actor that owns this subtree.
        """
        self._child, self._verdicts, self._tell = child, verdicts, tell
        self._children: dict[str, _Child] = {}
        self._parts: dict[str, Brief] = {}

    def tell(self, brief: Brief) -> None:
        """Start the actors of nodes that are new, stop those of nodes that are gone, tell each what is new to it."""
        self._parts = parts = brief.parts(self._child.depth)
        for type in [type for type in self._children if type not in parts]:
            self._drop(type)
        anew: dict[str, int] = {}
        for type, part in parts.items():
            child = self._children.get(type)
            if child is None:
                child = self._children[type] = _Child()
                writer = self._verdicts.hire(type)
                if writer is not None:
                    self._start(type, writer)
                    continue
                child.judged = {}
            if child.judged is None:
                self._brief_child(type)
            elif part != child.told:
                child.told, child.judged = part, self._renewed(child.judged, part)
                anew |= child.judged
        for type, found in verdicts(anew, brief).items() if anew else ():
            _write(self._verdicts, type, anew[type], found)

    def _renewed(self, known: dict[str, int], part: Brief) -> dict[str, int]:
        """The nodes of a child without an actor, each with a number; those that have left it are closed."""
        above = self._child.depth - 1
        nodes = {path: None for node in part.nodes for path in parents(node)[above:]}
        for type in known.keys() - nodes:
            self._verdicts.close(type, known[type])
        return {type: known.get(type) or self._verdicts.open(type, actor=False) for type in nodes}

    def down(self, down: Down) -> None:
        """A child died: start it again, the first time at once.

        Raises:
            Hopeless: It has died too often.
        """
        child = self._children.get(down.type)
        if child is None or child.writer != down.writer:
            return
        if child.ref is not None:
            pykka.ActorRegistry.unregister(child.ref)  # one that died without a word is still registered
        child.ref = child.thread = None
        delay = child.restarts.died(clock.now())
        log.error("level_died", type=down.type, reason=down.reason, deaths=child.restarts.deaths, restart_in=delay)
        self._verdicts.put(down.type, child.writer, (FAILED, f"its level actor died: {down.reason}"))
        if child.restarts.too_many():
            raise Hopeless(f"{down.type} died {child.restarts.deaths} times: {down.reason}")
        if delay:
            revive = Revive(down.type, child.writer)
            spawner().later(delay, lambda: self._tell(revive))
        else:
            self._start(down.type, self._verdicts.open(down.type))

    def watch(self) -> None:
        """Look for children that died without a word, and have each that lives look below itself.

        Raises:
            Hopeless: One has died too often.
        """
        for type, child in list(self._children.items()):
            if child.ref is None:
                continue
            if child.thread is not None and not child.thread.is_alive():
                self.down(Down(type, child.writer, "its thread ended without a word"))
                continue
            with suppress(pykka.ActorDeadError):  # its Down is on the way
                child.ref.tell(Watch())

    def revive(self, revive: Revive) -> None:
        """The wait before a restart is over."""
        child = self._children.get(revive.type)
        if child is not None and child.ref is None and child.writer == revive.writer:
            self._start(revive.type, self._verdicts.open(revive.type))

    def stop(self) -> None:
        """Stop all of them; does not wait."""
        for type in list(self._children):
            self._drop(type)

    def _start(self, type: str, writer: int) -> None:
        child = self._children[type]
        child.writer, child.told, child.briefing = writer, None, Briefing()
        try:
            child.ref = self._child.start(type, child.writer, self._verdicts, self._tell)
            answer: Any = child.ref.ask(Started(), timeout=LEVEL.start_seconds)
            child.thread = answer
        except BaseException as error:  # also one that did not start is a death, and counts as such
            self._tell(Down(type, child.writer, f"it did not start: {error!r}"))
            return
        self._brief_child(type)

    def _brief_child(self, type: str) -> None:
        child = self._children[type]
        part = self._parts[type]
        if child.ref is not None and part != child.told:
            child.told = part
            if child.briefing.put(part):
                with suppress(pykka.ActorDeadError):  # its Down is on the way
                    child.ref.tell(child.briefing)

    def _drop(self, type: str) -> None:
        child = self._children.pop(type)
        if child.judged is not None:
            for node, writer in child.judged.items():
                self._verdicts.close(node, writer)
            return
        if child.ref is not None:
            with suppress(pykka.ActorDeadError):
                child.ref.stop(block=False)
        self._verdicts.close(type, child.writer)


def _write(table: VerdictTable, type: str, writer: int, found: Verdict) -> None:
    """Write a node's verdict, and say so if it is another one than before."""
    if table.put(type, writer, found):
        state, note = found
        log.say("warning" if state == FAILED else "debug", "level_changed", type=type, state=state, note=note)


class LevelActor(pykka.ThreadingActor):
    """Watches over one node of the tree on this host.

    Attributes:
        depth: How many parts the types of this level have.
        child: The level below.
    """

    use_daemon_thread = True
    depth: ClassVar[int]
    child: ClassVar[type[LevelActor] | None] = None

    def __init__(self, type: str, writer: int, verdicts: VerdictTable, tell_owner: Callable[[Any], None]) -> None:
        super().__init__()
        self.type = type
        self._writer, self._verdicts, self._tell_owner = writer, verdicts, tell_owner
        self._below = Subtree(self.child, verdicts, self._tell_self) if self.child is not None else None
        self._dead = False

    def _tell_self(self, message: Any) -> None:
        with suppress(pykka.ActorDeadError):  # what comes after the end is for nobody
            self.actor_ref.tell(message)

    def on_receive(self, message: Any) -> Any:
        """A new brief, or news of a child. Whatever goes wrong ends this actor and no other."""
        if self._dead:
            return None
        if isinstance(message, Started):
            return threading.current_thread()
        try:
            self._told(message)
        except BaseException as error:  # let through, a SystemExit would stop every actor of the process
            self._die(error)
        return None

    def _told(self, message: Any) -> None:
        if isinstance(message, Briefing):
            if (brief := message.take()) is not None:
                self._heed(brief)
        elif self._below is not None and isinstance(message, Down):
            self._below.down(message)
        elif self._below is not None and isinstance(message, Revive):
            self._below.revive(message)
        elif not isinstance(message, Watch):
            raise TypeError(f"a level actor is not told {message!r}")
        elif self._below is not None:
            self._below.watch()

    def _die(self, error: BaseException) -> None:
        """Tell whoever started this actor, which decides what follows."""
        self._dead = True
        self._tell_owner(Down(self.type, self._writer, repr(error)))
        self.stop()

    def _heed(self, brief: Brief) -> None:
        _write(self._verdicts, self.type, self._writer, verdict(self.type, brief))
        if self._below is not None:
            self._below.tell(brief)

    def on_stop(self) -> None:
        """What lies below goes along."""
        if self._below is not None:
            self._below.stop()


class EndpointActor(LevelActor):
    """An endpoint, such as `video.youtube.channel`."""

    depth = 3


class PlatformActor(LevelActor):
    """A platform, such as `video.youtube`."""

    depth = 2
    child = EndpointActor


class MediaActor(LevelActor):
    """A kind of media, such as `video`."""

    depth = 1
    child = PlatformActor
