"""`send --from FILE` and `send --each KEY`: a task for each line, as many as there are, in constant memory.

Lines are read a chunk at a time. One SUBMIT, which is a chunk or the part of it that fits, is stored whole or not at
all, and the next waits until it is. How far a file has come stands in `FILE.sent` beside it, and how far it comes with
the SUBMIT under way, so that the same command goes on where an interrupted one has ended. That one's session is taken
over first, so that nothing of it is still on its way; what it had stored and could not write down any more, the pool
knows by the batch's tag: one task says that its whole SUBMIT is there, the lines that older tasks answered for
included.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn, cast

from ..actors.stores.file_system import sync
from ..workers.errors import TaskRefused
from . import progress
from .exits import UsageError, say
from .tables import count

if TYPE_CHECKING:
    from ..transport.parcel import Parcel
    from ..transport.taking_over import ResumableClient, Submissions

CHUNK_LINES: Final = 1000
CHUNK_BYTES: Final = 2 * 1024 * 1024
"""A chunk is closed after so much, so that most fit into one SUBMIT with the longest line on top."""

LINE_BYTES_MAX: Final = 1024 * 1024 + 1024
"""What packs into the largest params there may be."""

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a batch has come; what `FILE.sent` holds.

    Attributes:
        type: Of its tasks.
        pool: The pool's address.
        tag: Every task of the batch has it.
        lines: Lines that are dealt with.
        under_way: Lines that are dealt with once the SUBMIT that is being sent is stored.
        tasks: Tasks that are stored.
        last: The highest id of these, or 0.
        digest: Of the lines that are dealt with.
        session: Of the command that sends them, see `ResumableClient.take_over`.
    """

    type: str
    pool: str
    tag: str
    lines: int = 0
    tasks: int = 0
    last: int = 0
    digest: str = ""
    under_way: int = 0
    session: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """Where lines come from, and what becomes of one.

    Attributes:
        path: The file, or None: stdin.
        each: The key whose value a line is; else a line is JSON.
        base: Params that all have in common.
    """

    path: Path | None
    each: str | None
    base: Any

    @property
    def file(self) -> Path | None:
        """The file, if it can be read again from its beginning: stdin and a pipe cannot."""
        return self.path if self.path is not None and self.path.is_file() else None

    @property
    def name(self) -> str:
        """For messages."""
        return "stdin" if self.path is None else str(self.path)

    def params(self, number: int, line: bytes) -> Any:
        """The params that a line means.

        Raises:
            UsageError: It means none.
        """
        means = "one task's params as JSON" if self.each is None else f"one task's {self.each}, as UTF-8 text"
        try:
            value = line.decode() if self.each is not None else json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.name}, line {number}: {error}; a line is {means}") from None
        if self.each is not None:
            return {**self.base, self.each: value}
        if not self.base:
            return value
        if not isinstance(value, dict):
            raise UsageError(f"{self.name}, line {number}: no JSON object, so the other params cannot be added to it")
        return {**self.base, **cast("dict[str, Any]", value)}


@dataclass(slots=True)
class _Chunk:
    """Lines that were read and are not dealt with, and what they mean.

    Attributes:
        name: Where they come from, for messages.
        before: The number of the line before them.
        number: That of the last.
        text: All of them.
        params: Of each task.
    """

    name: str
    before: int
    number: int
    text: bytearray
    params: list[Any]

    def packed(self, submissions: Submissions) -> Parcel:
        """What the next SUBMIT brings; of a line whose params cannot travel, what stands before it.

        Raises:
            UsageError: It is the first.
        """
        try:
            return submissions.pack(self.params)
        except TaskRefused:
            for task, params in enumerate(self.params):
                try:
                    submissions.pack([params])
                except TaskRefused as error:
                    if task:
                        return submissions.pack(self.params[:task])
                    raise UsageError(f"{self.name}, line {self._end(1)[0]}: {error}") from None
            raise

    def reach(self, tasks: int) -> tuple[int, int]:
        """Where the first so many tasks end: the number of that line, and how much of the text it is. Behind the last
        of them there may be lines that mean none.
        """
        return (self.number, len(self.text)) if tasks == len(self.params) else self._end(tasks)

    def _end(self, tasks: int) -> tuple[int, int]:
        number, stream = self.before, BytesIO(self.text)
        while tasks:
            tasks -= bool(stream.readline().strip())
            number += 1
        return number, stream.tell()

    def drop(self, tasks: int) -> bytes:
        """These are dealt with. Returns what they were written as."""
        self.before, end = self.reach(tasks)
        text = bytes(self.text[:end])
        del self.text[:end], self.params[:tasks]
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def lines_of(source: str | None, each: str | None, base: Any) -> Lines:
    """What `--from` and `--each` mean.

    Raises:
        UsageError: The file is not there, or the params in common are no object.
    """
    path = None if source in (None, "-") else Path(source)
    if path is not None and (path.is_dir() or not path.exists()):
        raise UsageError(f"--from {path}: {'this is a folder' if path.is_dir() else 'there is no such file'}")
    if not isinstance(base, dict):
        raise UsageError("--params: what all tasks have in common must be a JSON object")
    return Lines(path, each, cast("Any", base))


