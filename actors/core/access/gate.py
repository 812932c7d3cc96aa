"""The gate of a guarded pool: whose HELLO is heard, in which role, and whether what follows still counts.

It lets everything through where connections prove nothing (`Identities.guarded` False).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from ....config.policy import parents
from ....transport.messages import Admin, Cancel, Hello, Message, Query, Refused, Rejected, Reply, Submit
from ..reports import shown
from ..sessions import Sessions
from ..step import Peer, Step
from .allowances import MISTAKES_SECONDS, Allowances
from .audit import Audit
from .identities import ANYBODY, ROLES, Identities, Identity, Invited, TurnedAway, fingerprint, is_key

_WHY_MAX = 300
_NAME_MAX = 255


class Gate:
    """Asked about every HELLO and every message."""

    def __init__(self, identities: Identities, sessions: Sessions, allowances: Allowances, audit: Audit) -> None:
        self._identities, self._sessions, self._allowances = identities, sessions, allowances
        self._audit = audit
        self._complained = -1.0

    def greets(self, step: Step, address: bytes, hello: Hello) -> Hello | None:
        """The HELLO as it counts: in the role of who says it, and a host with no more than it may serve.

        None: it was answered with REFUSED. An invitation's key may do one thing, make another key known.

        Raises:
            ValueError: What is to be enrolled is no key.
        """
        if not self._identities.guarded:
            return hello
        public = self._sessions.identities.get(address, ANYBODY)
        invitation = self._identities.invitation(public, step.wall)
        if invitation is not None:
            self._enroll(step, address, invitation, hello)
            return None
        identity = self._identities.identity(public, step.wall)
        if identity is None:
            self._refuse(step, address, hello, public, self._identities.refusal(public))
            return None
        if hello.role not in ROLES[identity.role]:
            reason = f"this identity is that of {_an(identity.role)}, not of {_an(shown(hello.role))}"
            self._refuse(step, address, hello, public, reason)
            return None
        self._audit.tell(
            step, public, "info", "identity_joined", name=identity.name, role=identity.role, **self._from(address)
        )
        if identity.role == "host":
            return replace(hello, offer=_restricted(hello.offer, identity))
        return replace(hello, role=hello.role if _less(identity, hello.role) else identity.role)

    def passes(self, step: Step, peer: Peer) -> bool:
        """Whether who speaks may still do so; a revocation acts on the next message."""
        return not self._identities.guarded or self._identities.identity(peer.identity, step.wall) is not None

    def changed(self, step: Step, peer: Peer) -> bool:
        """Whether its identity has another role, or may claim something else, than when it said HELLO."""
        found = self._identities.identity(peer.identity, step.wall) if self._identities.guarded else None
        if found is None:
            return False
        return found.serve != peer.serve or (found.role != peer.role and not _less(found, peer.role))

    def remember(self, step: Step, address: bytes) -> None:
        """Somebody's HELLO counts: note what its identity may claim."""
        peer = self._sessions.peers.get(address)
        found = self._identities.identity(peer.identity, step.wall) if peer and self._identities.guarded else None
        if peer is not None and found is not None:
            peer.serve = found.serve

    def check_new(self, peer: Peer, now: float) -> None:
        """Whether a client that the store does not know may begin a session; that counts then.

        Raises:
            Unfit: Its identity has begun too many of late.
        """
        self._allowances.check_new(peer, now)

    def why_not(self, peer: Peer) -> str:
        """Why it may not."""
        return self._identities.refusal(peer.identity)

    def forbid(self, step: Step, peer: Peer, message: Message) -> bool:
        """A message that its sender's role does not allow: it is answered, where an answer is waited for, and noted.

        Returns:
            Whether nothing more is heard from it now.
        """
        kind = type(message).__name__
        who: dict[str, Any] = {"name": self.name_of(peer), "role": peer.role}
        self._audit.tell(
            step, peer.identity, "warning", "message_forbidden", **who, kind=kind, **self._from(peer.address)
        )
        whose = "this identity is" if peer.identity else "this connection is"
        reason = f"{whose} that of {_an(peer.role)}, which may not say {kind.upper()}"
        if isinstance(message, Submit):
            step.say(peer, Rejected(message.submission, "forbidden", reason))
        elif isinstance(message, (Cancel, Query, Admin)):
            step.say(peer, Reply(message.request, False, {"code": "forbidden", "reason": reason}))
        return self.mistaken(step, peer.address)

    def ignores(self, address: bytes, now: float) -> bool:
        """Whether what comes from there is not even answered, because too much of it was wrong."""
        allowances = self._allowances
        return bool(allowances.ignored) and allowances.ignores(self._sessions.identities.get(address, ANYBODY), now)

    def mistaken(self, step: Step, address: bytes) -> bool:
        """Something from there was wrong; whether nothing more is heard from there now."""
        identity = self._sessions.identities.get(address, ANYBODY)
        if identity == ANYBODY or not self._allowances.mistake(identity, step.now):
            return False
        self._audit.tell(step, identity, "warning", "identity_ignored", seconds=MISTAKES_SECONDS, **self._from(address))
        return True

    def turned_away(self, step: Step, news: TurnedAway) -> None:
        """Handshakes were refused: of keys that are known and good no more, and of strangers, who are all one."""
        for public, times in news.times.items():
            whence = {"ip": news.ips[public]} if news.ips.get(public) else {}
            known = self._identities.known.get(public)
            if known is not None:
                why = "revoked" if known.revoked_at is not None else "expired"
                told: dict[str, Any] = {"name": known.name, "role": known.role, "reason": why, **whence}
                self._audit.tell(step, public, "warning", "handshake_refused", times=times, **told)
            else:
                stranger = fingerprint(public) if public else "none"
                self._audit.tell(
                    step, ANYBODY, "warning", "handshake_refused", times=times, stranger=stranger, **whence
                )

    def name_of(self, peer: Peer) -> str:
        """What people call who speaks: by its identity, or as it calls itself where nothing is proved."""
        known = self._identities.known.get(peer.identity)
        return known.name if known is not None else str(getattr(peer.session, "name", ""))

    def _from(self, address: bytes) -> dict[str, Any]:
        """Where a connection comes from, as it is told."""
        ip = self._sessions.ips.get(address)
        return {"ip": ip} if ip else {}

    def complain(self, step: Step, address: bytes, message: Message, error: Exception) -> None:
        """A peer sent what no good peer sends: tell it why, and the log once a second at most."""
        kind, why = type(message).__name__, str(error)[:_WHY_MAX]
        step.say_first(address, Refused("forbidden", f"malformed {kind}: {why}"))
        self.mistaken(step, address)
        if step.now - self._complained >= 1.0:
            self._complained = step.now
            step.note("warning", "message_malformed", kind=kind, error=why)

    def _enroll(self, step: Step, address: bytes, invitation: Invited, hello: Hello) -> None:
        public: Any = hello.offer.get("enroll")
        if not is_key(public):
            raise ValueError("offer['enroll'] must be a public key")
        try:
            identity = self._identities.enroll(step, invitation, public, hello.name)
        except ValueError as error:
            self._refuse(step, address, hello, invitation.public, str(error))
            return
        by: dict[str, Any] = {"role": identity.role, "invitation": fingerprint(invitation.public)} | self._from(address)
        self._audit.tell(step, public, "info", "identity_enrolled", name=identity.name, **by)
        step.say_first(address, Refused("enrolled", f"known as {identity.role} from now on; connect with your own key"))

    def _refuse(self, step: Step, address: bytes, hello: Hello, public: str, reason: str) -> None:
        told: dict[str, Any] = {"role": shown(hello.role, 20), "reason": reason} | self._from(address)
        self._audit.tell(step, public, "warning", "identity_refused", name=hello.name[:_NAME_MAX], **told)
        step.say_first(address, Refused("forbidden", reason))


def _restricted(offer: dict[str, Any], identity: Identity) -> dict[str, Any]:
    """A host's offer within the subtrees that it may claim."""
    if not identity.serve:
        return offer
    asked: Any = offer.get("serve") or []
    wanted = [str(type) for type in cast("list[Any]", asked)] if isinstance(asked, list) else []
    allowed = [type for type in wanted if not set(identity.serve).isdisjoint(parents(type))]
    narrower = [type for type in identity.serve if not wanted or not set(wanted).isdisjoint(parents(type))]
    # Nothing of what it wants is allowed: an empty `serve` would mean everything.
    return {**offer, "serve": sorted({*allowed, *narrower}) or list(identity.serve), **_nothing(allowed, narrower)}


def _nothing(allowed: list[str], narrower: list[str]) -> dict[str, Any]:
    return {} if allowed or narrower else {"types": [], "any": False}


def _less(identity: Identity, role: str) -> bool:
    """Whether an admin's program has asked for a session that may change nothing."""
    return identity.role == "admin" and role == "observer"


def _an(role: str) -> str:
    return f"an {role}" if role[:1] in "aeo" else f"a {role}"
