"""What is fuzzed, and what must hold whatever comes: one clear error or none, nobody else is hurt, nothing hangs."""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgpack as _msgpack  # pyright: ignore[reportMissingTypeStubs]

TESTS: Final = Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))

from integration.faults import zmtp as _zmtp  # pyright: ignore  # noqa: E402
from unit.conftest import PoolAtHand  # pyright: ignore  # noqa: E402

from workerhost import Client  # noqa: E402
from workerhost.actors.core.access.identities import Garbled  # noqa: E402
from workerhost.actors.supervisor import Supervisor, SupervisorSettings  # noqa: E402
from workerhost.config import loading  # noqa: E402
from workerhost.transport import invitations, keys  # noqa: E402
from workerhost.transport.codec import Malformed, decode, encode  # noqa: E402
from workerhost.transport.messages import MESSAGES, PROTOCOL_VERSION, Hello, Welcome  # noqa: E402
from workerhost.workers.command import meaning, read_answer  # noqa: E402
from workerhost.workers.errors import ConfigError  # noqa: E402
from workerhost.workers.program import Ended  # noqa: E402

msgpack: Any = _msgpack
zmtp: Any = _zmtp
_ODD: Final[list[Any]] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    5,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    0.0,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a",
    "a.b.c",
    "\x1b[2J",
    "\u202e",
    "\ud7ff",
    b"",
    b"\x00",
    b"h" * 16,
    [],
    {},
]
_WORDS: Final = [
    "id",
    "ids",
    "type",
    "state",
    "tag",
    "limit",
    "before",
    "delay",
    "at",
    "expires",
    "timeout",
    "tags",
    "slots",
    "types",
    "running",
    "finished",
    "serve",
    "not",
    "host",
    "key",
    "role",
    "seconds",
    "uses",
    "enroll",
    "priority",
    "unique_for",
    "on_conflict",
    "cache",
    "tenant",
    "requires",
    "after",
    "within",
    "results",
    "on_failure",
    "name",
    "of",
    "start",
    "last",
    "flow",
    "schedule",
    "cron",
    "every",
    "params",
]
_VERBS: Final = [
    "show",
    "tasks",
    "why",
    "status",
    "hosts",
    "types",
    "retry",
    "pause",
    "resume",
    "drain",
    "trust",
    "revoke",
    "invite",
    "keys",
    "reload_config",
    "reload",
    "backup",
    "clear_cache",
    "edit",
    "unblock",
    "schedule",
    "unschedule",
    "pause_schedule",
    "run_schedule",
    "schedules",
    "flow",
    "flows",
    "audit",
    "snapshot",
]

_FITTING: Final[dict[str, list[Any]]] = {
    "delay": [0.0, 1.5, 1e9],
    "expires": [0.1, 1e9],
    "timeout": [0.1, 60],
    "max_attempts": [1, 3],
    "tags": [["t"], []],
    "tenant": ["x", "y"],
    "requires": [{"gpu": 1}, {"zone": "eu"}],
    "key": ["k", "l", ["k"], ["k", "l"], ["k", "k"], ["k", "l", "m"]],
    "unique_for": ["kept", 0.5, 60],
    "on_conflict": ["return", "replace", "refuse"],
    "cache": [1, 60],
    "after": [[1], [2], [1, 2, 3], [99]],
    "within": [[0], [[0, 2]], [1], [5]],
    "results": [[[0, 0]], [[1, 0]]],
    "on_failure": ["cancel", "run", "wait"],
}
_FLOW: Final[dict[str, list[Any]]] = {
    "name": ["f", ""],
    "of": [0, 1, 3, 99],
    "start": [0, 1, 2],
    "last": [True, False],
}


class Target(Protocol):
    """Something that reads foreign bytes.

    Attributes:
        lasts: What one case did is there in the next: a finding is told by all cases up to it.
    """

    lasts: bool

    def case(self, chance: random.Random) -> None:
        """Try one case; raises what should not be."""
        ...

    def close(self) -> None:
        """The last case was tried."""
        ...