def document(sent: Sent) -> dict[str, Any]:
    """What `--json` shows."""
    return {"tag": sent.tag, "type": sent.type, "tasks": sent.tasks}


def client(address: str | None, patience: float) -> ResumableClient:
    """One with which `send` works."""
    from ..transport.taking_over import ResumableClient

    return ResumableClient(address, timeout=patience)


def send(client: ResumableClient, type: str, lines: Lines, sending: dict[str, Any], *, anew: bool) -> Sent:
    """Send them all, with a bar on stderr.

    Args:
        client: Where to.
        type: Of all tasks.
        lines: Where they come from.
        sending: As for `Client.send`.
        anew: Forget how far an earlier command has come.

    Raises:
        UsageError: A line means no params, or the file has changed since it was begun. What came before is stored.
    """
    state = None if lines.file is None else lines.file.with_name(lines.file.name + ".sent")
    sent, found = Sent(type, client.address, f"batch-{token_hex(4)}"), 0
    if state is not None:
        if state.is_file() and not anew:
            sent, found = _gone_on(client, sent, state)
        else:
            # Before anything is sent: tag and session must be known.
            sent = _noted(replace(sent, session=client.session()), state)
    with ExitStack() as stack:
        stream = sys.stdin.buffer if lines.path is None else stack.enter_context(lines.path.open("rb"))
        size = 0 if lines.file is None else lines.file.stat().st_size
        bar = stack.enter_context(progress.bar(type, 1.0))
        digest, first, dealt_with = _skip(stream, lines, sent, found)
        sent = replace(sent, tasks=sent.tasks + dealt_with, lines=first, digest=digest.hexdigest())
        if sent.tasks:
            say(f"going on after {sent.tasks} tasks that were sent before, tag {sent.tag}")
        options: dict[str, Any] = {**sending, "tags": (*sending.get("tags", ()), sent.tag)}
        submissions = client.submissions(type, **options)
        try:
            for chunk in _chunks(stream, first, lines):
                for so_far in _stored(submissions, chunk, sent, digest, state):
                    sent = so_far
                    bar.update(min(stream.tell() / size, 0.99) if size else 0.0, f"{sent.tasks} sent")
        except UsageError as problem:
            raise _told(problem, sent, state) from None
        except KeyboardInterrupt:
            if sent.tasks:
                goes_on = "" if state is None else "; the same command goes on behind them"
                say(f"{count(sent.tasks, 'task')} of the batch are sent, tag {sent.tag}{goes_on}")
            raise
        bar.update(1.0, f"{sent.tasks} sent")
    if state is not None:
        state.unlink(missing_ok=True)
    return sent


def _gone_on(client: ResumableClient, sent: Sent, state: Path) -> tuple[Sent, int]:
    """What an earlier command has done, and how many tasks more are stored than it could write down."""
    again = f"; to begin anew, and have all of it sent again: --anew (or remove {state})"
    try:
        before = Sent(**json.loads(state.read_text()))
    except (ValueError, TypeError):
        raise UsageError(f"{state} does not say how far the batch has come{again}") from None
    if (before.type, before.pool) != (sent.type, sent.pool):
        raise UsageError(f"{state}: this file was begun as {before.type} to {before.pool}{again}")
    if before.session:
        try:
            client.take_over(before.session)
        except ValueError:
            raise UsageError(f"{state} does not say how far the batch has come{again}") from None
    before = _noted(replace(before, session=client.session()), state)
    newer: list[int] = []
    page: dict[str, Any] = {"next": None}
    while True:
        page = client.page(tag=before.tag, limit=PAGE, before=page["next"])
        ids = [task["id"] for task in page["tasks"]]
        newer += [id for id in ids if id > before.last]
        if page["next"] is None or (ids and ids[-1] <= before.last):
            break
    return replace(before, last=max([before.last, *newer])), len(newer)


