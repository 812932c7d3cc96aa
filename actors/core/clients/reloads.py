"""The configuration is read again while the pool runs: who asked for it, and what becomes of what was read.

Reading is the shell's business (`effects.Reread`); here the tree, the limits, the entries of hosts and the alerts are
replaced. Running tasks keep what they were granted with, a lowered limit waits for leases to end, and tasks of a node
that is gone stay queued. What was read and is wrong changes nothing. What is right is always taken over, whatever is
found to differ: hosts read their own files then, too, and whether those say something new nobody here can know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ....config.changes import Change
from ....transport.messages import Admin, Reply
from ..effects import Reread
from ..hosts.membership import Membership
from ..sessions import Sessions
from ..settings import PoolSettings
from ..step import Peer, Step
from ..tasks.firings import Firings
from ..telling.report import Report
from .requests import Requests

_TOLD_MAX: Final = 1000  # changes or problems that one answer names


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was read and is right.

    Attributes:
        settings: What it says; `PoolSettings.taking_over` knows what of it counts.
        changes: How it differs from what was in effect, to be told.
    """

    settings: PoolSettings
    changes: list[Change]


class Reloads:
    """Who waits for the configuration to be read again, and where it goes then."""

    def __init__(
        self, sessions: Sessions, membership: Membership, report: Report, requests: Requests, firings: Firings
    ) -> None:
        self._sessions, self._membership, self._report, self._requests = sessions, membership, report, requests
        self._firings = firings
        self._askers: list[tuple[Peer, int]] = []
        self._ended: tuple[bytes, int, Reply] | None = None

    def ask(self, step: Step, peer: Peer, message: Admin) -> None:
        """A client wants the file to be read again; it is answered when that is done."""
        if self._ended is not None and self._ended[:2] == (peer.session.token, message.request):
            step.say(peer, self._ended[2])  # asked once more, because the answer was lost
            return
        if not self._askers:
            step.speech.append(Reread())
        self._askers.append((peer, message.request))

    def ended(self, step: Step, read: Configuration | list[str]) -> None:
        """The file was read: a configuration, or all that is wrong with it."""
        askers, self._askers = self._askers, []
        if isinstance(read, list):
            step.note("error", "configuration_refused", problems=read[:_TOLD_MAX])
            value: dict[str, Any] = {
                "code": "configuration",
                "reason": "\n".join(read[:_TOLD_MAX]),
            }
        else:
            told = [change._asdict() for change in read.changes[:_TOLD_MAX]]
            self._apply(step, self._report.settings.taking_over(read.settings))
            step.note("info", "configuration_read", changes=told)
            value = {"changes": told}
        for peer, request in askers:
            reply = Reply(request, not isinstance(read, list), value)
            self._ended = (peer.session.token, request, reply)
            if self._sessions.peers.get(peer.address) is peer:
                step.say(peer, reply)

    def _apply(self, step: Step, settings: PoolSettings) -> None:
        self._report.settings = settings
        self._report.watch.watch_for(settings.watching, settings.queue_depth_high)
        self._requests.max_size = settings.max_size
        self._requests.allowances.resize(settings.max_size)
        self._membership.queue.lanes.retune(settings.policies)
        self._membership.retune(step, settings.policies, settings.hosts)
        self._firings.configure(step, settings.schedules)
