"""Tasks that shall answer for no further ones: all of a node, or the one that has a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....config.policy import TYPE_PATTERN
from ....transport.messages import STATES, Admin, Reply
from ..effects import Consult
from ..reports import shown
from ..rows import COMPLETED
from ..step import Peer, Step
from .intake import Intake


class Clearing:
    """The verb `clear_cache` of ADMIN."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """Let results answer for nothing from now on; for a key the store must say whose it is."""
        type: Any = message.arguments.get("type") or ""
        key: Any = message.arguments.get("key")
        if type and TYPE_PATTERN.match(type) is None:
            self._refuse(step, peer, message, f"{shown(type)} is not a type")
        elif key is None:
            self._intake.clear(step, type)
            step.note("info", "cache_cleared", type=type)
            step.say(peer, Reply(message.request, True, {"type": type}))
        elif not isinstance(key, str) or not type:
            self._refuse(step, peer, message, "a key is a text and goes with the type of its task")
        else:
            context = peer, message.request
            step.needs.append(Consult(((peer.owner or "", type, key),), (), "clear", context, peer.owner))

    def consulted(self, step: Step, need: Consult, found: Sequence[Any]) -> None:
        """Who has the key is known: a completed task gives it free, an unfinished one keeps it."""
        peer, request = need.context
        reply: dict[str, Any] = {"type": need.keys[0][1], "key": need.keys[0][2], "task": None}
        for name, until, digest, (id, state, _) in found:
            reply |= {"task": id, "state": STATES[int(state)].value}
            if state == COMPLETED and until > step.wall:
                step.persist.keys.append((id, *name, 0.0, digest))
                step.note("info", "key_cleared", type=name[1], key=shown(name[2]), task=id)
        step.say(peer, Reply(request, True, reply))

    def _refuse(self, step: Step, peer: Peer, message: Admin, reason: str) -> None:
        step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