def _skip(stream: BinaryIO, lines: Lines, sent: Sent, found: int) -> tuple[Any, int, int]:
    """Read over what was dealt with and over the lines of `found` tasks that are stored beyond that; the digest of all
    that, its last line, and for how many tasks the lines beyond stand.

    Raises:
        UsageError: It is not what it was.
    """
    digest, number = sha256(), sent.lines
    for _ in range(number):
        digest.update(stream.readline(LINE_BYTES_MAX))
    if sent.digest and digest.hexdigest() != sent.digest:
        raise UsageError(f"{lines.name} has changed since it was begun; to begin anew: --anew")
    means = 0
    # The SUBMIT that was under way is there as a whole. Where even that was not written down, lines are counted.
    while found and (means < found or number < sent.under_way) and (line := stream.readline(LINE_BYTES_MAX)):
        digest.update(line)
        number += 1
        means += bool(line.strip())
    return digest, number, means


def _stored(submissions: Submissions, chunk: _Chunk, sent: Sent, digest: Any, state: Path | None) -> Iterator[Sent]:
    """How far the batch has come, after each SUBMIT that the chunk takes: one, unless it is cut to fit."""
    if not chunk.params:
        digest.update(chunk.text)
        yield _noted(replace(sent, lines=chunk.number, digest=digest.hexdigest()), state)
    while chunk.params:
        parcel = chunk.packed(submissions)
        tasks = parcel.block.count
        number, _ = chunk.reach(tasks)
        # Before it leaves: who goes on must know what it brings. A power cut must not leave a note that says more.
        sent = _noted(replace(sent, under_way=number), state, safely=number < sent.under_way)
        ids = submissions.store(parcel)
        if ids is None:
            continue
        digest.update(chunk.drop(tasks))
        # A line that an older task answers for (a key, a cache) has a lower number than those before it.
        last = max(sent.last, *(span.stop - 1 for span in ids))
        sent = replace(sent, tasks=sent.tasks + tasks, last=last, lines=number, digest=digest.hexdigest())
        yield _noted(sent, state)


def _chunks(stream: BinaryIO, number: int, lines: Lines) -> Iterator[_Chunk]:
    """What lies behind that line; a wrong line raises when those before it are dealt with."""
    chunk = _Chunk(lines.name, number, number, bytearray(), [])
    problem: UsageError | None = None
    while line := stream.readline(LINE_BYTES_MAX):
        text = line.rstrip(b"\r\n")
        try:
            if len(line) == LINE_BYTES_MAX:
                raise UsageError(f"{lines.name}, line {number + 1}: longer than params may be (1 MiB)")
            if text.strip():
                chunk.params.append(lines.params(number + 1, text))
        except UsageError as error:
            problem = error
            break
        number += 1
        chunk.text += line
        if len(chunk.params) >= CHUNK_LINES or len(chunk.text) >= CHUNK_BYTES:
            chunk.number = number
            yield chunk
            chunk = _Chunk(lines.name, number, number, bytearray(), [])
    chunk.number = number
    yield chunk
    if problem is not None:
        raise problem


def _told(problem: UsageError, sent: Sent, state: Path | None) -> UsageError:
    """What is wrong with a line, and what became of those before it."""
    if not sent.tasks:
        return problem
    cure = "" if state is None else ": mend it, and the same command goes on behind them"
    return UsageError(f"{problem}; {count(sent.tasks, 'task')} before it are sent, tag {sent.tag}{cure}")


def _noted(sent: Sent, state: Path | None, *, safely: bool = False) -> Sent:
    """What was written down, if there is a place for it: in one step, so that it is never half written.

    Args:
        sent: What.
        state: The place.
        safely: No earlier note comes back after a power cut.
    """
    if state is None:
        return sent
    new = state.with_name(state.name + ".new")
    new.write_text(json.dumps(asdict(sent)))
    safely = safely and os.name == "posix"
    if safely:
        sync(new)
    new.replace(state)
    if safely:
        sync(state.parent)
    return sent
