"""How a peer on this machine reaches a pool: the addresses to try, and the identity with which it speaks there.

Reads and writes this machine's folder of identities (`keys.Home`). An address that no identity belongs to is spoken to
as it is, which works on one machine. An invitation makes an identity the first time; after that it, or the bare
address, finds it again.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

from ..workers.errors import ConfigError
from . import invitations
from .contract import Credentials
from .keys import Home, KnownPool, new_pair
from .messages import Hello

_SENDER = "client"


class Way(NamedTuple):
    """One way to try.

    Attributes:
        address: Where.
        credentials: With which identity; None: without.
        enroll: The public key that is to be made known there, "" if that has been done.
    """

    address: str
    credentials: Credentials | None = None
    enroll: str = ""


class Access:
    """One peer's ways to its pool, in turn.

    Args:
        target: An address or an invitation.
        wanted: `host` or `client`.
        home: This machine's identities.

    Attributes:
        address: Where the pool is, for people.
        denials: How often the pool there has said that it lets nobody in who comes as we do.

    Raises:
        ConfigError: The invitation is broken or for something else, or this machine's identities cannot be used.
    """

    def __init__(self, target: str, wanted: str, home: Home) -> None:
        self._home = home
        self._turns = count()
        self._pool: KnownPool | None = None
        self._role = ""
        self._invitation: invitations.Invitation | None = None
        self._now = Way(target)
        self.denials = 0
        self._denied: set[bool] = set()  # of those ways that come with the invitation (True), of the others (False)
        if invitations.is_invitation(target):
            self._accept(invitations.read(target), wanted)
        else:
            self.address = target
            self._find(target, wanted)

    def _accept(self, invitation: invitations.Invitation, wanted: str) -> None:
        """Make and keep an own identity before anything is said: what the pool comes to know must not be lost."""
        if (invitation.role == "host") != (wanted == "host"):
            cure = f"workerhost invite --role {wanted}"
            raise ConfigError(f"this invitation is for a {invitation.role}, not for a {wanted}; ask for one: {cure}")
        self._invitation, self._role = invitation, invitation.role
        self.address = invitation.addresses[0]
        pool = self._home.pool(invitation.server) or KnownPool(invitation.server)
        known = (self._role in pool.pairs, list(pool.addresses))
        pool.pairs.setdefault(self._role, new_pair())
        pool.addresses = [*invitation.addresses, *(one for one in pool.addresses if one not in invitation.addresses)]
        if known != (True, pool.addresses):
            self._home.keep(pool)
        self._pool = pool

    def _find(self, address: str, wanted: str) -> None:
        pool = self._home.pool_at(address) if address.startswith("tcp://") else None
        if pool is None:
            return
        role = pool.role_for(wanted)
        if role is None:
            as_what = " and ".join(sorted(pool.pairs)) or "nobody"
            cure = f"there: workerhost invite --role {wanted}"
            raise ConfigError(f"{address}: this machine is known to that pool as {as_what}, not as a {wanted}; {cure}")
        self._pool, self._role = pool, role

    def next(self) -> Way:
        """The way to try now. What is not known there yet comes with the invitation and by itself in turn, because the
        answer to an enrollment may be lost.
        """
        turn = next(self._turns)
        pool, invitation = self._pool, self._invitation
        if pool is None:
            self._now = Way(self.address)
            return self._now
        own = pool.pairs[self._role]
        enrolled = self._role in pool.enrolled or invitation is None
        addresses = pool.addresses if invitation is not None else [self.address]
        ways = len(addresses) * (1 if enrolled else 2)
        address = addresses[turn % ways // (1 if enrolled else 2)]
        if enrolled or turn % 2 or invitation is None:
            self._now = Way(address, Credentials(pool.server, own))
        else:
            self._now = Way(address, Credentials(pool.server, invitation.pair), own.public)
        return self._now

    def greeting(self, hello: Hello) -> Hello:
        """A HELLO as it is said on the present way."""
        if not self._now.enroll:
            return hello
        offer: dict[str, Any] = {**hello.offer, "enroll": self._now.enroll}
        return replace(hello, offer=offer)

    def enrolled(self) -> None:
        """The pool knows our own identity from now on.

        Raises:
            ConfigError: That cannot be written down.
        """
        if self._pool is not None and self._role not in self._pool.enrolled:
            self._pool.enrolled.add(self._role)
            self._home.keep(self._pool)

    def denied(self) -> None:
        """The pool has said that it does not know us on the present way; another may be left."""
        self._denied.add(bool(self._now.enroll))
        if self._invitation is None or self._pool is None or self._role in self._pool.enrolled or len(self._denied) > 1:
            self.denials += 1

    def guarded(self) -> bool:
        """Whether an identity is shown at all."""
        return self._pool is not None
