"""What an admin may order about identities: `keys`, `trust`, `revoke`, `invite`."""

from __future__ import annotations

from typing import Any, Final, cast

from ....config.policy import TYPE_PATTERN
from ....transport.messages import Admin, Reply
from ..reports import SECONDS_MAX, shown
from ..reports import seconds as checked_seconds
from ..step import Peer, Step
from .identities import ROLES, USES_MAX, Identities, Identity, Invited, fingerprint, is_key

_TYPES_MAX: Final = 100
_NAME_MAX: Final = 255


class Keyring:
    """The verbs. A malformed argument raises what `Pool` takes for a malformed message."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self.guarded = identities.guarded

    def keys(self, step: Step, peer: Peer, message: Admin) -> None:
        """List what is known and what is open."""
        known = [
            {
                "key": one.public,
                "role": one.role,
                "name": one.name,
                "serve": list(one.serve),
                "since": one.added_at,
                "expires": one.expires,
                "revoked_at": one.revoked_at,
            }
            for one in self._identities.known.values()
        ]
        open_ones = [
            {
                "key": one.public,
                "role": one.role,
                "serve": list(one.serve),
                "uses": one.uses,
                "expires": one.expires,
                "valid": one.valid,
            }
            for one in self._identities.invited.values()
            if one.expires > step.wall
        ]
        value = {"guarded": self._identities.guarded, "identities": known, "invitations": open_ones}
        step.say(peer, Reply(message.request, True, value))

    def trust(self, step: Step, peer: Peer, message: Admin) -> None:
        """Know a key that was told in another way."""
        given = message.arguments
        lasts, name = _valid(given), str(given.get("name", ""))[:_NAME_MAX]
        expires = None if lasts is None else step.wall + lasts
        identity = Identity(_key(given["key"]), _role(given["role"]), name, _types(given), expires=expires)
        self._obey(step, peer, message, lambda: self._identities.trust(step, identity), {"key": identity.public})

    def revoke(self, step: Step, peer: Peer, message: Admin) -> None:
        """Let a key, or an invitation, be good for nothing any more. It may be named by its fingerprint."""
        wanted = str(message.arguments["key"])
        everything = (*self._identities.known, *self._identities.invited)
        found = [key for key in everything if wanted in (key, fingerprint(key))]
        if len(found) == 1:
            self._identities.revoke(step, found[0])
            step.say(peer, Reply(message.request, True, {"key": found[0]}))
            return
        reason = f"{len(found)} keys have the fingerprint {shown(wanted)}; name the whole key"
        if not found:
            reason = f"no key {shown(wanted)} is known here; see: workerhost keys list"
        step.say(peer, Reply(message.request, False, {"code": "unknown", "reason": reason}))

    def invite(self, step: Step, peer: Peer, message: Admin) -> None:
        """Let whoever has the secret of a key make a key of its own known. The secret stays with who asks."""
        if not self._identities.guarded:
            reason = "this pool listens on its own machine only; start it with `workerhost up --network`"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
            return
        given = message.arguments
        uses: Any = given.get("uses", 1)
        if type(uses) is not int or not 0 < uses <= USES_MAX:
            raise ValueError(f"uses must be from 1 to {USES_MAX}")
        lasts = min(checked_seconds(given["seconds"]), SECONDS_MAX)
        expires = step.wall + lasts
        invited = Invited(_key(given["key"]), _role(given["role"]), _types(given), uses, expires, _valid(given))
        value = {"key": invited.public, "expires": invited.expires}
        self._obey(step, peer, message, lambda: self._identities.invite(step, invited), value)

    def _obey(self, step: Step, peer: Peer, message: Admin, change: Any, value: dict[str, Any]) -> None:
        try:
            change()
        except ValueError as error:
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": str(error)}))
        else:
            step.say(peer, Reply(message.request, True, value))


def _key(value: Any) -> str:
    if not is_key(value):
        raise ValueError("a public key has 40 characters of Z85")
    return value


def _role(value: Any) -> str:
    if value not in ROLES:
        raise ValueError(f"{shown(value)} is no role; use {', '.join(ROLES)}")
    return value


def _valid(given: dict[str, Any]) -> float | None:
    """For how many seconds an identity is to be good; None: for good."""
    valid: Any = given.get("valid")
    return None if valid is None else checked_seconds(valid)


def _types(given: dict[str, Any]) -> tuple[str, ...]:
    said: Any = given.get("serve") or []
    types = cast("list[Any]", said) if isinstance(said, list) else [None]
    if len(types) > _TYPES_MAX or not all(map(_is_type, types)):
        raise ValueError("serve must be a list of types")
    return tuple(map(str, types))


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and TYPE_PATTERN.match(value) is not None
