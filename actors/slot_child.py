"""The process in which tasks run: a file run by path with `python -I`, for isolation `process` and `thread`.

It dies with its host, reads tasks from a private socket, runs them in its main thread (or in several) and writes what
became of them. stdout and stderr are a pipe to its host. It imports nothing of ours before it has told the system that
it belongs to its host, and then only `workers`, from the folder that this file lies in. Python 3.9 suffices here.

Frames in both directions: length (4 bytes, little-endian), then a msgpack array `[kind, ...]`.
"""

from __future__ import annotations

import faulthandler
import io
import os
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..workers.leftovers import Leftovers
    from ..workers.slots import Slots
    from ..workers.wear import Wear

INIT: Final = 1  # host -> child, first: [1, {number, code, sources, paths, nodes, threads, concurrency, ...}]
TASKS: Final = 2  # host -> child: [2, [SlotTask, ...]]
CANCEL: Final = 3  # host -> child: [3, id, fence]
READY: Final = 4  # child -> host, once: [4, offer]
WORN: Final = 6  # child -> host, once: [6, why it should be replaced]
NEWS: Final = 5  # child -> host: [5, progress, results, returned, checkpoints]

HEADER: Final = struct.Struct("<I")
OUTPUT_MARK: Final = b"\x1e"
OUTPUT_MARK_END: Final = b"\x1f"
"""Before what a task writes: mark, its id in decimal, end of mark. What has no mark comes from below Python."""

_READ_BYTES: Final = 256 * 1024
_LEAVE_SECONDS: Final = 2.0
_QUICK_SECONDS: Final = 0.0001
"""No process can be started in less: a task that took no longer has left none."""


def main(arguments: list[str]) -> int:
    """Run tasks until the host closes the socket or says so with a signal.

    Args:
        arguments: The numbers of: the control socket, the file of words, the host's process; then the folder of the
            host's msgpack, or "" to use one's own.
    """
    check_python()
    control_number, word_number, host = (int(argument) for argument in arguments[:3])
    os.set_inheritable(control_number, False)  # pass_fds made it inheritable; a task's own children must not hold it
    _belong_to(host)
    faulthandler.enable()
    control = socket.socket(fileno=control_number)
    output = _capture_output()
    find_package()
    if arguments[3]:
        borrow_msgpack(arguments[3])
    return _Child(control, output).run(word_number)


