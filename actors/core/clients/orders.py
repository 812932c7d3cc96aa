"""What a person may order (ADMIN): each verb is a method, answered by REPLY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from ....config.policy import TYPE_PATTERN
from ....transport.messages import Admin, Reply
from ..access.audit import Audit
from ..access.gate import Gate
from ..access.identities import fingerprint, is_key
from ..access.keyring import Keyring
from ..backups import Backups
from ..hosts.membership import Membership
from ..queue import Queue
from ..reports import shown
from ..step import Peer, Step
from ..tasks.edits import Edits
from ..tasks.firings import Firings
from ..tasks.removals import Removals
from .reloads import Reloads
from .requests import Requests

_CLIENTS: Final = ("cancel", "retry", "unblock")
"""What a client of a guarded pool may order; the rest is an admin's."""
_QUESTIONS: Final = ("keys",)
"""What changes nothing."""
_TOLD: Final = ("type", "host", "undo", "path", "role", "name", "uses", "seconds", "valid")
"""Arguments that are worth telling; a key is told by its fingerprint, tasks by their number."""
_TEXT_MAX: Final = 200
_AS: Final = {"name": "named"}


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
        gate: Gate,
        audit: Audit,
        edits: Edits,
        removals: Removals,
        firings: Firings,
    ) -> None:
        self._gate, self._audit = gate, audit
        self._queue, self._membership, self._guarded = queue, membership, keyring.guarded
        self._last_reload = 0
        self._verbs: dict[str, Callable[[Step, Peer, Admin], None]] = {
            "retry": requests.retries.ask,
            "clear_cache": requests.clearing.ask,
            "unblock": requests.unblock,
            "edit": edits.ask,
            "cancel": requests.cancel_where,
            "delete": removals.ask,
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
            **firings.verbs(),
        }

    def obey(self, step: Step, peer: Peer, message: Admin) -> None:
        """Do what is ordered, or say that there is no such verb."""
        verb = self._verbs.get(message.verb)
        if self._guarded and peer.role != "admin" and message.verb not in _CLIENTS:
            refused: dict[str, Any] = {"verb": shown(message.verb, 20), "role": peer.role}
            self._audit.tell(step, peer.identity, "warning", "order_refused", name=self._gate.name_of(peer), **refused)
            reason = f"only an admin may {shown(message.verb)}; this identity is that of a {peer.role}"
            step.say(peer, Reply(message.request, False, {"code": "forbidden", "reason": reason}))
        elif verb is None:
            reason = f"no verb {shown(message.verb)}"
            step.say(peer, Reply(message.request, False, {"code": "invalid", "reason": reason}))
        else:
            verb(step, peer, message)
            if message.verb not in _QUESTIONS:
                told: dict[str, Any] = {"verb": message.verb, **_about(message.arguments)}
                self._audit.tell(step, peer.identity, "info", "order_obeyed", name=self._gate.name_of(peer), **told)

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
        step.note("info", "type_paused" if paused else "type_resumed", type=type)
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


def _about(arguments: dict[str, Any]) -> dict[str, Any]:
    """What an order was about, short: it is written down."""
    told = {_AS.get(name, name): _short(arguments[name]) for name in _TOLD if arguments.get(name) is not None}
    key: Any = arguments.get("key")
    if key is not None:
        told["of"] = fingerprint(key) if is_key(key) else shown(key)
    where: Any = arguments.get("where")
    ids: Any = arguments.get("ids")
    if isinstance(where, dict):
        filters = cast("dict[Any, Any]", where)
        told["where"] = shown({name: value for name, value in filters.items() if name != "ids"}, _TEXT_MAX)
        ids = filters.get("ids")
    return told if not isinstance(ids, list) else {**told, "tasks": len(cast("list[Any]", ids))}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_TEXT_MAX]
    return value if isinstance(value, bool | int | float) else shown(value)
