"""Who comes in over the network: asked at each handshake, in the supervisor's own thread. The pool decides.

Who is turned away has no connection and says nothing, so it is counted here until the next turn tells the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from ..transport import clock
from ..transport.keys import KeyPair
from .core.access.identities import TurnedAway
from .core.pool import Pool

_KEYS_MAX: Final = 20
"""Keys that are told one by one; the others of a turn are told as none."""


class Door:
    """The supervisor's `Guard`.

    Args:
        pool: The pool as it is now; None: nobody is let in, nor turned away for good.
        pair: The supervisor's identity.
        knocked: Called when somebody is turned away and nobody was since the last `turned_away`.
    """

    def __init__(self, pool: Callable[[], Pool | None], pair: KeyPair, knocked: Callable[[], object]) -> None:
        self._pool, self.pair, self._knocked = pool, pair, knocked
        self._away: Counter[str] = Counter()
        self._ips: dict[str, str] = {}

    def admits(self, public: str, ip: str) -> bool | None:
        """See `Guard.admits`."""
        pool = self._pool()
        if pool is None or pool.allowances.ignores(public, clock.now()):
            return None
        welcome = pool.identities.admits(public, clock.wall())
        if not welcome:
            if not self._away:
                self._knocked()
            told = public if len(self._away) < _KEYS_MAX else ""
            self._away[told] += 1
            self._ips[told] = ip
        return welcome

    def ignores(self, public: str) -> bool:
        """See `Guard.ignores`."""
        pool = self._pool()
        return pool is not None and bool(pool.allowances.ignored) and pool.allowances.ignores(public, clock.now())

    def turned_away(self) -> TurnedAway | None:
        """Who was since this was asked last; None: nobody."""
        away, self._away = self._away, Counter()
        ips, self._ips = self._ips, {}
        return TurnedAway(away, ips) if away else None