class _Child:
    """The two ends of the work: the reader thread and the slots."""

    def __init__(self, control: socket.socket, output: list[_Output]) -> None:
        from workerhost.workers.values import msgpack

        self._pack, self._unpack = msgpack.packb, msgpack.unpackb
        self._control, self._output = control, output
        self._streams = (sys.stdout, sys.stderr)
        self._buffer = bytearray()
        self._nudged, self._nudge_in = os.pipe()
        self._terminated = False
        self._forked = False
        self._slots: Slots
        self._leftovers: Leftovers | None = None
        self._wear: Wear | None = None
        self._stopped: type[BaseException]

    def run(self, word_number: int) -> int:
        """Load the workers, say so, and work."""
        import mmap

        from workerhost.workers import leftovers, registry, runner, slots
        from workerhost.workers.source import Source

        frames: list[Any] = []
        while not frames:
            frames = self._receive()
        settings: dict[str, Any] = frames.pop(0)[1]
        _allow_files(settings["open_files"])
        threads: int = settings["threads"]
        concurrency: int = settings["concurrency"]
        word = mmap.mmap(word_number, slots.WORD.size * threads)
        os.close(word_number)
        if threads == 1 and concurrency == 1:  # of several, nobody could say whose it is
            begun: Any = leftovers.Leftovers()
            self._leftovers = begun
        if settings["kept"]:
            from workerhost.workers import kept_code

            kept_code.use(settings["kept"])
        os.register_at_fork(after_in_child=self._part)  # a module may make copies while it is imported
        sources = {type: Source(*parts) for type, parts in settings["sources"].items()}
        offer = registry.load_all(settings["code"], sources, settings["paths"], guarded=True)
        offer.keep(settings["nodes"])
        kind: Any = slots.Slots
        if concurrency > 1:
            from workerhost.workers import loop_slots

            loop_slots.keep_async(offer, concurrency)
            kind = loop_slots.LoopSlots
        made: Any = kind(
            offer,
            settings["number"],
            self._emit,
            self._nudge,
            count=threads,
            word=word,
            folder=settings["folder"],
            interrupts=threads == 1 and concurrency == 1,
            after=self._clean_up,
            settled=self._settle,
        )
        self._slots = made
        os.register_at_fork(after_in_child=made.part)
        ready: list[Any] = [READY, made.offer()]
        if self._forked:
            os._exit(0)  # a copy came out of the import, or out of the worker, that made it
        self._tell_code(ready[1], settings)
        self._settle()
        for output in self._output:
            output.present = self._slots.present
        self._stopped = runner.Stopped
        signal.signal(signal.SIGTERM, self._terminate)
        if self._leftovers is not None:
            self._wear = self._watch_wear(self._leftovers)
        threading.Thread(target=self._read, args=(frames, ready), name="reader", daemon=True).start()
        with suppress(runner.Stopped):
            self._work(threads if concurrency == 1 else 1)
        return self._leave()

    def _tell_code(self, ready: dict[str, Any], settings: dict[str, Any]) -> None:
        """Which files the code came from, if they are watched, and the code itself, if nobody has it yet."""
        if settings["watched"]:
            from workerhost.workers.code_files import imported_files

            ready["files"] = imported_files(settings["paths"])
        if settings["kept"] is None:
            from workerhost.workers import kept_code

            ready["kept"] = kept_code.loaded(settings["paths"])

    def _work(self, threads: int) -> None:
        if threads == 1:
            self._slots.work()
            return
        workers = [threading.Thread(target=self._slots.work, args=(n,), name=f"slot {n}") for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _watch_wear(self, left: Leftovers) -> Wear:
        from workerhost.workers import wear

        made: Any = wear.Wear(lambda: wear.figures(left.dead))
        return made

    def _settle(self) -> None:
        """Workers were set up."""
        if self._leftovers is not None:
            self._leftovers.spare()
        if self._wear is not None:
            self._wear.settle()

    def _clean_up(self, item: Any, seconds: float) -> None:
        """After a task, before it is reported: nothing of it may be put down to the next one."""
        reason = self._flush_output()
        if self._leftovers is None or self._forked:
            return
        self._leftovers.end_alarm()
        if seconds > _QUICK_SECONDS:
            self._leftovers.end()
        if self._wear is not None:
            limits = item[11] and item[11].get("limits")
            reason = reason or self._wear.after(limits.get("memory", 0.0) if limits else 0.0)
            if reason:
                self._wear = None
                self._slots.between(lambda: self._send([WORN, reason]))

    def _flush_output(self) -> str:
        """So that what is written without a newline is not put down to the next task; why it cannot, or ""."""
        try:
            for stream in self._streams:
                stream.flush()
        except (OSError, ValueError) as error:
            return f"its stdout or stderr was closed: {error}"
        return ""

    def _leave(self) -> int:
        """End in the way that was asked for, so that the host sees which it was."""
        self._flush_output()
        if self._terminated:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        return 0

    def _terminate(self, number: int, frame: object) -> None:  # noqa: ARG002 -- a signal handler
        """SIGTERM, in the main thread: unwind the task; a second one kills."""
        self._terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unwind = self._slots.in_task and not self._slots.several
        self._slots.stop()
        if unwind:
            raise self._stopped
        self._slots.cancel_all()

    def _part(self) -> None:
        """In a copy of this process that a task, or a module, made with fork: it is no slot."""
        self._forked = True
        self._control.close()
        if signal.getsignal(signal.SIGTERM) == self._terminate:  # a module's own stays its own
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _read(self, frames: list[Any], ready: list[Any]) -> None:
        """The reader thread. Without it the process would be deaf, so they end together, and it is what says READY:
        where no thread can be started no task comes.
        """
        try:
            self._send(ready)
            self._serve(frames)
        except BaseException:
            traceback.print_exc()
            os._exit(70)

    def _serve(self, frames: list[Any]) -> None:
        """Take in frames and do what is due by time, while the main thread is in a task."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._nudged, select.POLLIN)
        while True:
            for frame in frames:
                if frame[0] == TASKS:
                    self._slots.feed(frame[1])
                elif frame[0] == CANCEL:
                    self._slots.cancel(frame[1], frame[2])
            frames = []
            wait = self._slots.relieve()
            for number, _ in poller.poll(None if wait is None else max(1, int(wait * 1000))):
                if number == self._nudged:
                    os.read(self._nudged, 4096)
                else:
                    frames = self._receive()

    def _receive(self) -> list[Any]:
        """Read what is there. The host has gone or let us go when there is nothing any more."""
        try:
            data = self._control.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._host_gone()
        buffer = self._buffer
        buffer += data
        frames: list[Any] = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(buffer, start)[0]
            if len(buffer) < end:
                break
            frames.append(self._unpack(memoryview(buffer)[start + HEADER.size : end], use_list=False))
            start = end
        del buffer[:start]
        return frames

    def _host_gone(self) -> None:
        """End of the socket: an idle slot leaves in order, a busy one at once and with its whole group."""
        if threading.current_thread() is threading.main_thread():
            os._exit(0)  # nothing was loaded yet
        if not self._slots.busy():
            self._slots.stop()
            threading.Event().wait(_LEAVE_SECONDS)  # for what the worker's modules do at exit
        elif os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    def _nudge(self) -> None:
        os.write(self._nudge_in, b"\0")

    def _emit(self, progress: list[Any], results: list[Any], returned: list[Any], checkpoints: list[Any]) -> None:
        if not self._forked:
            self._send([NEWS, progress, results, returned, checkpoints])
        elif results or returned:
            os._exit(0)  # a copy came out of the task that made it

    def _send(self, frame: list[Any]) -> None:
        body: bytes = self._pack(frame)
        with suppress(OSError):  # the host has gone; the reader sees to it
            self._control.sendall(HEADER.pack(len(body)) + body)


class _Output(io.RawIOBase):
    """stdout and stderr of Python code: marks what is written with the task that writes it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.present: Any = int  # asked for the task's id; int() is 0: none

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any, /) -> int:
        text = bytes(data)
        marked = b"%s%d%s%s" % (OUTPUT_MARK, self.present(), OUTPUT_MARK_END, text.replace(OUTPUT_MARK, b""))
        while marked:
            marked = marked[os.write(self._number, marked) :]
        return len(text)


