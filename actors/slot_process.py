"""A slot that is a child process: starting it, feeding it, hearing of it, ending it. No thread of its own.

The actor's mailbox watches one file descriptor per slot: a selector over the child's socket, its output and its death.
"""

from __future__ import annotations

import mmap
import os
import secrets
import selectors
import signal
import socket
import tempfile
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs] -- it ships none

from ..config.sizes import size_text
from ..transport.mailbox import Mailbox
from ..workers.errors import ConfigError
from ..workers.processes import Family, end_marked, marks
from ..workers.removal import remove
from ..workers.slots import WORD
from . import open_files, slot_cgroup, slot_child
from .slot_exit import exit_of, never_started, said, wait
from .slot_figures import Gauge, measure, oom_kills
from .slot_frames import Frames, ProtocolError
from .slot_news import SlotNews, SlotSpec, SlotTask
from .slot_output import Output
from .slot_spawner import MARK, spawner
from .slot_start import Child, start_child, temporary_folder

msgpack: Any = _untyped

_READ_BYTES: Final = 256 * 1024
_READS_MAX: Final = 4
"""Reads of one source in a turn of the actor; what is left stays readable, and others get their turn."""


_TOLD_BYTES: Final = 64 * 1024
"""Where an attempt runs under limits, whenever it has written so much more its host is told."""


class _Descriptor(Protocol):
    """The selectors of Linux and macOS are files themselves, which others can watch."""

    def fileno(self) -> int: ...