def value(chance: random.Random, depth: int = 0) -> Any:
    """Anything that can be packed."""
    kind = chance.random()
    if kind < 0.55 or depth > 4:
        return chance.choice(_ODD)
    if kind < 0.7:
        return chance.choice([*_WORDS, *_VERBS])
    if kind < 0.85:
        return [value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {chance.choice(_WORDS): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def damaged(chance: random.Random, body: bytes) -> bytes:
    """The bytes with a few of them changed, gone or doubled."""
    found = bytearray(body)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(found) + 1)
        how = chance.randrange(4)
        if how == 0 and found:
            found[place % len(found)] = chance.randrange(256)
        elif how == 1:
            del found[place : place + chance.randrange(1, 9)]
        elif how == 2:
            found[place:place] = chance.randbytes(chance.randrange(1, 9))
        else:
            found[place:place] = found[place : place + chance.randrange(1, 64)]
    return bytes(found)


def options(chance: random.Random) -> Any:
    """What may be said of a task to be sent, mostly as it should be."""
    found: dict[str, Any] = {}
    for name in chance.sample(list(_FITTING), chance.randrange(5)):
        found[name] = chance.choice(_FITTING[name]) if chance.random() < 0.85 else value(chance)
    return found or None


def submission(chance: random.Random) -> list[Any]:
    """The fields of SUBMIT: groups that come after one another, with keys, in flows."""
    params = [chance.choice([b"x", b"\xc0", b"\x92\xc0\xc0"]) for _ in range(chance.randrange(1, 4))]
    groups = [
        [chance.choice(["a", "a.b", "c"]), chance.randrange(9), options(chance), params[: chance.randrange(1, 4)]]
        for _ in range(chance.randrange(1, 4))
    ]
    flow = {name: chance.choice(_FLOW[name]) for name in chance.sample(list(_FLOW), chance.randrange(4))}
    return [chance.randrange(1, 9), chance.randrange(3), groups, *([flow] if chance.random() < 0.6 else [])]


def frame(chance: random.Random, number: int = 0) -> bytes:
    """A message, more or less."""
    kind = chance.choice(list(MESSAGES))
    shaped: dict[int, list[Any]] = {
        1: [chance.choice(["host", "client", "observer"]), [1, 1], chance.choice([b"h" * 16, b"x" * 16]), "n", {}],
        12: [[[chance.choice([1, 2, 3]), (1 << 40) + chance.randrange(3), *(value(chance) for _ in range(5))]]],
        20: submission(chance),
        26: [1, chance.choice(_VERBS), {chance.choice(_WORDS): value(chance)}],
        27: [1, chance.choice(_VERBS), {chance.choice(_WORDS): value(chance)}],
    }
    given = shaped.get(kind) if chance.random() < 0.5 else None
    fields = given or [value(chance) for _ in range(chance.randrange(7))]
    for place in range(len(fields)):
        if chance.random() < 0.15:
            fields[place] = value(chance)
    with contextlib.suppress(ValueError, OverflowError):
        body: bytes = msgpack.packb([kind, number, *fields])
        return damaged(chance, body) if chance.random() < 0.2 else body
    return chance.randbytes(20)


class Frames:
    """Bytes for the codec: a message or Malformed."""

    lasts = False

    def case(self, chance: random.Random) -> None:
        body = frame(chance) if chance.random() < 0.7 else chance.randbytes(chance.randrange(200))
        with contextlib.suppress(Malformed):
            number, message = decode(body)
            again = decode(encode(message, number))
            assert repr(again) == repr((number, message))  # in words: a NaN equals nothing, not itself either

    def close(self) -> None:
        pass


class Conversations:
    """Messages for the supervisor's core: others are served as before."""

    lasts = False

    def case(self, chance: random.Random) -> None:
        world: Any = PoolAtHand()
        world.client()
        world.host()
        world.send(count=2)
        for _ in range(chance.randrange(1, 12)):
            peer = chance.choice([b"c", b"h", b"s"])
            seen = getattr(world.pool.sessions.peers.get(peer), "seen", 0)
            try:
                number, message = decode(frame(chance, seen + 1))
            except Malformed:
                world._turn(world.pool.handle([(peer, 0, Garbled())], world.now, world.wall))
                continue
            number = 0 if isinstance(message, Hello) else number
            world.now += 0.1
            world._turn(world.pool.handle([(peer, number, message)], world.now, world.wall))
        if chance.random() < 0.3:
            world.start()
        world.numbers.clear()
        world.submission = 100
        world.client(b"z")
        assert world.send("a", priority=999_999, peer=b"z")[b"z"][0].count == 1, "nobody else is hurt"

    def close(self) -> None:
        pass


class Configurations:
    """Configuration files: settings, or errors that name what is wrong."""

    lasts = False

    def __init__(self) -> None:
        sample = Path(loading.__file__).with_name("workerhost_config.yaml")
        self._sample = sample.read_bytes()
        self._folder = tempfile.TemporaryDirectory(prefix="workerhost-fuzz-")

    def case(self, chance: random.Random) -> None:
        start = chance.randrange(len(self._sample))
        part = self._sample if chance.random() < 0.5 else self._sample[start : start + 600]
        file = Path(self._folder.name, "workerhost.yaml")
        file.write_bytes(damaged(chance, part))
        with contextlib.suppress(ConfigError):
            loading.load(file, {})

    def close(self) -> None:
        self._folder.cleanup()


class Invitations:
    """Lines that look like an invitation: one, or an error that says so."""

    lasts = False

    def __init__(self) -> None:
        made = invitations.Invitation(("tcp://a:1", "tcp://b:2"), keys.new_pair().public, keys.new_pair(), "host")
        self._text = made.text().encode()

    def case(self, chance: random.Random) -> None:
        with contextlib.suppress(ConfigError):
            invitations.read(damaged(chance, self._text).decode("utf-8", "replace"))

    def close(self) -> None:
        pass


class Answers:
    """What a command worker's program prints: an end of its attempt."""

    lasts = False
    _GOOD: Final = (
        b'{"success": false, "result": {"a": [1, 2.5, null]}, "error": {"type": "E", "message": "no", "retry": true}}'
    )

    def case(self, chance: random.Random) -> None:
        output = damaged(chance, self._GOOD) if chance.random() < 0.8 else chance.randbytes(chance.randrange(80))
        ended = Ended(chance.choice([0, 1, 2, 3, 77, -9]), output)
        assert meaning(read_answer(ended)) is not None

    def close(self) -> None:
        pass


class Wire:
    """Bytes for the supervisor's port: its other clients are answered."""

    lasts = True

    def __init__(self) -> None:
        self._supervisor = Supervisor.start(SupervisorSettings(address="tcp://127.0.0.1:0"))
        self._client = Client(self._supervisor.address, timeout=10)
        self._client.status()
        assert isinstance(self._answer(self._hello("client", b"h" * 16)), Welcome), "nothing that is said here arrives"

    def case(self, chance: random.Random) -> None:
        words = self._words(chance)
        how = chance.random()
        with zmtp.knock(self._supervisor.address) as stranger:
            if how < 0.1:
                words = chance.choice([b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", chance.randbytes(300)])
            elif how < 0.3:
                words = damaged(chance, zmtp.GREETING + zmtp.READY) + words
            else:
                zmtp.introduce(stranger)
                words = damaged(chance, words) if how < 0.6 else words
            with contextlib.suppress(ConnectionError):  # it was turned away
                stranger.sendall(words)
            zmtp.take_leave(stranger)
        assert self._client.status()["supervisor"]["name"]

    def _words(self, chance: random.Random) -> bytes:
        """What a stranger says, in a session of its own or in none."""
        said = [self._hello(chance.choice(["client", "host"]), chance.randbytes(16))] if chance.random() < 0.6 else []
        said += [frame(chance, number) for number in range(1, chance.randrange(2, 6))]
        return b"".join(zmtp.frame(body, zmtp.MORE * (chance.random() < 0.05)) for body in said)

    @staticmethod
    def _hello(role: str, session: bytes) -> bytes:
        return encode(Hello(role, [PROTOCOL_VERSION, PROTOCOL_VERSION], session, "stranger", {}), 0)

    def _answer(self, body: bytes) -> Any:
        """What the supervisor answers to a frame that is said by hand."""
        with zmtp.knock(self._supervisor.address) as stranger:
            zmtp.introduce(stranger)
            stranger.sendall(zmtp.frame(body))
            return decode(zmtp.hear(stranger)[1])[1]

    def close(self) -> None:
        try:
            assert self._supervisor.is_alive()
            assert self._client.status()["supervisor"]["name"]
        finally:
            self._client.close()
            self._supervisor.stop()


TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "frames": Frames,
    "pool": Conversations,
    "config": Configurations,
    "invitations": Invitations,
    "commands": Answers,
    "wire": Wire,
}