def _capture_output() -> list[_Output]:
    outputs: list[_Output] = []
    for name, number in (("stdout", 1), ("stderr", 2)):
        output = _Output(number)
        outputs.append(output)
        buffer: Any = output
        setattr(sys, name, io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True))
    return outputs


def _belong_to(host: int) -> None:
    """Die when the host does. Between its death and this call nobody would tell, hence the look at the parent."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != host:
        os._exit(0)
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _allow_files(count: Any) -> None:
    """As many as the host could have open before it raised its own limit: a task may rely on what its user has set."""
    if count is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def check_python() -> None:
    """End where nothing of ours can run: a user names the interpreter."""
    if sys.version_info < (3, 9):  # noqa: UP036
        sys.exit(f"Python 3.9 or newer is needed, and {sys.executable} is {sys.version.split()[0]}")


def find_package() -> None:
    """Make `import workerhost` mean the package that this file belongs to, wherever and under whatever name it lies."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- pathlib costs 6 ms
    _load_package("workerhost", root)


def borrow_msgpack(folder: str) -> None:
    """Another environment needs none of its own: the host's, in pure Python where its compiled part does not fit, under
    a name that leaves `import msgpack` to what is installed here.
    """
    own = sys.modules.get("msgpack._cmsgpack")
    _load_package("workerhost_msgpack", folder)
    if own is None:
        sys.modules.pop("msgpack._cmsgpack", None)  # its compiled part calls itself so, whatever its package's name


def _load_package(name: str, folder: str) -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(
        name,
        os.path.join(folder, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[folder],
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package at {folder}")
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
