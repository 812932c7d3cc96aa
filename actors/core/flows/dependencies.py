"""What a SUBMIT says of other tasks that its own come after: checked, and made into edges. Pure, changes nothing.

`after` names tasks by id, `within` tasks of the same flow by their place in it. A place must be an earlier one, so that
no circle can be said at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ..reports import shown
from ..sessions import ID_MAX
from ..unfit import Unfit
from .edges import CANCEL, POLICIES
from .splices import are_nils, table_of

EDGES_MAX: Final = 100_000
"""Edges of one SUBMIT: what a turn can bear."""
AFTER_MAX: Final = 10_000
"""Existing tasks that one SUBMIT names: each is looked up."""
RESULTS_MAX: Final = 10_000
"""Results in the params of one task."""
NAME_MAX: Final = 200
_WORDS: Final = ("after", "within", "on_failure", "results")
FLOW_WORDS: Final[dict[str, type]] = {"name": str, "of": int, "start": int, "last": bool}


@dataclass(slots=True)
class Places:
    """Which ids the tasks of a flow have: (place of the first, its id, how many), by place."""

    parts: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many tasks there are so far."""
        start, _, count = self.parts[-1] if self.parts else (0, 0, 0)
        return start + count

    def id(self, place: int) -> int:
        """The id of the task at a place."""
        start, first, _ = self.parts[bisect_right(self.parts, (place, ID_MAX, 0)) - 1]
        return first + place - start


def check_options(options: dict[str, Any]) -> None:
    """The dependencies in the options of one group, each word for itself.

    Raises:
        Unfit: Something that cannot be meant.
    """
    if not any(word in options for word in _WORDS):
        return
    after, within = options.get("after", []), options.get("within", [])
    for id in after:
        if type(id) is not int or not 0 < id <= ID_MAX:
            raise Unfit("invalid", f"after: {shown(id)} is not the number of a task", "after")
    for span in within:
        first, count = _pair(span) or (span, 1)
        if type(first) is not int or type(count) is not int or first < 0 or not 0 < count <= EDGES_MAX:
            raise Unfit("invalid", f"within: {shown(span)} is no place, nor [place, count]", "within")
    if not after and not within:
        raise Unfit("invalid", "on_failure and results mean nothing without a task to come after", "after")
    said: Any = options.get("on_failure", "cancel")
    for policy in cast("list[Any]", said if isinstance(said, list) else [said]):
        if not isinstance(policy, str) or policy not in POLICIES:
            reason = f"on_failure cannot be {shown(policy)}; it is one of {', '.join(POLICIES)}"
            raise Unfit("invalid", reason, "on_failure")


def names_others(groups: Sequence[Any]) -> bool:
    """Whether anything in these groups comes after something."""
    return any(options and ("after" in options or "within" in options) for _, _, options, _ in groups)


def wanted(groups: Sequence[Any]) -> list[int]:
    """The existing tasks that these groups name, each once.

    Raises:
        Unfit: They are more than a turn can look up.
    """
    ids = list(dict.fromkeys(id for _, _, options, _ in groups if options for id in options.get("after", ())))
    if len(ids) > AFTER_MAX:
        raise Unfit("invalid", f"after: {len(ids)} tasks named in one submission; at most {AFTER_MAX}", "after")
    return ids


def check_flow(flow: dict[str, Any]) -> None:
    """What a SUBMIT says of the flow that it is a part of.

    Raises:
        Unfit: Something that cannot be meant.
    """
    for word, value in flow.items():
        if type(value) is not FLOW_WORDS.get(word):
            raise Unfit("invalid", f"flow: {shown(word)} cannot be {shown(value)}", "flow")
    if len(flow.get("name", "")) > NAME_MAX:
        raise Unfit("invalid", f"the name of a flow has at most {NAME_MAX} characters", "flow")


@dataclass(slots=True)
class Plan:
    """What to store.

    Attributes:
        groups: As SUBMIT has them; options say `edges` (how many) instead of which, `splice` and `flow`.
        edges: As in `Persist.edges`.
        flow: The flow that they belong to, or None.
    """

    groups: list[Any] = field(default_factory=list)
    edges: list[tuple[int, int, int]] = field(default_factory=list)
    flow: Any = None


