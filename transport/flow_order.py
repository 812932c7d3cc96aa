"""In which order the tasks of a flow are handed in: each behind all that it comes after. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush


def ordered(after: Sequence[Sequence[int]]) -> list[int] | None:
    """The places of the tasks in such an order, the given one where that will do; None: there is a circle.

    Args:
        after: For each task the places of those that it comes after.
    """
    if all(other < place for place, others in enumerate(after) for other in others):
        return list(range(len(after)))
    left = [len(set(others)) for others in after]
    dependents: dict[int, list[int]] = {}
    for place, others in enumerate(after):
        for other in set(others):
            dependents.setdefault(other, []).append(place)
    ready = [place for place, count in enumerate(left) if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        place = heappop(ready)
        order.append(place)
        for dependent in dependents.get(place, ()):
            left[dependent] -= 1
            if not left[dependent]:
                heappush(ready, dependent)
    return order if len(order) == len(after) else None


def circle(after: Sequence[Sequence[int]]) -> list[int]:
    """A circle, if there is one: the places of its tasks, each before the one that it comes after, the first once more
    at the end.
    """
    done: set[int] = set()
    for start in range(len(after)):
        path: list[int] = []
        at: dict[int, int] = {}
        rest = [iter((start,))]
        while rest:
            place = next(rest[-1], None)
            if place is None:
                rest.pop()
                if path:
                    over = path.pop()
                    done.add(over)
                    del at[over]
            elif place in at:
                return [*path[at[place] :], place]
            elif place not in done:
                at[place] = len(path)
                path.append(place)
                rest.append(iter(after[place]))
    return []
