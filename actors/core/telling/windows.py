"""Counters over time: what grew in the last minute, five minutes, hour. Pure; time is given.

A `Series` takes looks at counters that only grow, of a supervisor that may start again (then they begin at zero), and
keeps few of them: enough for each window, never more. Everything a person reads (rates, means, quantiles) is made of
two looks by `Growth`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from ..statistics import BOUNDS

WINDOWS: Final = {"1m": 60.0, "5m": 300.0, "1h": 3600.0}
"""Seconds, by name."""
_STEPS: Final = {"1m": 5.0, "5m": 30.0, "1h": 300.0}
_EXTRA: Final = 2  # looks kept beyond a window: one that is just too old, and one that is just too new
COUNTED: Final = (
    "sent", "completed", "failed", "cancelled", "quarantined", "retried", "rescued", "released", "attempts", "seconds",
    "grants", "waited", "hits",
)  # fmt: skip
"""What of a snapshot's numbers is kept, beside the failures of all causes."""


class Totals(NamedTuple):
    """Counters at one moment; see `statistics.Figures`.

    Attributes:
        errors: Attempts that failed, whatever the cause.
        busy: Seconds that slots ran tasks, added up over all of them.
        able: Seconds that slots were there.
        deep: Seconds that tasks were queued, added up over all of them.
        durations, waits: In buckets; empty where they are not kept.
    """

    sent: float = 0
    completed: float = 0
    failed: float = 0
    cancelled: float = 0
    quarantined: float = 0
    retried: float = 0
    rescued: float = 0
    released: float = 0
    attempts: float = 0
    seconds: float = 0
    grants: float = 0
    waited: float = 0
    hits: float = 0
    errors: float = 0
    busy: float = 0
    able: float = 0
    deep: float = 0
    durations: tuple[float, ...] = ()
    waits: tuple[float, ...] = ()


NOTHING: Final = Totals()


def totals(numbers: Mapping[str, Any]) -> Totals:
    """The counters of a node or host in a snapshot."""
    return Totals(
        *(numbers.get(name, 0) for name in COUNTED),
        errors=sum(numbers.get("causes", {}).values()),
        durations=tuple(numbers.get("durations", ())),
        waits=tuple(numbers.get("waits", ())),
    )


def _plus(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True)) if a and b else tuple(a or b)


def _minus(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True)) if a and b else tuple(a)


def added(a: Totals, b: Totals) -> Totals:
    """Both together."""
    plain = (x + y for x, y in zip(cast("Any", a[:-2]), cast("Any", b[:-2]), strict=True))
    return Totals(*plain, durations=_plus(a.durations, b.durations), waits=_plus(a.waits, b.waits))


def difference(new: Totals, old: Totals) -> Totals:
    """What grew from one look to a later one."""
    plain = (x - y for x, y in zip(cast("Any", new[:-2]), cast("Any", old[:-2]), strict=True))
    return Totals(*plain, durations=_minus(new.durations, old.durations), waits=_minus(new.waits, old.waits))


