"""Identities: CURVE key pairs, and the folder in which a machine keeps its own and those of the pools that it knows.

Owns the files and their modes. Knows no socket and no message. A secret is written once, under a mode that lets nobody
else read it, and a file that others could read is refused rather than believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ..actors.core.identities import fingerprint
from ..workers.errors import ConfigError

HOME_VARIABLE: Final = "WORKERHOST_HOME"
ROLES: Final = ("client", "host", "observer", "admin")
"""What an identity may be to a pool."""

OWN_ROLES: Final = ("admin", "host")
"""What the machine of a supervisor is to its pool."""

_LOCAL: Final = re.compile(r"(?!tcp://)|tcp://(127\.[0-9.]+|localhost|\[::1\]):")
_PUBLIC: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")  # Z85, ZeroMQ RFC 32
_SUPERVISOR: Final = "supervisor.json"
_POOLS: Final = "pools"
_SENDERS: Final = ("admin", "client", "observer")
"""Roles that a client may have, the one that may most first."""


class KeyPair(NamedTuple):
    """A CURVE key pair, as ZeroMQ writes it (Z85, 40 characters each)."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"<KeyPair {fingerprint(self.public)}>"  # a secret gets into no log and no traceback


def new_pair() -> KeyPair:
    """A pair that nobody has."""
    import zmq

    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def pair_of(secret: str) -> KeyPair:
    """The pair of a secret key.

    Raises:
        ValueError: It is none.
    """
    import zmq

    if not is_key(secret):
        raise ValueError("a secret key has 40 characters of Z85")
    return KeyPair(zmq.curve_public(secret.encode()).decode(), secret)


def is_key(text: Any) -> bool:
    """Whether it has the form of a key."""
    return isinstance(text, str) and _PUBLIC.match(text) is not None


def is_local(address: str) -> bool:
    """Whether nobody on another machine can reach an address."""
    return _LOCAL.match(address) is not None


@dataclass(slots=True)
class KnownPool:
    """A pool as this machine knows it.

    Attributes:
        server: Its public key, pinned at the first use.
        addresses: Where it was met, the latest first.
        pairs: This machine's own pairs, by role.
        enrolled: The roles whose pair the pool has said to know.
    """

    server: str
    addresses: list[str] = field(default_factory=list[str])
    pairs: dict[str, KeyPair] = field(default_factory=dict[str, KeyPair])
    enrolled: set[str] = field(default_factory=set[str])

    def role_for(self, wanted: str) -> str | None:
        """The role in which somebody who wants to be a `host` or a `client` comes, or None."""
        roles = ("host",) if wanted == "host" else _SENDERS
        return next((role for role in roles if role in self.pairs), None)