class ProcessSlot:
    """One child process that runs one task at a time. See `slot_news.Slot`."""

    def __init__(self, number: int, spec: SlotSpec, mailbox: Mailbox) -> None:
        self.number, self.spec = number, spec
        self._threads = 1
        self._mailbox = mailbox
        self._mark = f"{_prefix()}{os.getpid()}-{secrets.token_hex(8)}"
        self._folder = ""
        self._pid = 0
        self._starting: Future[Child] | None = None
        self._alive = False
        self._ready = False
        self._stopped = self._closing = False
        self._introduced = False  # whether all of INIT was sent
        self._fault = self._last_line = ""
        self._unsent: list[bytes] = []
        self._written = self._told = self._oom_kills = 0
        self._measured = (0, 0)  # whom the last figures were about
        self._gauge = Gauge()
        self._group: slot_cgroup.Group | None = None
        self._bounds = (inf, inf)
        self._frames, self._output = Frames(), Output()
        self._selector: selectors.BaseSelector
        self._control: socket.socket
        self._output_number = self._exit_number = -1
        self._word: mmap.mmap

    @property
    def pid(self) -> int:
        """The child's process id, 0 before it is there."""
        return self._pid

    def start(self) -> None:
        """Have the child started; `ready` follows, or `exited`. Until it is there, what it is sent waits."""
        try:
            self._folder = str(Path(temporary_folder(), self._mark))
            self._unsent = [_packed([slot_child.INIT, self._settings()])]
            _sweep()
            environment, threads, mark = self.spec.environment, self._threads, self._mark
            self._starting = spawner().start(
                lambda undo: start_child(undo, environment, threads, mark), environment.python
            )
        except Exception as error:
            self._mailbox.post(SlotNews(self.number, exited=never_started(error)))
        else:
            self._starting.add_done_callback(lambda _: self._mailbox.ring(self._begin))

    def _begin(self) -> list[SlotNews]:
        """The child was started, or will never be, for the mailbox."""
        starting, self._starting = self._starting, None
        if starting is None:  # it is known already
            return []
        try:
            child = starting.result()
        except Exception as error:
            self._unsent.clear()
            return [SlotNews(self.number, exited=never_started(error))]
        self._pid, self._control, self._output_number, self._exit_number, self._word, self._selector = child
        self._mailbox.attach(cast("_Descriptor", self._selector).fileno(), self._drain)
        self._alive = True
        self._oom_kills = oom_kills()
        if slot_cgroup.in_use() is not None:  # from its beginning, so that nothing is missing from the account
            self._group = self._grouped()
        self._send_rest()
        if self._stopped:
            self.close()
        return []

    def _begin_or_give_up(self) -> None:
        """Before it is killed: if the child is not there yet, nobody waits for it any more, and it ends as it comes."""
        if self._starting is not None:
            self._starting.cancel()
            for news in self._begin():
                self._mailbox.post(news)

    def _settings(self) -> dict[str, Any]:
        """What the child is told first."""
        spec = self.spec
        return {
            "number": self.number,
            "code": spec.code,
            "sources": spec.sources,
            "paths": spec.paths,
            "threads": self._threads,
            "nodes": spec.nodes,
            "watched": spec.watched,
            "kept": spec.kept,
            "concurrency": spec.environment.concurrency,
            "folder": self._folder,
            "open_files": open_files.limit_before(),
        }

    def feed(self, tasks: list[SlotTask]) -> None:
        """Hand over tasks, in order. Before `ready` they wait; after `exited` nothing happens."""
        self._send(_packed([slot_child.TASKS, tasks]))

    def cancel(self, id: int, fence: int) -> None:
        """Ask one task to end, see `slot_news.Slot`."""
        self._send(_packed([slot_child.CANCEL, id, fence]))

    def terminate(self) -> None:
        """SIGTERM to the process group."""
        self._stopped = True
        self._begin_or_give_up()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the process group, and to what has left it."""
        self._stopped = True
        self._begin_or_give_up()
        self._signal(signal.SIGKILL)
        if self._alive:
            if self._group is not None:
                self._group.kill()
            spawner().end(self._mark)

    def confine(self, memory: float, processes: float) -> None:
        """Have the kernel see to it, where it lets us, see `slot_news.Slot`."""
        self._bounds = (memory, processes)
        if self._alive and self._ready:  # until then it loads its code, which no attempt is to blame for
            self._keep_bounds()

    def _keep_bounds(self) -> None:
        self._group = self._group or self._grouped()
        if self._group is not None:
            self._group.bound(*self._bounds)

    def _grouped(self) -> slot_cgroup.Group | None:
        """A group for the process and what there is below it."""
        first = slot_cgroup.in_use() is None
        groups = slot_cgroup.own()
        if groups is None:
            return None
        if first:
            spawner().clean(lambda: groups.sweep(_is_orphan))
        group = groups.make(self._mark)
        if group is not None:
            group.add([self._pid, *(one.pid for one in Family().below(self._pid))])
        return group

    def measure(self, id: int, fence: int, enough: float) -> None:
        """Tell what the process and all below it use, see `slot_news.Slot`."""
        asked = (id, fence)
        if not self._alive:
            return
        if asked == self._measured:
            self._gauge.look(self._pid, enough, partial(self._tell, asked))
        elif (figures := measure(self._pid, inf)) is not None:  # before it begins, for what counts from there
            self._measured = asked
            self._mailbox.post(SlotNews(self.number, usage=self._usage(**{**figures, "memory": 0})))

    def _tell(self, asked: tuple[int, int], figures: dict[str, Any]) -> None:
        """In the thread that looked: all else is for the actor's."""
        self._mailbox.ring(lambda: self._looked(asked, figures))

    def _looked(self, asked: tuple[int, int], figures: dict[str, Any]) -> list[SlotNews]:
        """Figures have come, for the mailbox. The attempt, or the process, may be another one by now."""
        if self._alive and asked == self._measured:
            return [SlotNews(self.number, usage=self._usage(**figures))]
        return []

    def _usage(self, memory: int = 0, processes: int = 0, cpu: float = 0.0) -> dict[str, Any]:
        """`core.host.consumption.Usage`, with what was written and refused until now."""
        self._told = self._written
        id, fence = self._measured
        usage = {"id": id, "fence": fence, "memory": memory, "processes": processes, "cpu": cpu}
        return {**usage, "output": self._written, "refused": self._group.refused() if self._group is not None else 0}

    def close(self) -> None:
        """Let it end; what it has not begun is not run, and a task that runs is killed."""
        self._stopped = self._closing = True
        del self._unsent[0 if self._introduced else 1 :]  # it still says what it can run
        if self._alive:
            self._send_rest()

    def _drain(self) -> list[SlotNews]:
        """What has happened, for the mailbox."""
        news = SlotNews(self.number)
        dead = False
        for key, events in self._selector.select(0):
            if key.fileobj is self._control:
                if events & selectors.EVENT_WRITE:
                    self._send_rest()
                if events & selectors.EVENT_READ and self._read_control(news):
                    dead = self._exit_number < 0
            elif key.fd == self._output_number:
                self._read_output(news)
            else:
                dead = True
        if news.results or news.returned:
            news.lines += self._output.ended([item[0] for item in (*news.results, *news.returned)])
        if self._measured[0] and (self._written - self._told > _TOLD_BYTES or self._was_refused(news)):
            news.usage = self._usage()
        if dead:
            self._bury(news)
        elif news.ready is not None and self._bounds != (inf, inf):
            self._keep_bounds()
        self._ready = self._ready or news.ready is not None
        empty = not (
            news.results
            or news.progress
            or news.checkpoints
            or news.returned
            or news.lines
            or news.ready
            or news.exited
            or news.usage
            or news.worn
        )
        return [] if empty else [news]

    def _was_refused(self, news: SlotNews) -> bool:
        """Whether the attempt that has just ended was refused processes: that is told before its result."""
        ended = [tuple(item[:2]) for item in news.results] if self._group is not None else []
        return self._group is not None and ended == [self._measured] and self._group.refused() > 0

    def _read_control(self, news: SlotNews) -> bool:
        """Read the socket; True when it is at its end, which is also the end of the child."""
        try:
            for _ in range(_READS_MAX):
                data = self._control.recv(_READ_BYTES)
                if not data:
                    return self._lose_control()
                self._frames.feed(data, news)
                if len(data) < _READ_BYTES:
                    break
        except BlockingIOError:
            return False
        except ProtocolError as error:
            self._fault = f"its process did not keep the protocol: {error}"
            return self._lose_control()
        except OSError:  # the child died with something of ours unread
            return self._lose_control()
        return False

    def _lose_control(self) -> bool:
        self._signal(signal.SIGKILL)
        self._selector.unregister(self._control)
        return True

    def _read_output(self, news: SlotNews) -> bool:
        """Read stdout and stderr; True when there is more."""
        running = next((id for id, _ in self._started()), 0)
        for _ in range(_READS_MAX):
            try:
                data = os.read(self._output_number, _READ_BYTES)
            except BlockingIOError:
                return False
            if not data:
                with suppress(KeyError):
                    self._selector.unregister(self._output_number)
                return False
            self._written += len(data)
            news.lines += self._output.feed(data, running, monotonic())
            if not self._ready and news.lines:
                self._last_line = news.lines[-1][1]
        return True

    def _send(self, frame: bytes) -> None:
        if (self._alive or self._starting is not None) and not self._closing:
            self._unsent.append(frame)
            if self._alive and len(self._unsent) == 1:
                self._send_rest()

    def _send_rest(self) -> None:
        """Write what fits; the selector tells when there is room for the rest."""
        try:
            while self._unsent:
                data = self._unsent[0]
                count = self._control.send(data)
                if count < len(data):
                    self._unsent[0] = data[count:]
                else:
                    del self._unsent[0]
                    self._introduced = True
            if self._closing:
                self._control.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # it died; its death is on the way
            self._unsent.clear()
        with suppress(KeyError):
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
            if self._selector.get_key(self._control).events != wanted:
                self._selector.modify(self._control, wanted)

    def _signal(self, number: signal.Signals) -> None:
        """To the whole group. Until the child is buried its id is its own, and so is the group's."""
        if self._alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def _started(self) -> list[tuple[int, int]]:
        """What runs, by the child's own notes."""
        words = [WORD.unpack_from(self._word, n * WORD.size) for n in range(self._threads)]
        return [(id, fence) for id, fence in words if id]

    def _bury(self, news: SlotNews) -> None:
        """The child is dead: take its last words, its leftovers and its status."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RD)  # a copy of it may hold the other end: what is there now is all
        while not self._fault and self._has_more(news):
            pass
        self._signal(signal.SIGKILL)  # what it started and left behind
        for _ in range(64):  # a program that it left behind could write for ever
            if not self._read_output(news):
                break
        news.lines += self._output.rest()
        self._mailbox.detach(cast("_Descriptor", self._selector).fileno())
        status, memory = wait(self._pid)
        self._alive = False
        started = [list(pair) for pair in self._started()]
        news.exited = {
            **exit_of(status),
            "cause": self._cause(self._ready or news.ready is not None),
            "started": started,
            "memory": memory,
        }
        news.exited["message"] = self._fault or said(news.exited)
        if (news.exited["cause"], news.exited["signal"]) == ("crash", signal.SIGKILL) and (
            killed := self._oom_killed()
        ):
            news.exited["cause"] = "oom"
            news.exited["message"] += killed
        if news.exited["cause"] == "start_failed" and self._last_line:
            news.exited["message"] += f", and said: {self._last_line}"
        self._selector.close()
        self._control.close()
        os.close(self._output_number)
        if self._exit_number >= 0:
            os.close(self._exit_number)
        self._word.close()
        spawner().end(self._mark)
        spawner().remove(self._folder)
        if self._group is not None:
            self._group.remove_by(spawner().later, spawner().clean)

    def _oom_killed(self) -> str:
        """What to say if it was the kernel that killed the process, for want of memory; "": that is not known."""
        if self._group is not None and (limit := self._group.memory_ended()):
            return f": it was out of memory; its limit is {size_text(limit)}"
        if oom_kills() > self._oom_kills:
            return ", most likely by the kernel: it ran out of memory and killed processes meanwhile"
        return ""

    def _has_more(self, news: SlotNews) -> bool:
        """Read on in the socket of a dead child until its end."""
        return self._control in self._selector.get_map() and not self._read_control(news)

    def _cause(self, ready: bool) -> str:
        if self._fault:
            return "protocol_error"
        if self._stopped:
            return "stopped"
        return "crash" if ready else "start_failed"


class ThreadSlots(ProcessSlot):
    """One child with `spec.threads` threads, each of which runs one task at a time; `number` is that of the whole."""

    def __init__(self, number: int, spec: SlotSpec, mailbox: Mailbox) -> None:
        super().__init__(number, spec, mailbox)
        self._threads = spec.threads


def _packed(frame: list[Any]) -> bytes:
    """A frame as it travels.

    Raises:
        ConfigError: A name in it is not UTF-8.
    """
    try:
        body: bytes = msgpack.packb(frame)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{error.object!r} is not UTF-8: give that file or folder another name") from error
    return slot_child.HEADER.pack(len(body)) + body


def _prefix() -> str:
    """Before the process id in marks and folders' names: process ids mean something only within one namespace."""
    try:
        return f"workerhost-{Path('/proc/self/ns/pid').stat().st_ino}-"
    except OSError:
        return "workerhost-0-"


@cache
def _sweep() -> None:
    """Once per process: end and remove what hosts of the same user left behind that were killed."""
    spawner().clean(_sweep_now)


def _sweep_now() -> None:
    for mark in marks(MARK):
        if _is_orphan(mark.decode("utf-8", "replace")):
            end_marked(MARK, {mark})
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        with suppress(OSError):
            if _is_orphan(folder.name) and folder.stat().st_uid == os.getuid():
                remove(str(folder))


def _is_orphan(mark: str) -> bool:
    """Whether the host that a mark or a folder's name tells of is gone."""
    number = mark.removeprefix(_prefix()).partition("-")[0]
    return mark.startswith(_prefix()) and number.isdigit() and not _exists(int(number))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
