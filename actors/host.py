"""The host: one actor that is the mailbox of its link and of its slots, carries news to the core and effects back out.

It never runs task code (but for `inline` slots, which exist for that), waits for nothing but news and time, and decides
nothing. An unexpected error ends it and its slots; its tasks are rescued, as after a kill.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Final

import pykka

from ..transport import clock
from ..transport.access import Access
from ..transport.codec import Malformed, decode, encode
from ..transport.keys import Home
from ..transport.link import Closed, Denied, PeerLink, Received, connect
from ..transport.mailbox import Batch, Mailbox
from ..transport.messages import DEFAULT_ADDRESS, Hello, Refused, Welcome
from ..transport.reachability import NO_IDENTITY, UNKNOWN_HERE
from ..workers.code_files import code_files
from ..workers.errors import ConfigError, PoolRefused, WorkerHostError
from ..workers.registry import Worker
from ..workers.source import Environment, Source
from .code_watch import CodeWatch
from .core.effects import Note
from .core.host.host_effects import (
    CancelSlot,
    CloseSlot,
    Confine,
    Connect,
    Disconnect,
    Feed,
    Guide,
    HostEffect,
    Kill,
    Leave,
    LoadAnew,
    Measure,
    ReadAgain,
    Say,
    Serve,
    Spawn,
    Terminate,
)
from .core.host.host_options import HostOptions
from .core.host.hosting import HostCore
from .levels import Down, Hopeless, MediaActor, Revive, Subtree, VerdictTable
from .log import Log
from .profile import Profile
from .served_code import ServedCode
from .slot import InlineSlot, ProcessSlot, Slot, SlotNews, SlotSpec, ThreadSlots
from .slot_spawner import spawner

_FLUSH_SECONDS: Final = 0.5
_STOP_SECONDS_MAX: Final = 5.0
_WATCH_SECONDS: Final = 1.0
_SETTLE_SECONDS_MAX: Final = 2.0
"""For the last folders to be removed, the last leftovers and what was just being started to be ended; a folder may be
large, and a start take long.
"""

log = Log("host")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What a host is started with.

    Attributes:
        address: Its supervisor's, or an invitation.
        name: Chosen by a person; None: the machine's name, made unique by the supervisor.
        slots: Slot pools {node or "": count}; None: one for each processor.
        serve: Subtrees it takes; empty: all.
        not_: Subtrees it does not take.
        fixed: Which of `slots`, `serve` and `not` the supervisor's settings for this host do not change.
        resources: Counts and labels that it offers.
        isolation: `process`, `thread` or `inline`.
        code: CODEs as of the command line.
        sources: Type -> its class or command, from the host's own configuration.
        environments: Where tasks run, see `HostOptions`.
        accept: Modules whose workers the supervisor's configuration may have it run; `my.*`: all below `my`.
        placed: Types for which the host's own configuration says where they run.
        paths: Folders for the slots' `sys.path`.
        workers: Classes and functions to be served as they are (isolation `inline` only).
        drain_timeout: Seconds that tasks have to finish when the host is told to go.
        reread: Reads the host's configuration again: what it would be started with by now, or all that is wrong.
        reload: Whether the files of the code are watched, and new code is served when they change.
        profile: A file for the profile of the actor's thread; None: no profile.
    """

    address: str = DEFAULT_ADDRESS
    name: str | None = None
    slots: Mapping[str, int] | None = None
    serve: tuple[str, ...] = ()
    not_: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()
    resources: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    isolation: str = "process"
    code: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])
    environments: Mapping[str, Environment] = field(default_factory=dict[str, Environment])
    accept: tuple[str, ...] = ()
    placed: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    workers: Sequence[Worker] = ()
    drain_timeout: float = 30.0
    reread: Callable[[], HostSettings | list[str]] | None = None
    reload: bool = False
    profile: Path | None = None

    def executed(self) -> tuple[Any, ...]:
        """What of it says what is executed, and in what."""
        return self.sources, self.environments, self.accept, self.accept and self.placed

    def options(self, address: str) -> HostOptions:
        """What of it the core must know, and a session of its own."""
        return HostOptions(
            address=address,
            name=self.name or socket.gethostname() or "host",
            session=os.urandom(16),
            named=self.name is not None,
            slots=self.slots or {"": _processors()},
            serve=self.serve,
            refuse=self.not_,
            fixed=self.fixed,
            resources=self.resources,
            isolation=self.isolation,
            environments=self.environments,
            accept=self.accept,
            own=frozenset(self.sources),
            placed=self.placed,
            drain_timeout=self.drain_timeout,
            machine=socket.gethostname(),
            pid=os.getpid(),
        )