class Home:
    """The folder of this machine's (or this user's) identities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Home:
        """`$WORKERHOST_HOME`, or ~/.workerhost."""
        return cls(Path(environ.get(HOME_VARIABLE) or Path("~", ".workerhost")).expanduser())

    def supervisor(self, *, make: bool) -> KeyPair | None:
        """The identity of the supervisor that runs here; None if there is none and it shall not be made.

        Raises:
            ConfigError: The file cannot be used.
        """
        file = self.folder / _SUPERVISOR
        found = self._read(file)
        if found is None:
            if not make:
                return None
            pair = new_pair()
            self._write(file, pair._asdict())
            return pair
        return _pair(file, found)

    def own(self, address: str, *, make: bool) -> tuple[KeyPair, KnownPool]:
        """The identity of the supervisor that listens here, and the pool as this machine itself knows it.

        Whoever starts a supervisor is its admin on that machine, and may run hosts there.

        Args:
            address: Where it listens.
            make: Whether to make an identity if there is none.

        Raises:
            ConfigError: There is none, and none shall be made; or the files cannot be used.
        """
        pair = self.supervisor(make=make)
        if pair is None:
            raise ConfigError(
                f"{address}: other machines can reach it, so the supervisor needs an identity: workerhost keys new;"
                " then `workerhost invite` prints the line with which another machine joins"
            )
        here = f"tcp://127.0.0.1:{address.rpartition(':')[2]}"
        known = self.pool(pair.public)
        pool = known or KnownPool(pair.public)
        before = (dict(pool.pairs), list(pool.addresses))
        for role in OWN_ROLES:
            pool.pairs.setdefault(role, new_pair())
            pool.enrolled.add(role)
        pool.addresses = [here, *(one for one in pool.addresses if one != here)]
        if known is None or before != (pool.pairs, pool.addresses):
            self.keep(pool)
        return pair, pool

    def pool(self, server: str) -> KnownPool | None:
        """The pool with this public key, if this machine knows it.

        Raises:
            ConfigError: Its file cannot be used.
        """
        return self._pool(self._file(server))

    def pool_at(self, address: str) -> KnownPool | None:
        """The pool that was last met at an address.

        Raises:
            ConfigError: A file cannot be used.
        """
        folder = self.folder / _POOLS
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        pools = [pool for file in files if (pool := self._pool(file)) is not None]
        return next((pool for pool in pools if address in pool.addresses), None)

    def keep(self, pool: KnownPool) -> None:
        """Write down what is known of a pool. An address belongs to the pool that was met there last.

        Raises:
            ConfigError: It cannot be written.
        """
        for address in pool.addresses:
            other = self.pool_at(address)
            if other is not None and other.server != pool.server:
                other.addresses.remove(address)
                self._write_pool(other)
        self._write_pool(pool)

    def _write_pool(self, pool: KnownPool) -> None:
        pairs = {role: {**pair._asdict(), "enrolled": role in pool.enrolled} for role, pair in pool.pairs.items()}
        self._write(self._file(pool.server), {"server": pool.server, "addresses": pool.addresses, "identities": pairs})

    def _file(self, server: str) -> Path:
        return self.folder / _POOLS / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"

    def _pool(self, file: Path) -> KnownPool | None:
        found = self._read(file)
        if found is None:
            return None
        try:
            identities = cast("dict[str, Any]", found["identities"])
            pairs = {role: _pair(file, identities[role]) for role in identities if role in ROLES}
            enrolled = {role for role in pairs if identities[role].get("enrolled")}
            addresses = [str(address) for address in found["addresses"]]
            return KnownPool(_key(file, found["server"]), addresses, pairs, enrolled)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file}: is not what WorkerHost wrote ({error}); remove it, and join anew") from None

    def _read(self, file: Path) -> dict[str, Any] | None:
        try:
            number = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
        with os.fdopen(number, encoding="utf-8") as stream:
            _check_mode(file, os.fstat(number))
            try:
                found: Any = json.load(stream)
            except (ValueError, OSError) as error:
                raise ConfigError(f"{file}: is not what WorkerHost wrote ({error}); remove it, and join anew") from None
        if not isinstance(found, dict):
            raise ConfigError(f"{file}: is not what WorkerHost wrote; remove it, and join anew")
        return cast("dict[str, Any]", found)

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        """Whole or not at all, and from its first byte on for nobody else to read."""
        try:
            for folder in (self.folder, file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _check_mode(folder, folder.stat())
            beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
            number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(number, "w", encoding="utf-8") as stream:
                json.dump(document, stream, indent=1)
                stream.flush()
                os.fsync(number)
            beside.replace(file)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from None


def _check_mode(path: Path, found: os.stat_result) -> None:
    """Raises ConfigError, with the cure, where others could read a secret or put one of theirs in its place."""
    if hasattr(os, "getuid") and found.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"{path}: belongs to another user; use a folder of yours: {HOME_VARIABLE}=FOLDER")
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        mode = "700" if stat.S_ISDIR(found.st_mode) else "600"
        raise ConfigError(f"{path}: others can read it, and it holds secrets; chmod {mode} {path}")


def _pair(file: Path, found: Mapping[str, Any]) -> KeyPair:
    try:
        pair = pair_of(found["secret"])
    except (KeyError, ValueError, TypeError):
        raise ConfigError(f"{file}: holds no key pair; remove it, and join anew") from None
    if pair.public != found.get("public"):
        raise ConfigError(f"{file}: its two keys do not belong together; remove it, and join anew")
    return pair


def _key(file: Path, found: Any) -> str:
    if not is_key(found):
        raise ConfigError(f"{file}: holds no public key; remove it, and join anew")
    return found
