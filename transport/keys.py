"""Identities: CURVE key pairs, and the folder in which a machine keeps its own and those of the pools that it knows.

Owns the files and their modes. Knows no socket and no message. A secret is written once, under a mode that lets nobody
else read it, and a file that others could read is refused rather than believed.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from ..actors.core.access.identities import fingerprint, is_key
from ..workers.errors import ConfigError
from .addresses import met_at, within

HOME_VARIABLE: Final = "WORKERHOST_HOME"
ROLES: Final = ("client", "host", "observer", "admin")
"""What an identity may be to a pool."""

OWN_ROLES: Final = ("admin", "host")
"""What the machine of a supervisor is to its pool."""

_LOCK: Final = ".lock"
_ADDRESSES_MAX: Final = 64
_INVITATIONS_MAX: Final = 32
_SUPERVISOR: Final = "supervisor.json"
_POOLS: Final = "pools"
_SENDERS: Final = ("admin", "client", "observer")
"""Roles that a client may have, the one that may most first."""
_ONLOOKERS: Final = ("observer", "admin", "client")
"""The same of one that only looks: who may see all, and change least, first."""


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


@dataclass(slots=True)
class KnownPool:
    """A pool as this machine knows it.

    Attributes:
        server: Its public key, pinned at the first use.
        addresses: Where it was met, the latest first.
        pairs: This machine's own pairs, by role.
        invited: Pairs that an invitation is to make known there, by the invitation's public key, the latest last.
        spent: Invitations that have done so: the role of each, by its public key, the latest last.
    """

    server: str
    addresses: list[str] = field(default_factory=list)
    pairs: dict[str, KeyPair] = field(default_factory=dict)
    invited: dict[str, KeyPair] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)

    def met(self, addresses: Iterable[str]) -> None:
        """It was met there just now."""
        latest = list(dict.fromkeys(addresses))
        self.addresses = [*latest, *(one for one in self.addresses if one not in latest)][:_ADDRESSES_MAX]

    def pair_for(self, invitation: str, role: str) -> KeyPair:
        """The own pair that belongs to an invitation; a new one for an invitation that was not seen before."""
        if self.spent.get(invitation) == role and role in self.pairs:
            return self.pairs[role]
        if invitation not in self.invited:
            self.invited[invitation] = new_pair()
            while len(self.invited) > _INVITATIONS_MAX:
                del self.invited[next(iter(self.invited))]
        return self.invited[invitation]

    def enrolled(self, invitation: str, role: str) -> None:
        """The pool knows the pair of an invitation: from now on it is what this machine is there."""
        if (pair := self.invited.pop(invitation, None)) is None:
            return
        self.pairs[role] = pair
        self.spent[invitation] = role
        while len(self.spent) > _INVITATIONS_MAX:
            del self.spent[next(iter(self.spent))]

    def role_for(self, wanted: str) -> str | None:
        """The role in which somebody who wants to be a `host`, a `client` or an `observer` comes, or None."""
        roles = {"host": ("host",), "observer": _ONLOOKERS}.get(wanted, _SENDERS)
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
        with self.changing(pair.public) as pool:
            for role in OWN_ROLES:
                pool.pairs.setdefault(role, new_pair())
            pool.met(met_at(address))
        return pair, pool

    def plain(self, address: str) -> None:
        """A supervisor without identities listens there: no pool with identities is met at this address any more.

        Raises:
            ConfigError: A file cannot be used.
        """
        for here in met_at(address):
            if (found := self.pool_at(here)) is not None:
                with self.changing(found.server) as pool:
                    pool.addresses = [one for one in pool.addresses if one != here]

    def pool(self, server: str) -> KnownPool | None:
        """The pool with this public key, if this machine knows it.

        Raises:
            ConfigError: Its file cannot be used.
        """
        return self._pool(self._file(server))

    def pool_at(self, address: str) -> KnownPool | None:
        """The pool that was last met at an address, however that is written.

        Raises:
            ConfigError: A file cannot be used.
        """
        wanted = within(address)
        return next((pool for pool in self._pools() if wanted in map(within, pool.addresses)), None)

    @contextlib.contextmanager
    def changing(self, server: str) -> Generator[KnownPool]:
        """What is known of a pool, to be changed and then written down; other programs wait meanwhile.

        An address belongs to the pool that was met there last.

        Raises:
            ConfigError: A file cannot be used.
        """
        with self._locked():
            pool = self.pool(server) or KnownPool(server)
            before = copy.deepcopy(pool)
            yield pool
            if pool == before and self._file(server).exists():
                return
            for other in self._pools():
                left = [one for one in other.addresses if one not in pool.addresses]
                if other.server != server and left != other.addresses:
                    other.addresses = left
                    self._write_pool(other)
            self._write_pool(pool)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            yield
            return
        self._make(self.folder)
        try:
            number = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.folder / _LOCK}: cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _pools(self) -> list[KnownPool]:
        folder = self.folder / _POOLS
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        return [pool for file in files if (pool := self._pool(file)) is not None]

    def _write_pool(self, pool: KnownPool) -> None:
        document = {
            "server": pool.server,
            "addresses": pool.addresses,
            "identities": {role: pair._asdict() for role, pair in pool.pairs.items()},
            "invited": {key: pair._asdict() for key, pair in pool.invited.items()},
            "spent": pool.spent,
        }
        self._write(self._file(pool.server), document)

    def _file(self, server: str) -> Path:
        return self.folder / _POOLS / f"{hashlib.sha256(server.encode()).hexdigest()[:16]}.json"

    def _pool(self, file: Path) -> KnownPool | None:
        found = self._read(file)
        if found is None:
            return None
        try:
            identities = cast("dict[str, Any]", found["identities"])
            pairs = {role: _pair(file, identities[role]) for role in identities if role in ROLES}
            invited = {str(key): _pair(file, pair) for key, pair in found.get("invited", {}).items()}
            spent = {str(key): str(role) for key, role in found.get("spent", {}).items()}
            addresses = [str(address) for address in found["addresses"]]
            return KnownPool(_key(file, found["server"]), addresses, pairs, invited, spent)
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

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_mode(folder, folder.stat())
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from None

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        """Whole or not at all, and from its first byte on for nobody else to read."""
        for folder in (self.folder, file.parent):
            self._make(folder)
        try:
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
