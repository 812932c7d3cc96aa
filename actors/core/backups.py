"""Copies of the database that clients ask for: one at a time, and whoever asks for the same one hears of it too."""

from __future__ import annotations

from typing import Any

from ...transport.messages import Admin, Reply
from .effects import Backup
from .sessions import Sessions
from .step import Peer, Step


class Backups:
    """Who waits for which copy.

    Attributes:
        path: What is being copied into, as it was asked for, or None.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.path: str | None = None
        self._askers: list[tuple[Peer, int]] = []
        self._ended: tuple[str, bytes, int, Reply] | None = None

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """A client wants a copy; it is answered when that is on the disk."""
        path: Any = message.arguments["path"]
        request = message.request
        if not isinstance(path, str) or not path or "\0" in path:
            step.say(peer, Reply(request, False, {"code": "invalid", "reason": "path must be a file's name"}))
        elif self._ended is not None and self._ended[:3] == (path, peer.session.token, request):
            step.say(peer, self._ended[3])  # asked once more, because the answer was lost
        elif self.path not in (None, path):
            reason = f"a backup into {self.path} is being made; ask again when it is done"
            step.say(peer, Reply(request, False, {"code": "busy", "reason": reason}))
        else:
            if self.path is None:
                self.path = path
                step.speech.append(Backup(path))
            self._askers.append((peer, request))

    def ended(self, step: Step, fault: str | None, size: int) -> None:
        """The copy is on the disk, or there is none."""
        path, askers = self.path, self._askers
        self.path, self._askers = None, []
        if path is None:
            return
        step.note("info" if fault is None else "warning", "backup_ended", path=path, bytes=size, fault=fault)
        for peer, request in askers:
            value = {"path": path, "bytes": size} if fault is None else {"code": "backup", "reason": fault}
            reply = Reply(request, fault is None, value)
            self._ended = (path, peer.session.token, request, reply)
            if self._sessions.peers.get(peer.address) is peer:
                step.say(peer, reply)
