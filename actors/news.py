"""From what a link delivers to what the core hears: whose frame it is, and what message a frame is.

Decides nothing: who is heard when is `core/access/arrivals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ..transport import clock
from ..transport.codec import Malformed, decode
from ..transport.link import Closed, Opened, Received
from ..transport.messages import Message
from .core.access.arrivals import Said
from .core.access.identities import Garbled, Proved
from .log import Log

_DROPPED_SECONDS: Final = 1.0

log = Log("supervisor")


def said(items: Iterable[Any]) -> Iterator[Said]:
    """What peers say in a batch; what is none of a peer's is passed over."""
    for item in items:
        if isinstance(item, Received):
            yield item.peer, item.body
        elif isinstance(item, Closed):
            yield item.peer, None
        elif isinstance(item, Opened):
            yield item.peer, Proved(item.identity, item.ip)


class Reader:
    """Frames to messages. What is none is counted, and said at most once a second.

    Args:
        wrote: Told of bytes that will be written for what is read.
    """

    def __init__(self, wrote: Callable[[int], object]) -> None:
        self._wrote = wrote
        self._dropped = 0
        self._dropped_said = 0.0

    def read(self, frame: bytes) -> tuple[int, Message | Garbled]:
        """A frame's number and message."""
        self._wrote(len(frame))
        try:
            return decode(frame)
        except Malformed as error:
            self._dropped += 1
            now = clock.now()
            if now - self._dropped_said >= _DROPPED_SECONDS:
                self._dropped_said = now
                log.warning("frame_dropped", reason=str(error), dropped=self._dropped)
            return 0, Garbled()
