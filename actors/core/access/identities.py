"""Who may do what in a pool that other machines can reach: identities, invitations, and what each role allows.

An identity is a public key; that its owner speaks was proved by the connection. The role is the identity's, never the
message's. Everything here is asked at every message, so a revocation acts on the next one. A pool without identities
(`guarded` False) stays on its machine, and whoever reaches it there may do everything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final

from ..step import Step

ANYBODY: Final = ""
"""The identity of who speaks where nothing is proved."""

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "admin": ("admin", "client", "observer"),
    "client": ("client", "observer"),
    "observer": ("observer", "client"),
    "host": ("host",),
}
"""Role of an identity -> what its HELLO may ask to be. A client's program says `client`, whatever its identity is."""

IDENTITIES_MAX: Final = 10_000
INVITATIONS_MAX: Final = 1_000
USES_MAX: Final = 10_000
_NAME_MAX: Final = 255
_PUBLIC: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")  # Z85, ZeroMQ RFC 32


def is_key(text: Any) -> bool:
    """Whether it has the form of a key."""
    return isinstance(text, str) and _PUBLIC.match(text) is not None


def fingerprint(public: str) -> str:
    """Eight characters by which people tell public keys apart."""
    return hashlib.sha256(public.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Proved:
    """News of a connection that speaks for the first time: the public key that it proved to have, and the IP address it
    comes from ("": not known).
    """

    identity: str
    ip: str = ""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """News of handshakes that were refused: how often, and from which IP address at last, by public key."""

    times: Mapping[str, int]
    ips: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Garbled:
    """News of a frame that was no message."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One known key.

    Attributes:
        public: The key.
        role: `client`, `host`, `observer` or `admin`.
        name: For people.
        serve: Subtrees that a host may claim; empty: all.
        added_at: When it became known, wall time.
        expires: Until when it is good, wall time, or None.
        revoked_at: Since when it is good for nothing, wall time, or None.
    """

    public: str
    role: str
    name: str = ""
    serve: tuple[str, ...] = ()
    added_at: float = 0.0
    expires: float | None = None
    revoked_at: float | None = None

    def good(self, wall: float) -> bool:
        """Whether it may do anything at all now."""
        return self.revoked_at is None and (self.expires is None or wall < self.expires)

    def ended_at(self) -> float:
        """Since when it is good for nothing, or will be; infinity if that is not known."""
        return min(inf if at is None else at for at in (self.revoked_at, self.expires))

    def row(self) -> tuple[Any, ...]:
        """As the store keeps it."""
        serve = ",".join(self.serve)
        return (self.public, self.role, self.name, serve, self.added_at, self.expires, self.revoked_at)


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was made: a key with which others may make themselves known.

    Attributes:
        public: The invitation's key.
        role: What they will be.
        serve: As in `Identity`.
        uses: How many more.
        expires: Until when, wall time.
        valid: For how many seconds those who use it are known; None: until they are revoked.
    """

    public: str
    role: str
    serve: tuple[str, ...]
    uses: int
    expires: float
    valid: float | None = None

    def row(self) -> tuple[Any, ...]:
        """As the store keeps it."""
        return (self.public, self.role, ",".join(self.serve), self.uses, self.expires, self.valid)


class Identities:
    """All keys that a pool knows.

    Attributes:
        guarded: Whether connections prove who speaks.
        known: By public key, revoked ones too.
        invited: Open invitations, by public key.
    """

    def __init__(self, guarded: bool, known: Iterable[tuple[Any, ...]], invited: Iterable[tuple[Any, ...]]) -> None:
        self.guarded = guarded
        self.known = {
            public: Identity(public, role, name, _serve(serve), added_at, expires, revoked_at)
            for public, role, name, serve, added_at, expires, revoked_at in known
        }
        self.invited = {
            public: Invited(public, role, _serve(serve), uses, expires, valid)
            for public, role, serve, uses, expires, valid in invited
        }

    def admits(self, public: str, wall: float) -> bool:
        """Whether a connection with this key is let in."""
        return self.identity(public, wall) is not None or self.invitation(public, wall) is not None

    def identity(self, public: str, wall: float) -> Identity | None:
        """Who has this key, if that is worth anything now."""
        found = self.known.get(public)
        return found if found is not None and found.good(wall) else None

    def invitation(self, public: str, wall: float) -> Invited | None:
        """The invitation with this key, if it is still good."""
        found = self.invited.get(public)
        return found if found is not None and found.uses > 0 and wall < found.expires else None

    def refusal(self, public: str) -> str:
        """Why a key is good for nothing, in words."""
        found = self.known.get(public)
        if found is None:
            return "this identity is not known here; ask for an invitation: workerhost invite"
        if found.revoked_at is not None:
            return "this identity was revoked; ask for a new invitation: workerhost invite"
        return "this identity has expired; ask for a new invitation: workerhost invite"

    def enroll(self, step: Step, invitation: Invited, public: str, name: str) -> Identity:
        """Somebody with an invitation makes a key of its own known. The same key once more changes nothing.

        Raises:
            ValueError: The pool knows as many as it can, or that key was revoked.
        """
        found = self.known.get(public)
        if found is not None:
            if not found.good(step.wall):
                raise ValueError(self.refusal(public))
            return found
        expires = None if invitation.valid is None else step.wall + invitation.valid
        found = Identity(public, invitation.role, name[:_NAME_MAX], invitation.serve, step.wall, expires)
        self._know(step, found)
        self._invite(step, replace(invitation, uses=invitation.uses - 1))
        return found

    def trust(self, step: Step, identity: Identity) -> None:
        """Know a key from now on; one that was revoked is good again.

        Raises:
            ValueError: The pool knows as many as it can.
        """
        self._know(step, replace(identity, added_at=step.wall))
        step.note("info", "identity_trusted", key=fingerprint(identity.public), role=identity.role, name=identity.name)

    def trust_all(self, step: Step, identities: Iterable[Identity]) -> None:
        """Know several keys; those that are known as they are stay as they are."""
        for identity in identities:
            known = self.known.get(identity.public)
            if known is None or replace(identity, added_at=known.added_at) != known:
                self.trust(step, identity)

    def revoke(self, step: Step, public: str) -> bool:
        """Let a key, or an invitation, be good for nothing any more; False if there is none."""
        if (invitation := self.invited.get(public)) is not None:
            self._invite(step, replace(invitation, uses=0))
            return True
        found = self.known.get(public)
        if found is None or found.revoked_at is not None:
            return found is not None
        self._know(step, replace(found, revoked_at=step.wall))
        step.note("warning", "identity_revoked", key=fingerprint(public), role=found.role, name=found.name)
        return True

    def invite(self, step: Step, invitation: Invited) -> None:
        """Let whoever has this invitation's secret make itself known.

        Raises:
            ValueError: Too many are open.
        """
        for old in [one for one in self.invited.values() if one.uses <= 0 or one.expires <= step.wall]:
            self._invite(step, replace(old, uses=0))
        if len(self.invited) >= INVITATIONS_MAX:
            raise ValueError(f"{INVITATIONS_MAX} invitations are open; revoke some, or let them expire")
        self._invite(step, invitation)
        step.note("info", "invitation_made", role=invitation.role, uses=invitation.uses)

    def _know(self, step: Step, identity: Identity) -> None:
        if len(self.known) >= IDENTITIES_MAX and identity.good(step.wall):
            self._make_room(step, identity.public)
        self.known[identity.public] = identity
        step.persist.identities.append(identity.row())

    def _make_room(self, step: Step, public: str) -> None:
        """Those that are good for nothing are listed, as many as may be good; the oldest of more are forgotten."""
        others = [one for one in self.known.values() if one.public != public]
        past = sorted((one for one in others if not one.good(step.wall)), key=Identity.ended_at)
        if len(others) - len(past) >= IDENTITIES_MAX:
            raise ValueError(f"the pool knows {IDENTITIES_MAX} identities already; revoke some")
        for old in past[: max(0, len(others) + 1 - 2 * IDENTITIES_MAX)]:
            del self.known[old.public]
            step.persist.forgotten_identities.append(old.public)

    def _invite(self, step: Step, invitation: Invited) -> None:
        if invitation.uses > 0:
            self.invited[invitation.public] = invitation
        else:
            self.invited.pop(invitation.public, None)
        step.persist.invitations.append(invitation.row())


def _serve(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)
