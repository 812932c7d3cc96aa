"""How a peer on this machine reaches a pool: the addresses to try, and the identity with which it speaks there.

Reads and writes this machine's folder of identities (`keys.Home`). An address that no identity belongs to is spoken to
as it is, which works on one machine. An invitation makes an identity the first time; after that it, or the bare
address, finds it again.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, NamedTuple

from ..workers.errors import ConfigError
from . import invitations, knocking
from .contract import Credentials
from .keys import Home, KeyPair
from .messages import Hello, Message, Refused, Welcome


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
        wanted: `host`, `client`, or `observer`: a client that asks for a session in which nothing can be changed.
        home: This machine's identities.

    Attributes:
        wanted: As given.
        address: Where the pool is, for people.
        denials: How often the pool there has said that it lets nobody in who comes as we do.

    Raises:
        ConfigError: The invitation is broken or for something else, or this machine's identities cannot be used.
    """

    def __init__(self, target: str, wanted: str, home: Home) -> None:
        self._home, self.wanted = home, wanted
        self._turn = -1
        self._server = self._role = ""
        self._invitation: invitations.Invitation | None = None
        self._own: KeyPair | None = None
        self._known = False  # whether the pool has said that it knows our own pair
        self._now = Way(target)
        self.denials = 0
        self._denied: set[bool] = set()  # of those ways that come with the invitation (True), of the others (False)
        self._told = ""  # the address that is written down as the latest that answered
        if invitations.is_invitation(target):
            self._accept(invitations.read(target))
        else:
            self.address = target
            self._addresses = [target]
            self._find()

    def _accept(self, invitation: invitations.Invitation) -> None:
        """Make and keep an own identity before anything is said: what the pool comes to know must not be lost."""
        if (invitation.role == "host") != (self.wanted == "host"):
            cure = f"workerhost invite --role {self.wanted}"
            raise ConfigError(
                f"this invitation is for a {invitation.role}, not for a {self.wanted}; ask for one: {cure}"
            )
        self._invitation, self._role, self._server = invitation, invitation.role, invitation.server
        key = invitation.pair.public
        pool = self._home.pool(invitation.server)
        if pool is None or not (key in pool.invited or key in pool.spent):
            with self._home.changing(invitation.server) as pool:
                pool.pair_for(key, self._role)
        self._own, self._known = pool.pair_for(key, self._role), key in pool.spent
        met = [address for address in pool.addresses if address in invitation.addresses]
        self._addresses = [*met, *(one for one in invitation.addresses if one not in met)]
        self.address = self._addresses[0]

    def _find(self) -> None:
        """Which pool is met at the address by now: a supervisor may have got an identity, or lost it."""
        pool = self._home.pool_at(self.address) if self.address.startswith("tcp://") else None
        if pool is None or not pool.pairs:
            self._server, self._own = "", None
            return
        role = pool.role_for(self.wanted)
        if role is None:
            as_what = " and ".join(sorted(pool.pairs))
            cure = f"there: workerhost invite --role {self.wanted}"
            known = f"this machine is known to that pool as {as_what}, not as a {self.wanted}"
            raise ConfigError(f"{self.address}: {known}; {cure}")
        self._server, self._role, self._own, self._known = pool.server, role, pool.pairs[role], True

    def next(self) -> Way:
        """The way to try now. What is not known there yet comes with the invitation and by itself in turn, because the
        answer to an enrollment may be lost.
        """
        self._turn += 1
        invitation = self._invitation
        if invitation is None:
            if self._turn:
                with contextlib.suppress(ConfigError):  # what was known at the start goes on to count
                    self._find()
            self._now = Way(self.address, Credentials(self._server, self._own) if self._own else None)
            return self._now
        assert self._own is not None
        each = 1 if self._known else 2
        turn = self._turn % (len(self._addresses) * each)
        if turn == 0:
            self._addresses = knocking.in_order(self._addresses)
        address = self._addresses[turn // each]
        if self._known or turn % 2:
            self._now = Way(address, Credentials(self._server, self._own))
        else:
            self._now = Way(address, Credentials(self._server, invitation.pair), self._own.public)
        return self._now

    def greeting(self, hello: Hello) -> Hello:
        """A HELLO as it is said on the present way."""
        if not self._now.enroll:
            return hello
        offer: dict[str, Any] = {**hello.offer, "enroll": self._now.enroll}
        return replace(hello, offer=offer)

    def heard(self, message: Message) -> None:
        """The pool's answer to HELLO: that it knows us, and at which address, is written down if it can be."""
        enrolled = isinstance(message, Refused) and message.code == "enrolled"
        invitation = self._invitation
        if invitation is None or not (enrolled or isinstance(message, Welcome)):
            return
        if self._known and self._told == self._now.address:
            return
        address = self._now.address
        with contextlib.suppress(ConfigError):  # the pair is kept already, and would be told apart once more
            self._write_down(invitation, address)
        self._addresses = [address, *(one for one in self._addresses if one != address)]
        self.address = self._told = address
        if not self._known:
            self._known, self._turn = True, -1  # the same address again, as ourselves

    def _write_down(self, invitation: invitations.Invitation, address: str) -> None:
        others = [one for one in invitation.addresses if self._home.pool_at(one) is None]
        with self._home.changing(self._server) as pool:
            pool.enrolled(invitation.pair.public, self._role)
            pool.met([address])
            pool.addresses += [one for one in others if one not in pool.addresses]

    def denied(self) -> None:
        """The pool has said that it does not know us on the present way; another may be left."""
        self._denied.add(bool(self._now.enroll))
        if self._invitation is None or self._known or len(self._denied) > 1:
            self.denials += 1

    def guarded(self) -> bool:
        """Whether an identity is shown at all."""
        return self._own is not None