class Growth(NamedTuple):
    """What happened in a stretch of time.

    Attributes:
        span: Its length in seconds.
        of: What grew in it.
    """

    span: float
    of: Totals

    def ends(self) -> float:
        """Tasks that ended, other than by being cancelled."""
        return self.of.completed + self.of.failed + self.of.quarantined

    def per_second(self) -> float | None:
        """Ends a second."""
        return self.ends() / self.span if self.span > 0 else None

    def success(self) -> float | None:
        """Share of the ends that were good ones."""
        return _ratio(self.of.completed, self.ends())

    def errors(self) -> float | None:
        """Share of the attempts that failed."""
        return _ratio(self.of.errors, self.of.attempts)

    def duration(self) -> float | None:
        """Mean seconds of an attempt."""
        return _ratio(self.of.seconds, self.of.attempts)

    def wait(self) -> float | None:
        """Mean seconds that a task waited for its first attempt."""
        return _ratio(self.of.waited, self.of.grants)

    def utilisation(self) -> float | None:
        """Share of the slots that was in use."""
        return _ratio(self.of.busy, self.of.able)

    def empty_in(self, queued: int) -> float | None:
        """Seconds until nothing is queued if all goes on like this; None: never, or not known."""
        if queued <= 0 or self.span <= 0:
            return None
        shrinks = (self.ends() + self.of.cancelled - self.of.sent) / self.span
        return queued / shrinks if shrinks > 0 else None

    def shown(self) -> dict[str, Any]:
        """What a person wants to know of it. None: not known, nothing of it happened."""
        of = self.of
        return {
            "sent": of.sent,
            "hits": of.hits,
            "completed": of.completed,
            "failed": of.failed + of.quarantined,
            "cancelled": of.cancelled,
            "retried": of.retried,
            "rescued": of.rescued,
            "released": of.released,
            "attempts": of.attempts,
            "errors": of.errors,
            "per_second": self.per_second(),
            "success": self.success(),
            "error_rate": self.errors(),
            "duration": self.duration(),
            "duration_p95": quantile(of.durations, 0.95),
            "wait": self.wait(),
            "wait_p95": quantile(of.waits, 0.95),
            "utilisation": self.utilisation(),
            "depth": of.deep / self.span if self.span > 0 else None,
            "span": self.span,
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def quantile(buckets: Sequence[float], share: float) -> float | None:
    """The value below which a share of what was counted lies, evenly spread within its bucket; None: nothing counted.

    What lies above all bounds is taken as the last bound.
    """
    count = sum(buckets)
    if count <= 0:
        return None
    wanted, below, lower = share * count, 0.0, 0.0
    for found, upper in zip(buckets, BOUNDS, strict=False):
        if found and below + found >= wanted:
            return lower + (upper - lower) * (wanted - below) / found
        below += found
        lower = upper
    return BOUNDS[-1]


Source = tuple[int, ...]
"""Whose counters they are: the supervisor's epoch, of a host the number of its session, too."""


class Series:
    """What is kept of one pool, node or host.

    Attributes:
        total: All that was counted, over restarts of the supervisor.
        active: When something last grew.
    """

    __slots__ = ("_last", "_looks", "_source", "active", "total")

    def __init__(self) -> None:
        self.total = NOTHING
        self.active = 0.0
        self._source: Source = ()
        self._last = NOTHING
        self._looks: dict[str, deque[tuple[float, Totals]]] = {
            name: deque(maxlen=int(WINDOWS[name] / step) + _EXTRA) for name, step in _STEPS.items()
        }

    def take(
        self, source: Source, counters: Totals, now: float, *, lived: Totals = NOTHING, born: float | None = None
    ) -> None:
        """Look at the counters.

        Args:
            source: Whose they are; with another than the last time they have begun at zero.
            counters: As they stand.
            now: When.
            lived: What is to be added beside: `busy`, `able`, `deep` since the last look.
            born: Of a first look: since when the counters have grown, if that is known. Otherwise what they stand at
                happened at no known time.
        """
        if source != self._source:
            self._last = counters if born is None and not self._source else NOTHING
            self._source = source
        if counters != self._last:
            self.total = added(self.total, difference(counters, self._last))
            self._last, self.active = counters, now
        if lived is not NOTHING and lived != NOTHING:
            self.total = added(self.total, lived)
            self.active = now
        for name, step in _STEPS.items():
            looks = self._looks[name]
            if not looks and born is not None:
                looks.append((born, NOTHING))
            if not looks or now - looks[-1][0] >= step:
                looks.append((now, self.total))

    def over(self, window: str, now: float) -> Growth:
        """What grew in a window that ends now; a younger series has a shorter one."""
        looks, start = self._looks[window], now - WINDOWS[window]
        found = (now, self.total)
        for look in reversed(looks):
            found = look
            if look[0] <= start:
                break
        return Growth(now - found[0], difference(self.total, found[1]))

    def idle(self, window: str, now: float) -> bool:
        """Whether nothing grew in a window."""
        return self.active < now - WINDOWS[window] - _STEPS[window]

    def kept(self) -> dict[str, Any]:
        """As plain data, for `restored`."""
        known: dict[Totals, int] = {}
        places = {
            name: [[at, known.setdefault(of, len(known))] for at, of in found] for name, found in self._looks.items()
        }
        return {
            "active": self.active,
            "source": list(self._source),
            "last": _plain(self._last),
            "total": _plain(self.total),
            "known": list(map(_plain, known)),
            "looks": places,
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Series:
        """The series that `kept` was of.

        Raises:
            ValueError, TypeError, KeyError: It is none.
        """
        series = cls()
        series.active = float(kept["active"])
        series._source = tuple(map(int, kept["source"]))
        series._last, series.total = _totals(kept["last"]), _totals(kept["total"])
        known: list[Totals] = [_totals(of) for of in kept["known"]]
        for name in WINDOWS:
            series._looks[name].extend((float(at), known[int(place)]) for at, place in kept["looks"][name])
        return series


def _plain(of: Totals) -> list[Any]:
    return [list(cast("Any", value)) if isinstance(value, tuple) else value for value in of]


def _totals(values: Sequence[Any]) -> Totals:
    *plain, durations, waits = values
    buckets = (tuple(map(float, durations)), tuple(map(float, waits)))
    if len(plain) != len(Totals._fields) - 2 or any(len(one) not in (0, len(BOUNDS) + 1) for one in buckets):
        message = "these are no totals"
        raise ValueError(message)
    numbers: Any = map(float, plain)
    return Totals(*numbers, durations=buckets[0], waits=buckets[1])
