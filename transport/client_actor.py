"""The actor of a client: its mailbox, its link, and the conversation between them. Decides nothing."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Protocol

import pykka

from ..workers.errors import ConfigError
from . import codec, link
from .access import Access
from .client_effects import Alarm, Connect, Disconnect, Effect, Leave, Say
from .clock import now
from .commands import Command
from .conversation import Conversation
from .mailbox import Mailbox
from .messages import Admin, Cancel, Hello, Query, Refused, Submit, Welcome

log: Final = logging.getLogger("workerhost.client")

FAREWELL_SECONDS: Final = 0.2
"""How long the last message may take to leave."""


class Callers(Protocol):
    """The threads that use a connection, as their actor sees them."""

    access: Access
    conversation: Conversation

    def taken(self) -> list[Command]:
        """The commands that were handed over since the last call."""
        ...

    def wake_all(self) -> None:
        """Let every waiting thread look again."""
        ...

    def unusable(self, error: ConfigError) -> None:
        """Nothing can ever be met at the address; the actor goes."""
        ...

    def ended(self) -> None:
        """The actor is gone."""
        ...


class ClientActor(pykka.ThreadingActor):
    """Carries commands and messages to the conversation and its effects back out."""

    # An interpreter must be able to exit without its clients being closed; `connection` says goodbye for them then.
    use_daemon_thread = True
    _create_actor_inbox = staticmethod(Mailbox)

    def __init__(self, callers: Callers) -> None:
        super().__init__()
        self._callers, self._conversation, self._access = callers, callers.conversation, callers.access
        self._inbox: Mailbox = self.actor_inbox  # pyright: ignore[reportAttributeAccessIssue]  # made by the factory
        self._link: link.PeerLink | None = None

    def on_start(self) -> None:
        """Open the first connection."""
        try:
            self._perform(self._conversation.start(now()))
        except BaseException:  # of what goes wrong here Pykka tells nobody but its log
            self.on_stop()
            raise

    def on_receive(self, message: Any) -> None:
        """One batch of what arrived: messages, a call to look at the commands, or nothing but time."""
        moment = now()
        conversation = self._conversation
        for item in message.items:
            if isinstance(item, link.Received) and item.link is self._link:
                self._perform(self._heard(item.body, moment))
            elif isinstance(item, link.Denied) and item.link is self._link:
                self._access.denied()
                self._callers.wake_all()
                self._perform(conversation.on_closed(moment))
            elif isinstance(item, link.Closed) and item.link is self._link:
                self._perform(conversation.on_closed(moment))
        commands = self._callers.taken()
        if commands:
            self._perform(conversation.take(commands, moment))
        if conversation.wake_at is not None and moment >= conversation.wake_at:
            self._perform(conversation.tick(moment))

    def _heard(self, body: bytes, moment: float) -> list[Effect]:
        try:
            number, message = codec.decode(body)
        except codec.Malformed as error:
            log.warning("message_malformed: %s", error)
            return self._conversation.on_broken(moment)
        if isinstance(message, Refused | Welcome):
            self._access.heard(message)
        return self._conversation.on_message(number, message, moment)

    def _perform(self, effects: Iterable[Effect]) -> None:
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            if isinstance(effect, Say):
                instead = self._say(effect)
                if instead is not None:
                    # What follows was meant for this link, except what is not for a link at all.
                    kept = [later for later in todo if isinstance(later, Alarm | Leave)]
                    todo = deque([*kept, *instead])
            elif isinstance(effect, Connect):
                way = self._access.next()
                try:
                    self._link = link.connect(way.address, self._inbox, way.credentials)
                except ConfigError as error:
                    self._callers.unusable(error)
                    self.stop()
                    break
            elif isinstance(effect, Disconnect):
                self._hang_up(FAREWELL_SECONDS if effect.farewell else 0.0)
            elif isinstance(effect, Alarm):
                self._callers.wake_all()
            else:
                self.stop()
        self._inbox.wake_at(self._conversation.wake_at)

    def _say(self, effect: Say) -> list[Effect] | None:
        """Send a message; what to do instead, if it did not leave."""
        said = effect.message
        if isinstance(said, Hello):
            said = self._access.greeting(said)
        try:
            body = codec.encode(said, effect.number)
        except (ValueError, TypeError, OverflowError) as error:
            if not isinstance(said, Submit | Query | Admin | Cancel):
                raise
            log.warning("message_unsaid: %s", error)
            return self._conversation.on_unsaid(said, f"it cannot be said: {error}", now())
        if self._link is None or not self._link.send(body):
            return self._conversation.on_broken(now())
        return None

    def _hang_up(self, flush: float = 0.0) -> None:
        if self._link is not None:
            self._link.close(flush)
            self._link = None

    def on_stop(self) -> None:
        """The conversation is over."""
        self._hang_up()
        self._callers.ended()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002  # Pykka has logged it
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """A bug: whoever waits must not wait for ever."""
        self.on_stop()
