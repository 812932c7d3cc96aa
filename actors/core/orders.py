"""What a person may order (ADMIN): each verb is a method, answered by REPLY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...config.policy import TYPE_PATTERN
from ...transport.messages import Admin, Reply
from .backups import Backups
from .membership import Membership
from .queue import Queue
from .reloads import Reloads
from .reports import shown
from .requests import Requests
from .step import Peer, Step


class Orders:
    """Every verb of ADMIN. A missing or malformed argument raises what `Pool` takes for a malformed message."""

    def __init__(
        self, queue: Queue, membership: Membership, requests: Requests, backups: Backups, reloads: Reloads
    ) -> None:
        self._queue, self._membership = queue, membership
        self._verbs: dict[str, Callable[[Step, Peer, Admin], None]] = {
            "retry": requests.retry,
            "pause": self._pause,
            "resume": self._pause,
            "drain": self._drain,
            "backup": backups.ask,
            "reload_config": reloads.ask,
        }

    def obey(self, step: Step, peer: Peer, message: Admin) -> None:
        """Do what is ordered, or say that there is no such verb."""
        verb = self._verbs.get(message.verb)
        if verb is None:
            reason = f"no verb {shown(message.verb)}"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
        else:
            verb(step, peer, message)

    def _pause(self, step: Step, peer: Peer, message: Admin) -> None:
        type: Any = message.arguments["type"]
        paused = message.verb == "pause"
        if TYPE_PATTERN.match(type) is None:
            reason = f"{shown(type)} is not a type"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
            return
        tree = self._queue.lanes.tree
        if paused:
            tree.pause(step, type)
        else:
            tree.resume(step, type)
        step.note("info", f"type_{message.verb}d", type=type)
        step.say(peer, Reply(message.request, True, {"type": type, "paused": paused}))

    def _drain(self, step: Step, peer: Peer, message: Admin) -> None:
        host, undo = str(message.arguments["host"]), bool(message.arguments.get("undo"))
        self._membership.drain(step, peer, message.request, host, undo)