class _Signals:
    """What others wait for."""

    def __init__(self) -> None:
        self.joined = threading.Event()
        self.left = threading.Event()
        self.error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Drain:
    """Told by `Host.drain`."""

    timeout: float | None


@dataclass(frozen=True, slots=True)
class _Changed:
    """Told by the watch: files of the code have changed."""

    files: list[str]


@dataclass(frozen=True, slots=True)
class _Stop:
    """Told by `Host.stop`."""


class HostActor(pykka.ThreadingActor):
    """Carries news to the core and its effects back out. Decides nothing."""

    use_daemon_thread = True
    _create_actor_inbox = staticmethod(Mailbox)

    def __init__(self, settings: HostSettings, access: Access, signals: _Signals) -> None:
        super().__init__()
        self.settings, self.access, self.signals = settings, access, signals
        self.inbox: Mailbox = self.actor_inbox  # pyright: ignore[reportAttributeAccessIssue]  # made by the factory above
        self.core = HostCore(settings.options(access.address))
        self.link: PeerLink | None = None
        self.slots: dict[int, Slot] = {}
        self.ended: set[int] = set()  # slots that are gone, and not forgotten before this turn is over
        self.served = ServedCode()
        self.accepted: Mapping[str, Source] = {}
        self.verdicts = VerdictTable()
        self.verdicts_seen = 0
        self.levels = Subtree(MediaActor, self.verdicts, self._tell_self)
        self.watch_at = 0.0
        self.profile: Profile | None = None
        self.watch: CodeWatch | None = None
        self.garbage = 0
        self.garbage_said = 0.0
        self.perform: dict[type[HostEffect], Callable[[Any], None]] = {
            Connect: self._connect,
            Disconnect: self._disconnect,
            Spawn: self._spawn,
            Confine: lambda effect: self.slots[effect.slot].confine(effect.memory, effect.processes),
            Feed: lambda effect: self.slots[effect.slot].feed(effect.tasks),
            CancelSlot: lambda effect: self.slots[effect.slot].cancel(effect.id, effect.fence),
            Terminate: lambda effect: self.slots[effect.slot].terminate(),
            Kill: lambda effect: self.slots[effect.slot].kill(),
            Measure: lambda effect: self.slots[effect.slot].measure(effect.id, effect.fence, effect.enough),
            CloseSlot: lambda effect: self.slots[effect.slot].close(),
            Guide: lambda effect: self.levels.tell(effect.brief),
            Note: lambda effect: log.say(effect.level, effect.event, **effect.fields),
            Leave: self._leave,
            ReadAgain: self._read_again,
            LoadAnew: self._load_anew,
            Serve: lambda effect: self.served.serve(effect.slot),
        }

    def _tell_self(self, message: Any) -> None:
        with suppress(pykka.ActorDeadError):
            self.actor_ref.tell(message)

    # Life.

    def on_start(self) -> None:
        """Start the slots."""
        self._guarded(self._begin)

    def _begin(self, now: float) -> None:
        if self.settings.profile is not None:
            self.profile = Profile(self.settings.profile)
        if self.settings.reload:
            self.watch = CodeWatch(lambda files: self._tell_self(_Changed(files)))
            self.watch.add(code_files(self.settings.code))
        self.core.start(now)

    def on_receive(self, message: Any) -> None:
        """A batch of news, or a word from within this process."""
        if self.signals.left.is_set():
            return
        if isinstance(message, Batch):
            self._guarded(lambda now: self._news(message.items, now))
        elif isinstance(message, _Drain):
            self._guarded(lambda now: self.core.drain(now, message.timeout))
        elif isinstance(message, _Stop):
            self._guarded(self.core.stop)
        elif isinstance(message, _Changed):
            log.info("code_changed", files=message.files)
            self._guarded(self.core.reload)
        elif isinstance(message, Down):
            self._guarded(lambda now: self._watch_levels(lambda: self.levels.down(message), now))
        elif isinstance(message, Revive):
            self._guarded(lambda _: self.levels.revive(message))

    def on_stop(self) -> None:
        """Whatever still runs ends with the host."""
        self._end()

    def _guarded(self, change: Callable[[float], None]) -> None:
        """One turn: something changes, time has passed, what follows is done."""
        try:
            now = clock.now()
            if self.verdicts.version != self.verdicts_seen:
                self.verdicts_seen = self.verdicts.version
                self.core.verdicts = self.verdicts.copy()
            if now >= self.watch_at:
                self.watch_at = now + _WATCH_SECONDS
                self._watch_levels(self.levels.watch, now)
            change(now)
            self.core.tick(now)
            self._follow(now)
            while self.ended:  # what was decided about them before their end was heard, in this batch, is done by now
                self.slots.pop(self.ended.pop(), None)
            if self.core.joined():
                self.signals.joined.set()
            self.inbox.wake_at(None if self.core.expected == inf else self.core.expected)
        except BaseException as error:  # a SystemExit would stop every actor of this process
            with ExitStack() as duties:  # done whatever becomes of the words, the last one first
                duties.callback(self.stop)
                duties.callback(self._end)
                self.signals.error = WorkerHostError(f"the host failed: {error!r}")
                log.critical("host_failed", error=repr(error), exc_info=error)

    def _watch_levels(self, look: Callable[[], None], now: float) -> None:
        """Where restarting a level does not help, its failure is the host's: it finishes what it has and leaves.

        Whoever started the host begins anew with everything.
        """
        try:
            look()
        except Hopeless as error:
            if self.signals.error is None:
                self.signals.error = WorkerHostError(f"the host failed: {error}")
                self.core.drain(now)
                log.critical("host_hopeless", error=str(error))

    def _end(self) -> None:
        """Let go of everything, from the last line to the first: what fails of it keeps the rest from nothing."""
        with ExitStack() as duties:
            duties.callback(self.signals.left.set)
            if self.profile is not None:
                duties.callback(self.profile.end)
            duties.callback(self.levels.stop)
            duties.callback(self._disconnect, Disconnect())
            duties.callback(lambda: spawner().settle(_SETTLE_SECONDS_MAX))
            if self.watch is not None:
                duties.callback(self.watch.end)
            for slot in self.slots.values():
                duties.callback(slot.kill)

    # News.

    def _news(self, items: Iterable[Any], now: float) -> None:
        for item in items:
            if isinstance(item, SlotNews):
                self._slot_news(item, now)
            elif isinstance(item, Received) and item.link is self.link:
                try:
                    number, message = decode(item.body)
                except Malformed as error:
                    self._count_garbage(error, now)
                else:
                    if isinstance(message, Refused | Welcome):
                        self.access.heard(message)
                    self.core.on_message(number, message, now)
            elif isinstance(item, Denied) and item.link is self.link:
                self._denied()
                self.core.on_closed(now)
            elif isinstance(item, Closed) and item.link is self.link:
                self.core.on_closed(now)

    def _slot_news(self, news: SlotNews, now: float) -> None:
        if news.ready is not None:
            known = self.core.slots.slots.get(news.slot)
            if (kept := news.ready.pop("kept", None)) is not None and known is not None and not known.outdated:
                news.ready["other"] = not self.served.loaded(self.slots[news.slot], kept, fresh=known.fresh)
            if self.watch is not None:
                self.watch.add(news.ready.get("files", ()))
        self.core.on_slot(news, now)
        if news.exited is not None and news.slot not in self.core.slots.slots:
            self.served.ended(news.slot)
            self.ended.add(news.slot)

    def _denied(self) -> None:
        """Said once; it goes on trying, for an admin may trust its identity yet."""
        before = self.access.denials
        self.access.denied()
        if before == 0 and self.access.denials:
            found = UNKNOWN_HERE if self.access.guarded() else NO_IDENTITY
            log.warning("identity_not_admitted", address=self.access.address, reason=found)

    def _count_garbage(self, error: Malformed, now: float) -> None:
        self.garbage += 1
        if now - self.garbage_said >= 1.0:
            self.garbage_said = now
            log.warning("frame_dropped", reason=str(error), dropped=self.garbage)

    # Effects.

    def _follow(self, now: float) -> None:
        """Do what follows, and what follows from that."""
        while True:
            if not self._perform(self.core.take(now)):
                self.core.on_unsent(now)
            elif not self.core.effects:
                return

    def _perform(self, effects: list[HostEffect]) -> bool:
        """Do what the core asks for; False if the link did not take something, and then no more is said over it."""
        sent = True
        for effect in effects:
            if isinstance(effect, Say):
                if sent and self.link is not None:
                    message = effect.message
                    if isinstance(message, Hello):
                        message = self.access.greeting(message)
                    sent = self.link.send(encode(message, effect.number))
            else:
                sent = sent or isinstance(effect, Connect)
                self.perform[type(effect)](effect)
        return sent

    def _connect(self, effect: Connect) -> None:  # noqa: ARG002
        try:
            way = self.access.next()
            self.link = connect(way.address, self.inbox, way.credentials)
        except ConfigError as error:
            self.signals.error = error
            self.core.stop(clock.now())

    def _disconnect(self, effect: Disconnect) -> None:
        if self.link is not None:
            self.link.close(_FLUSH_SECONDS if effect.flush else 0.0)
            self.link = None

    def _spawn(self, effect: Spawn) -> None:
        spec = self._spec(effect)
        slot: Slot
        if spec.environment.isolation == "inline":
            slot = InlineSlot(effect.slot, spec, self.inbox, self.settings.workers)
        elif spec.environment.replaceable():
            slot = ProcessSlot(effect.slot, spec, self.inbox)
        else:
            slot = ThreadSlots(effect.slot, spec, self.inbox)
        self.slots[effect.slot] = slot
        slot.start()

    def _spec(self, effect: Spawn) -> SlotSpec:
        """What a slot runs: the sources of the types in its environment, and CODE where it can be needed."""
        settings, environments = self.settings, self.core.environments
        environment = effect.environment or environments.base
        known = {**self.accepted, **settings.sources}
        sources = {type: source for type, source in known.items() if environments.of(type) == environment}
        nodes = {"": environment == environments.base}
        nodes |= {node: own == environment for node, own in environments.nodes.items()}
        needed = any(here and node not in sources for node, here in nodes.items())
        code = settings.code if needed else ()
        kept = self.served.of(environment, fresh=effect.fresh)
        return SlotSpec(code, sources, settings.paths, environment, nodes, effect.width, settings.reload, kept)

    def _read_again(self, effect: ReadAgain) -> None:  # noqa: ARG002
        """What the host executes, its own configuration decides: see whether that says something else now."""
        settings = self.settings
        found = settings.reread() if settings.reread is not None else settings
        if isinstance(found, list):
            log.error("configuration_refused", problems=found)
        elif found.executed() != settings.executed():
            old, new = settings.sources, found.sources
            log.info("code_renewed", types=sorted(type for type in {*old, *new} if old.get(type) != new.get(type)))
            what = ("sources", "environments", "accept", "placed")
            self.settings = replace(settings, **{name: getattr(found, name) for name in what})
            self.core.on_code(self.settings.options(self.access.address), clock.now())

    def _load_anew(self, effect: LoadAnew) -> None:
        self.accepted = effect.sources
        self.served.clear()

    def _leave(self, effect: Leave) -> None:
        if effect.error is not None:
            self.signals.error = PoolRefused(effect.error)
            log.error("host_refused", reason=effect.error)
        else:
            log.info("host_left", name=self.core.name)
        self.stop()


