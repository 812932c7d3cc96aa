"""What a person may order (ADMIN): each verb is a method, answered by REPLY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...config.policy import TYPE_PATTERN
from ...transport.messages import Admin, Reply
from .backups import Backups
from .identities import fingerprint
from .keyring import Keyring
from .membership import Membership
from .queue import Queue
from .reloads import Reloads
from .reports import shown
from .requests import Requests
from .step import Peer, Step

_CLIENTS: Final = ("retry", "unblock")
"""What a client of a guarded pool may order; the rest is an admin's."""


class Orders:
    """Every verb of ADMIN. A missing or malformed argument raises what `Pool` takes for a malformed message."""

    def __init__(
        self,
        queue: Queue,
        membership: Membership,
        requests: Requests,
        backups: Backups,
        reloads: Reloads,
        keyring: Keyring,
    ) -> None:
        self._queue, self._membership, self._guarded = queue, membership, keyring.guarded
        self._last_reload = 0
        self._verbs: dict[str, Callable[[Step, Peer, Admin], None]] = {
            "retry": requests.retry,
            "unblock": requests.unblock,
            "pause": self._pause,
            "resume": self._pause,
            "drain": self._drain,
            "reload": self._reload,
            "backup": backups.ask,
            "reload_config": reloads.ask,
            "keys": keyring.keys,
            "trust": keyring.trust,
            "revoke": keyring.revoke,
            "invite": keyring.invite,
        }

    def obey(self, step: Step, peer: Peer, message: Admin) -> None:
        """Do what is ordered, or say that there is no such verb."""
        verb = self._verbs.get(message.verb)
        if self._guarded and peer.role != "admin" and message.verb not in _CLIENTS:
            step.note("warning", "order_refused", verb=shown(message.verb, 20), key=fingerprint(peer.identity))
            reason = f"only an admin may {shown(message.verb)}; this identity is that of a {peer.role}"
            step.say(peer, Reply(message.request, False, {"code": "forbidden", "reason": reason}))
        elif verb is None:
            reason = f"no verb {shown(message.verb)}"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
        else:
            if self._guarded:
                step.note("info", "order_obeyed", verb=message.verb, key=fingerprint(peer.identity))
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

    def _reload(self, step: Step, peer: Peer, message: Admin) -> None:
        name, type = message.arguments.get("host"), message.arguments.get("type")
        if type is not None and TYPE_PATTERN.match(type) is None:
            reason = f"{shown(type)} is not a type"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
            return
        self._last_reload = max(self._last_reload + 1, int(step.wall))  # grows over restarts, too
        hosts = self._membership.reload(step, self._last_reload, name, type)
        if not hosts:
            reason = f"no joined host is called {shown(name)}" if name is not None else f"no host serves {shown(type)}"
            reason = "no host has joined" if name is None and type is None else reason
            step.say(peer, Reply(message.request, False, {"code": "unknown", "reason": reason}))
            return
        step.note("info", "reload_ordered", hosts=hosts, type=type)
        step.say(peer, Reply(message.request, True, {"order": self._last_reload, "hosts": hosts}))

    def _drain(self, step: Step, peer: Peer, message: Admin) -> None:
        host, undo = str(message.arguments["host"]), bool(message.arguments.get("undo"))
        self._membership.drain(step, peer, message.request, host, undo)
