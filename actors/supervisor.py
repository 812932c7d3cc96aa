"""The supervisor: one actor that is the queue's mailbox, its store's only user and its socket's only reader.

It carries messages to the core and the core's effects to the store and the socket, and decides nothing. A turn is one
transaction: what a batch changed is committed before anything is said. Actor, store and socket are one thing: an
unexpected error in a turn ends all three, and the next start goes on from the store, the same path as after a kill.
A full disk takes that path without the end: the core is forgotten, the ballast given up, and a new core goes on from
the store, to which every peer says HELLO again; nothing of the turn that failed was said.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pykka

from ..config.changes import changes
from ..transport import clock
from ..transport.addresses import reached_at
from ..transport.codec import Malformed, encode
from ..transport.keys import KeyPair
from ..transport.link import Closed, ServerLink, listen
from ..transport.mailbox import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Batch, Mailbox
from ..transport.messages import DEFAULT_ADDRESS, Refused, Reply
from ..workers.errors import ConfigError
from .answers import answer
from .core.access.arrivals import Arrivals
from .core.access.identities import Identity
from .core.clients.reloads import Configuration
from .core.effects import Answer, Backup, Note, Reread, Send
from .core.pool import Pool
from .core.settings import Keep, PoolSettings
from .disk import Disk
from .door import Door
from .log import Log
from .news import Reader, said
from .profile import Profile
from .stores.contract import Store, StoreBroken, StoreDamaged, StoreFull, StoreLocked
from .turn import Speech, perform

_START_GLANCE_SECONDS: Final = 60.0  # after that it is seen whether the actor lives at all
_STOP_SECONDS_MAX: Final = 10.0
_FLUSH_SECONDS: Final = 0.5
_ENDS_IN_MEMORY_MAX: Final = 100_000
_NO_ROOM_SECONDS: Final = 1.0
_EPOCHS_IN_MEMORY: Final = 1 << 22
"""A queue in memory begins somewhere from here on, below twice as much (a fence has no room for more). It knows of none
before it, and must not be taken for one: its numbers of tasks are given again, and with its epoch so would fences be.
"""
_WORK_SECONDS: Final = 0.002  # of a check or a backup at a time, so that no turn waits long
_WORK_PAUSE_SECONDS: Final = 0.007

log = Log("supervisor")


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """What a supervisor is started with.

    Attributes:
        address: Where it listens; port 0 takes a free one.
        database: The queue's file itself, no link to it; None keeps the queue in memory.
        durability: `full` or `relaxed` (see the store).
        pool: What its core must know; what only the supervisor can say it adds itself.
        profile: A file for the profile of the actor's thread; None: no profile.
        document: The whole configuration as plain data, to say what has changed when it is read again.
        reread: Reads it again: the settings, or all that is wrong; None: there is no file.
        pair: Its identity: who connects must then have one that the pool knows; None: it stays on this machine.
        trusted: Identities of this machine, known from the start on.
        insecure: It listens beyond this machine without identities, because somebody wants that.
        on_failure: Called, in the actor's thread, with the error that ended it.
    """

    address: str = DEFAULT_ADDRESS
    database: Path | None = None
    durability: str = "full"
    pool: PoolSettings = field(default_factory=PoolSettings)
    profile: Path | None = None
    document: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reread: Callable[[], SupervisorSettings | list[str]] | None = None
    pair: KeyPair | None = None
    trusted: tuple[Identity, ...] = ()
    insecure: bool = False
    on_failure: Callable[[BaseException], None] | None = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """Asked once by `Supervisor.start`: the address, or the error that kept it from starting."""


@dataclass(frozen=True, slots=True)
class _Copied:
    """Posted when a copy of the database has ended: news for the pool that asked for it, and for none after that."""

    pool: Pool
    fault: str | None
    bytes: int


class SupervisorActor(pykka.ThreadingActor):
    """Carries messages to the pool and its effects back out. Decides nothing."""

    use_daemon_thread = True
    _create_actor_inbox = staticmethod(Mailbox)

    def __init__(self, settings: SupervisorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.inbox: Mailbox = self.actor_inbox  # pyright: ignore[reportAttributeAccessIssue]  # made by the factory above
        self.store: Store = _store(settings)
        self.disk: Disk | None = None
        self.pool: Pool | None = None
        self.link: ServerLink | None = None
        self.door: Door | None = None  # of a pool that others can reach
        self.failure: BaseException | None = None
        self.profile: Profile | None = None
        self.arrivals = Arrivals(self._role_of, self._is_ignored, Reader(self._wrote).read)
        self.work_time: float | None = None  # when to go on with what goes on between turns
        self.try_time = 0.0  # without a pool, because there is no room: when to look again

    # Life.

    def on_start(self) -> None:
        """Open the store, go on from it, then listen: nobody is answered before the queue is known."""
        if self.settings.profile is not None:
            self.profile = Profile(self.settings.profile)
        try:
            if self.settings.database is not None and self.settings.database.absolute().parent.is_dir():
                self.disk = Disk(self.settings.database)
            try:
                pool = self._go_on()
            except StoreFull:
                if self.disk is None:
                    raise
                self.disk.give_way(clock.now())
                self._forget()
                pool = self._go_on()
            if self.settings.pair is not None:
                self.door = Door(lambda: self.pool, self.settings.pair, lambda: self.inbox.post(None))
            self.link = listen(self.settings.address, self.inbox, self.door, insecure=self.settings.insecure)
            address = self.link.address
            pool.settings.about.update(address=address, reached_at=self._reached_at(address))
            log.info(
                "supervisor_started",
                address=self.link.address,
                database=str(self.settings.database or "memory"),
                epoch=pool.sessions.epoch,
                unfinished=pool.queue.unfinished_count,
                running=len(pool.queue.leases),
            )
        except BaseException as error:  # told to whoever starts us, by `_Ready`
            self.failure = error
            with contextlib.suppress(Exception):  # that would be told in its place
                self._close()

    def on_receive(self, message: Any) -> Any:
        """A batch of news, or the question whether the start went well."""
        if isinstance(message, _Ready):
            return self.failure or (self.link.address if self.link else "")
        if not isinstance(message, Batch) or self.failure is not None:
            return None
        try:
            self._batch(message.items)
        except BaseException as error:
            self.failure = error
            with contextlib.ExitStack() as duties:  # done whatever becomes of the words, the last one first
                duties.callback(self.stop)
                if self.settings.on_failure is not None:
                    duties.callback(self.settings.on_failure, error)
                duties.callback(self._close)
                # What a store says is written for people; where it was raised is of no use to them.
                known = isinstance(error, StoreBroken)
                said = {"error": str(error)} if known else {"error": repr(error), "exc_info": error}
                log.critical("supervisor_failed", **said)
        return None

    def on_stop(self) -> None:
        """Everything said so far is on disk; hosts work on and look for the next supervisor."""
        with contextlib.ExitStack() as duties:
            duties.callback(self._close)
            if self.failure is None and self.pool is not None and self.link is not None:
                leaving = encode(Refused("leaving", "the supervisor leaves"), 0)
                for address in self.pool.sessions.peers:
                    self.link.send(address, leaving)
                log.info("supervisor_stopped", unfinished=self.pool.queue.unfinished_count)

    def _close(self) -> None:
        with contextlib.ExitStack() as duties:
            if self.profile is not None:
                duties.callback(self.profile.end)
            if self.pool is not None:
                duties.callback(self._forget)
            if self.link is not None:
                link, self.link = self.link, None
                duties.callback(link.close, _FLUSH_SECONDS)

    def _go_on(self) -> Pool:
        """Open the store and go on from it.

        Raises:
            StoreFull: There is not even room for that.
        """
        boot = clock.boot()
        opening = self.store.open(boot)
        if opening.copy is not None:
            log.info("database_migrated", database=str(self.settings.database), copy=opening.copy)
        now, wall = clock.now(), clock.wall()
        address = self.link.address if self.link else self.settings.address
        self.pool = pool = Pool(self._pool_settings(address), opening, now, wall, boot)
        self._look_at_disk(pool, now, wall)
        self._speak(perform(pool, self.store, pool.trust(self.settings.trusted, now, wall), now, wall))
        self._speak(perform(pool, self.store, pool.start(now, wall), now, wall))
        self.work_time, self.try_time = now, 0.0
        self.inbox.wake_at(now)
        return pool

    def _make_room(self, error: StoreFull) -> None:
        """Nothing of the turn was kept or said. Forget it, give up the ballast, and go on from the store."""
        now = clock.now()
        if self.disk is not None:
            self.disk.give_way(now)
        self._forget()
        if not self.try_time:
            log.error("disk_full", error=str(error))  # by now there may be room for it
        try:
            self._go_on()
        except StoreFull:
            # Peers hear nothing, as if the supervisor were away: hosts work on, clients send again.
            self._forget()
            self.try_time = now + _NO_ROOM_SECONDS
            self.inbox.wake_at(self.try_time)

    def _forget(self) -> None:
        self.pool = None
        self.arrivals.clear()
        with contextlib.suppress(StoreBroken):  # why it is closed is known, or there is no room for a last word
            self.store.close()

    def _look_at_disk(self, pool: Pool, now: float, wall: float) -> None:
        free = self.disk.look(now) if self.disk is not None else None
        if free is not None:
            self._speak(perform(pool, self.store, pool.disk(free, now, wall), now, wall))

    def _reached_at(self, address: str) -> list[str]:
        beyond = self.settings.pair is not None or self.settings.insecure
        return reached_at(address, _interfaces()) if beyond else []

    def _pool_settings(self, address: str) -> PoolSettings:
        settings = self.settings
        return replace(
            settings.pool,
            about={
                "address": address,
                "machine": socket.gethostname(),
                "pid": os.getpid(),
                "version": _version(),
                "durable": self.store.durable,
                "durability": settings.durability if self.store.durable else "none",
                "database": str(settings.database) if settings.database else "memory",
                "backup": None,
                "public_key": settings.pair.public if settings.pair else None,
                "reached_at": self._reached_at(address),
                "secured": "insecure" if settings.insecure else "identities" if settings.pair else "this machine only",
            },
            keep=_bounded(settings.pool.keep) if settings.database is None else settings.pool.keep,
            durable=self.store.durable,
            guarded=settings.pair is not None,
            disk_reserve=self.disk.reserve if self.disk is not None else 0,
        )

    # A turn.

    def _batch(self, items: list[Any]) -> None:
        """Take a turn. Without a pool, see whether there is room by now; what arrived is lost: nobody was here."""
        try:
            if self.pool is not None:
                self._turn(self.pool, items)
            elif clock.now() >= self.try_time:
                self._go_on()
        except StoreFull as error:
            self._make_room(error)

    def _role_of(self, peer: bytes) -> str:
        known = self.pool.sessions.peers.get(peer) if self.pool is not None else None
        return known.role if known is not None else ""

    def _is_ignored(self, peer: bytes) -> bool:
        return self.pool is not None and self.pool.gate.ignores(peer, clock.now())

    def _wrote(self, size: int) -> None:
        if self.disk is not None:
            self.disk.wrote(size)

    def _turn(self, pool: Pool, items: list[Any]) -> None:
        now, wall = clock.now(), clock.wall()
        size = self.arrivals.add(said(items))
        news = self.arrivals.take(now)
        if self.door is not None and (away := self.door.turned_away()) is not None:
            news.insert(0, (b"", 0, away))
        more = len(items) >= BATCH_ITEMS_MAX or size >= BATCH_BYTES_MAX
        self._look_at_disk(pool, now, wall)
        effects = pool.handle(news, now, wall, more=more, waiting=self.arrivals.waiting())
        self._speak(perform(pool, self.store, effects, now, wall))
        for item in items:
            if isinstance(item, _Copied) and item.pool is pool:
                pool.settings.about["backup"] = None
                self._speak(perform(pool, self.store, pool.backed_up(item.fault, item.bytes, now, wall), now, wall))
            elif isinstance(item, Reread):
                self._speak(perform(pool, self.store, pool.reread(self._reread(), now, wall), now, wall))
        self._work(pool)
        self.arrivals.ended(clock.now())
        wake = pool.next_time(now)  # of the turn's own time, so that a turn that was too long shows as a stall
        if (due := self.arrivals.next_time()) is not None:
            wake = min(wake, due)
            if not due:
                self.inbox.post(None)  # what comes meanwhile joins what waits
        self.inbox.wake_at(wake if self.work_time is None else min(wake, self.work_time))

    def _reread(self) -> Configuration | list[str]:
        """Read the configuration again; it counts from now on, also for a core that has to go on from the store."""
        settings = self.settings
        if settings.reread is None:
            return ["this supervisor was started without a configuration file"]
        found = settings.reread()
        if isinstance(found, list):
            return found
        self.settings = replace(settings, pool=settings.pool.taking_over(found.pool), document=found.document)
        return Configuration(found.pool, changes(settings.document, found.document))

    def _work(self, pool: Pool) -> None:
        """A part of what goes on between turns: a check, a backup."""
        if self.work_time is None or clock.now() < self.work_time:
            return
        more = self.store.work(_WORK_SECONDS)
        self.work_time = clock.now() + _WORK_PAUSE_SECONDS if more else None
        if (backup := pool.settings.about["backup"]) is not None:
            backup["copied"] = self.store.copied() or backup["copied"]

    def _back_up(self, pool: Pool, wanted: str) -> None:
        """Begin a copy of the database; a relative path starts at the database's folder."""
        try:
            path = Path(self.settings.database.parent if self.settings.database else Path(), wanted).absolute()
            self.store.back_up(path, lambda ended: self.inbox.post(_Copied(pool, ended.fault, ended.bytes)))
        except (StoreBroken, OSError) as error:
            self.inbox.post(_Copied(pool, str(error), 0))
            return
        pool.settings.about["backup"] = {"path": wanted, "copied": 0.0}
        self.work_time = clock.now()

    def _speak(self, speech: Iterable[Speech]) -> None:
        link = self.link
        for effect in speech:
            if isinstance(effect, Note):
                log.say(effect.level, effect.event, **effect.fields)
                continue
            if isinstance(effect, Reread):
                self.inbox.post(effect)
                continue
            if isinstance(effect, Backup):
                if self.pool is not None:
                    self._back_up(self.pool, effect.path)
                continue
            if link is None:
                continue
            body = self._body(effect)
            if body is None or not link.send(effect.peer, body):
                # The peer is gone, reads too slowly, or misses a message: it will see the gap and say HELLO again.
                self.inbox.post(Closed(link, effect.peer))

    def _body(self, effect: Send | Answer) -> bytes | None:
        """The frame of a message, or None for one that cannot be said: nobody else is hurt by that."""
        message = effect.message if isinstance(effect, Send) else answer(self.store, effect)
        try:
            return encode(message, effect.number)
        except (Malformed, OverflowError, TypeError, ValueError) as error:
            log.error("message_unsayable", kind=type(message).__name__, error=str(error)[:300])
        if isinstance(message, Reply):
            reason = "the answer is too large for one message; ask for less"
            return encode(Reply(message.request, False, {"code": "too_large", "reason": reason}), effect.number)
        return None