class Host:
    """A running host, held by whoever started it."""

    def __init__(self, ref: pykka.ActorRef[HostActor], signals: _Signals) -> None:
        self._ref, self._signals = ref, signals

    @classmethod
    def start(cls, settings: HostSettings) -> Host:
        """Start a host. It looks for its supervisor for as long as it lives.

        Raises:
            ConfigError: This machine has no identity for it, or the invitation is broken.
            RuntimeError: The system lets this process have no further thread.
        """
        spawner()  # whose threads must not be what a host lacks later
        signals = _Signals()
        access = Access(settings.address, "host", Home.of(os.environ))
        return cls(HostActor.start(settings, access, signals), signals)

    @property
    def error(self) -> Exception | None:
        """Why it left by itself: `PoolRefused`, `ConfigError` (the address), or what failed; None if it was told to."""
        return self._signals.error

    def wait_joined(self, timeout: float | None = None) -> bool:
        """Wait until the supervisor has welcomed it; False after `timeout` seconds, or if it has left."""
        self._signals.joined.wait(timeout)
        return self._signals.joined.is_set() and not self._signals.left.is_set()

    def drain(self, timeout: float | None = None) -> None:
        """Tell it to finish what is in hand within `timeout` seconds (None: its `drain_timeout`) and leave."""
        self._tell(_Drain(timeout))

    def stop(self) -> None:
        """Tell it to leave now: what runs is killed and given back."""
        self._tell(_Stop())

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has left; False after `timeout` seconds."""
        return self._signals.left.wait(timeout)

    def is_alive(self) -> bool:
        """Whether it has not left."""
        return not self._signals.left.is_set()

    def _tell(self, message: Any) -> None:
        with suppress(pykka.ActorDeadError):
            self._ref.tell(message)


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
