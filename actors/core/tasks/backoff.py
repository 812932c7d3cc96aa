"""How long a failed task waits before its next try. Pure: the jitter comes from the task's own numbers.

>>> from workerhost.config.policy import Retry
>>> [delay(Retry(base=1, jitter=0), failures, seed=7) for failures in (1, 2, 3, 4)]
[1.0, 2.0, 4.0, 8.0]
>>> [delay(Retry(backoff="linear", base=5, jitter=0), failures, seed=7) for failures in (1, 2, 3)]
[5.0, 10.0, 15.0]
>>> 0.9 <= delay(Retry(base=1, jitter=0.1), 1, seed=7) <= 1.1
True
"""

from __future__ import annotations

from ....config.policy import Retry

_EXPONENT_MAX = 62  # beyond it the cap has long decided, and a float would overflow


def delay(retry: Retry, failures: int, seed: int) -> float:
    """Seconds to wait after the given number of failures.

    Args:
        retry: The node's policy.
        failures: Failures so far, at least 1.
        seed: Any number of this attempt; the same seed gives the same jitter, so that a replay is exact.
    """
    if retry.backoff == "exponential":
        wait = retry.base * 2 ** min(failures - 1, _EXPONENT_MAX)
    elif retry.backoff == "linear":
        wait = retry.base * failures
    else:
        wait = retry.base
    return min(float(wait), retry.cap) * (1 + retry.jitter * (2 * _fraction(seed) - 1))


def _fraction(seed: int) -> float:
    """A number in [0, 1) that looks random (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    mask = 0xFFFFFFFFFFFFFFFF
    z = (seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)
