"""The numbers of one session's messages, in both directions. Pure: no clock, no socket.

A link may lose what was under way when a connection broke. Both sides count, so a loss shows as a gap; the side that
sees it ends the session and HELLO reconciles.
"""

from __future__ import annotations


class Numbering:
    """Counts what one side of a session sent and received. A new session has a new `Numbering`.

    HELLO, WELCOME and REFUSED open or refuse a session; they bear 0 and are not counted.

    Attributes:
        sent: The number of the last message that went out (0: none yet).
        seen: The number of the last message that came in (0: none yet). HEARTBEAT and ALIVE carry it.
    """

    __slots__ = ("seen", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.seen = 0

    def next(self) -> int:
        """Returns the number for the next outgoing message."""
        self.sent += 1
        return self.sent

    def accept(self, number: int) -> bool:
        """Takes note of an incoming message.

        Returns:
            False if it is not the one that must follow (something was lost, repeated, or is of an older session). Then
            nothing is noted and the session is over.
        """
        if number != self.seen + 1:
            return False
        self.seen = number
        return True

    def __repr__(self) -> str:
        return f"Numbering(sent={self.sent}, seen={self.seen})"
