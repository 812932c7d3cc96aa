"""What the kind of a failure means: for its task, and for the service that it was about. No state.

A worker that knows its service says the kind (`workers.errors.Fail`); a plain exception is classed where that is
certain (`workers.failures`); what nobody has classed is `other`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....config.policy import Retry, parents
from ....transport.messages import Outcome
from ....workers.errors import KINDS

AFTER_MAX: Final = 31 * 86400.0
"""The longest that a failure may ask to wait, in seconds: what is asked for beyond it is a mistake of somebody's."""
SLEEP_SECONDS: Final = 3600.0
"""How long a node sleeps whose service takes no more and nobody knows until when."""
SLEEP_SECONDS_MIN: Final = 1.0
"""What says that a service takes no more, and at once that it does, would go round as fast as it can."""
_SET_BACK: Final = ("quota", "auth")


def kind_of(outcome: Outcome, detail: Mapping[str, Any]) -> str:
    """One of `KINDS`, or `other`."""
    kind = detail.get("kind")
    if kind in KINDS:
        return kind
    return {Outcome.TIMEOUT: "transient", Outcome.TOO_LARGE: "permanent"}.get(outcome, "other")


def is_tried_again(policy: Retry, kind: str, detail: Mapping[str, Any]) -> bool:
    """Whether a failure may be tried again, as far as its kind goes: what was said of this one wins."""
    return detail.get("retry", kind in policy.on)


def is_set_back(kind: str, detail: Mapping[str, Any]) -> bool:
    """Whether nothing is counted: the task could not run, and no other of its node can."""
    return kind in _SET_BACK and "retry" not in detail


def wait_of(detail: Mapping[str, Any]) -> float | None:
    """The seconds that a failure asked to wait, within bounds; None: it did not."""
    after = detail.get("after")
    return None if after is None else min(after, AFTER_MAX)


def node_of(type: str, detail: Mapping[str, Any]) -> str:
    """Whose service it is: what was said, if the type lies below that, else the platform."""
    path = parents(type)
    said = detail.get("node")
    return said if said in path else path[min(1, len(path) - 1)]