class Supervisor:
    """A running supervisor, held by whoever started it.

    Attributes:
        address: Where it listens, with the real port.
    """

    def __init__(self, ref: pykka.ActorRef[SupervisorActor], address: str) -> None:
        self._ref = ref
        self.address = address

    @classmethod
    def start(cls, settings: SupervisorSettings) -> Supervisor:
        """Start a supervisor and wait until it serves, however long that takes.

        Raises:
            ConfigError: The database is locked, broken or cannot be written, or the address cannot be used.
            StoreDamaged: The database is damaged, or its disk is.
        """
        ref = SupervisorActor.start(settings)
        told: Any = None
        while told is None:
            with contextlib.suppress(pykka.Timeout):  # a large queue may be copied and migrated: that takes its time
                told = ref.ask(_Ready(), timeout=_START_GLANCE_SECONDS)
        if isinstance(told, BaseException):
            ref.stop(block=True, timeout=_STOP_SECONDS_MAX)
            if isinstance(told, StoreLocked | StoreBroken | OSError) and not isinstance(told, StoreDamaged):
                raise ConfigError(str(told)) from told
            raise told
        return cls(ref, told)

    def stop(self) -> None:
        """Commit, say goodbye and end; returns when it has, or, as if it were killed, when a turn takes too long."""
        if not self._ref.is_alive():
            return
        try:
            self._ref.stop(block=True, timeout=_STOP_SECONDS_MAX)
        except pykka.Timeout:
            log.error("supervisor_stuck", seconds=_STOP_SECONDS_MAX)

    def reload(self) -> None:
        """Have it read its configuration again; what comes of that is in the log."""
        if self._ref.is_alive():
            inbox: Any = self._ref.actor_inbox
            inbox.post(Reread())

    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._ref.is_alive()


def _store(settings: SupervisorSettings) -> Store:
    if settings.database is None:
        from .stores.memory import MemoryStore

        return MemoryStore(settings.pool.ageing, _EPOCHS_IN_MEMORY + secrets.randbelow(_EPOCHS_IN_MEMORY - 1))
    from .stores.sqlite import SqliteStore

    return SqliteStore(settings.database, durability=settings.durability, ageing=settings.pool.ageing)


def _bounded(keep: Keep) -> Keep:
    """Of a queue in memory: what is kept of its past is memory too."""
    return keep if keep.count is not None else replace(keep, count=_ENDS_IN_MEMORY_MAX)


def _interfaces() -> list[tuple[str, str]]:
    """This machine's interfaces, each with one IP address of it."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    found = psutil.net_if_addrs().items()
    return [(name, one.address) for name, addresses in found for one in addresses if one.family in families]


def _version() -> str:
    try:
        return version("workerhost")
    except PackageNotFoundError:  # run from a checkout that is on sys.path, not installed
        return "unknown"