def planned(groups: Sequence[Any], first: int, places: Places | None, flow: int, *, gated: bool) -> Plan:
    """Make the words of a SUBMIT into edges between ids.

    Args:
        groups: Its groups, each option checked for itself.
        first: The id of its first task.
        places: Which ids the flow's tasks have, these included; None: they are of no flow.
        flow: The flow's number.
        gated: The flow is not whole yet, so that what comes after nothing waits for that.

    Raises:
        Unfit: A place that is not before the task, too many edges, or results that have no place.
    """
    plan = Plan()
    id = first
    named = 0  # whether groups hold tasks or not: naming is work
    place = 0 if places is None else places.parts[-1][0]
    for type, priority, given, batch in groups:
        options = cast("dict[str, Any]", given or {})
        others = _others(options, places, place)
        named += len(others)
        if named > EDGES_MAX:
            raise Unfit("invalid", f"more than {EDGES_MAX} dependencies in one submission", "after")
        words = {key: value for key, value in options.items() if key not in _WORDS}
        if places is not None:
            words["flow"] = flow
        if "results" in options:
            words["splice"] = _splice(options["results"], others, batch)
        after = dict(zip(others, _policies(options, len(others)), strict=True))
        if not after and gated:
            after = {-flow: CANCEL}
        if after:
            words["edges"] = len(after)
            if len(plan.edges) + len(after) * len(batch) > EDGES_MAX:
                raise Unfit("invalid", f"more than {EDGES_MAX} dependencies in one submission", "after")
            edges = after.items()
            plan.edges += [(other, task, policy) for task in range(id, id + len(batch)) for other, policy in edges]
        plan.groups.append([type, priority, words or None, batch])
        id += len(batch)
        place += len(batch)
    return plan


def _others(options: dict[str, Any], places: Places | None, place: int) -> list[int]:
    """The ids that a group's tasks come after, in the order in which `results` counts them."""
    others: list[int] = list(options.get("after", ()))
    for span in options.get("within", ()):
        first, count = _pair(span) or (span, 1)
        if places is None:
            raise Unfit("invalid", "within: only tasks of a flow have places", "within")
        if first + count > place:
            reason = f"within: place {first + count - 1} is not before place {place}; a circle has no order"
            raise Unfit("invalid", reason, "within")
        if len(others) + count > EDGES_MAX:
            raise Unfit("invalid", f"more than {EDGES_MAX} dependencies of one task", "within")
        others += [places.id(earlier) for earlier in range(first, first + count)]
    return others


def _policies(options: dict[str, Any], count: int) -> list[int]:
    """What to do about each of a task's dependencies if it does not complete."""
    said: Any = options.get("on_failure", "cancel")
    if isinstance(said, list):
        policies = [POLICIES[policy] for policy in cast("list[str]", said)]
        if len(policies) != count:
            reason = f"on_failure: {len(policies)} words for {count} tasks to come after"
            raise Unfit("invalid", reason, "on_failure")
        return policies
    return [POLICIES[said]] * count


def _splice(results: list[Any], others: list[int], batch: Sequence[bytes]) -> bytes:
    entries: list[tuple[int, int]] = []
    if len(results) > RESULTS_MAX:
        raise Unfit("invalid", f"more than {RESULTS_MAX} results in the params of one task", "results")
    for entry in results:
        offset, number = _pair(entry) or (None, None)
        if type(offset) is not int or type(number) is not int or not 0 <= number < len(others):
            reason = f"results: {shown(entry)} is not [offset, number among those that the task comes after]"
            raise Unfit("invalid", reason, "results")
        entries.append((offset, others[number]))
    if len(batch) != 1 or not are_nils(batch[0], [offset for offset, _ in entries]):
        raise Unfit("invalid", "results: one task, and a nil in its params at each offset", "results")
    return table_of(entries)


def _pair(given: Any) -> tuple[Any, Any] | None:
    """What was given, if it is a list of two."""
    items = cast("list[Any]", given)
    return (items[0], items[1]) if isinstance(given, list) and len(items) == 2 else None
