"""Keys and cached results, as the commits tell them: whose a key is, and which task answers for a new one.

What a submission came to is decided here once more, from what was asked and what the commits have told, and must be the
same: a key belongs to one task at a time, and who has it answers as its sender has asked; a cached task answers while
it is unfinished or completed not too long ago, so that one and no second runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...config.policy import parents
from ...transport.messages import Submit
from ..core.effects import Persist
from ..core.rows import COLUMNS, COMPLETED, FINAL, RUNNING
from ..core.tasks.intake import CLEARED, KEPT, OTHER, REPLACED, SAME

_PARAMS: Final = COLUMNS.index("params")

Standing = tuple[int, int]
"""(state, attempt) of a task."""


@dataclass(slots=True)
class Names:
    """Of one history. All names are nobody's in particular: simulated clients have no identities.

    Attributes:
        keys: Whose each key (type, key) is, or was at last: (id, wall time up to which it is after completion).
        prints: Which cached task of (type, params) is the latest.
        bearers: Which key each task was sent with.
        params: Of those tasks.
        ended: When each task ended, wall time.
        cleared: By node, the highest id that answers for nothing.
        answers: What was answered to each submission (session, number): which positions stand for which tasks.
        groups: What each submission (token, number) asks for, once it was heard.
    """

    keys: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict[tuple[str, str], tuple[int, float]])
    prints: dict[tuple[str, bytes], int] = field(default_factory=dict[tuple[str, bytes], int])
    bearers: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])
    params: dict[int, bytes] = field(default_factory=dict[int, bytes])
    ended: dict[int, float] = field(default_factory=dict[int, float])
    cleared: dict[str, int] = field(default_factory=dict[str, int])
    answers: dict[tuple[int, int], Any] = field(default_factory=dict[tuple[int, int], Any])
    groups: dict[tuple[bytes, int], Sequence[Any]] = field(default_factory=dict[tuple[bytes, int], Sequence[Any]])

    def copied(self) -> Names:
        """One that does not change with this; what was asked for is no matter of history."""
        return Names(
            dict(self.keys),
            dict(self.prints),
            dict(self.bearers),
            dict(self.params),
            dict(self.ended),
            dict(self.cleared),
            dict(self.answers),
            self.groups,
        )

    def heard(self, token: bytes, message: Submit) -> None:
        """A client asks for tasks."""
        if any(options and ("key" in options or options.get("cache")) for _, _, options, _ in message.groups):
            self.groups[token, message.submission] = message.groups

    def committed(
        self, persist: Persist, sessions: Mapping[int, bytes], states: Callable[[int], Standing | None], wall: float
    ) -> str | None:
        """A step is on disk; what is wrong with it.

        Args:
            persist: What it wrote.
            sessions: Tokens.
            states: How a task stood before the step granted or ended anything; None: there is no such task.
            wall: The supervisor's wall clock.
        """
        self.cleared.update((name.removeprefix(CLEARED), id) for name, id in persist.meta.items() if CLEARED in name)
        new = {row[0]: row[_PARAMS] for row in persist.tasks}
        for session, number, first, _, _, others in persist.submissions:
            self.answers[session, number] = others
            groups = self.groups.get((sessions.get(session, b""), number), ())
            if (wrong := self._judged(groups, first, others or (), new, states, wall)) is not None:
                return wrong
        for id, _, type, key, until, _ in persist.keys:
            holder = self._holder(type, key, states, wall)
            if holder not in (None, id):
                return f"key {key} of {type} went to task {id}, and task {holder} has it"
            self.keys[type, key] = id, until
        gone = set(persist.uncached)
        self.prints = {print: id for print, id in self.prints.items() if id not in gone} if gone else self.prints
        self.ended.update((finish[9], finish[2]) for finish in persist.finishes)
        if persist.prunes:
            self._forget({id for id, _ in persist.prunes})
        return None

    def _forget(self, gone: set[int]) -> None:
        self.keys = {name: one for name, one in self.keys.items() if one[0] not in gone}
        self.prints = {print: id for print, id in self.prints.items() if id not in gone}

    def _holder(self, type: str, key: str, states: Callable[[int], Standing | None], wall: float) -> int | None:
        """Whose a key is now."""
        id, until = self.keys.get((type, key), (0, 0.0))
        standing = states(id)
        if standing is None or (standing[0] in FINAL and (standing[0] != COMPLETED or until <= wall)):
            return None
        return id

    def _answering(
        self, print: tuple[str, bytes], age: float, states: Callable[[int], Standing | None], wall: float
    ) -> int | None:
        """Which task answers for one of these params."""
        id = self.prints.get(print, 0)
        standing = states(id)
        if standing is None or id <= max(self.cleared.get(node, 0) for node in ("", *parents(print[0]))):
            return None
        is_fresh = standing[0] == COMPLETED and self.ended[id] > wall - age
        return id if is_fresh or standing[0] not in FINAL else None

    def _judged(
        self,
        groups: Sequence[Any],
        first: int,
        others: Sequence[Any],
        new: Mapping[int, bytes],
        states: Callable[[int], Standing | None],
        wall: float,
    ) -> str | None:
        """Whether each task of a submission is new, or stands for another, as it must."""
        told = {first + position: (other, how) for position, other, how in others}
        for id, type, options, key, params in _each(groups, first):
            if key is not None:
                holder = self._holder(type, key, states, wall)
            elif age := options.get("cache"):
                holder = self._answering((type, params), age, states, wall)
            else:
                continue
            other, how = told.get(id, (None, SAME))
            if other != holder:
                return f"task {id} ({type}, key {key}) stands for {other}, it should for {holder}"
            if holder is None:
                if id not in new:
                    return f"task {id} stands for none and was not stored"
                self.params[id] = params
                if key is None:
                    self.prints[type, params] = id
                else:
                    unique = options.get("unique_for", 0.0)
                    self.bearers[id] = type, key
                    self.keys[type, key] = id, KEPT if unique == "kept" else wall + unique
            elif (wrong := self._matched(holder, params, options, how, states(holder))) is not None:
                return wrong
        return None

    def _matched(
        self, holder: int, params: bytes, options: Mapping[str, Any], how: int, standing: Standing | None
    ) -> str | None:
        """Whether it became of the params of one that stands for another what its sender has asked for."""
        conflict = options.get("on_conflict", "return")
        if conflict == "refuse":
            return f"the key of task {holder} was to be refused and was not"
        has_started = standing is None or standing[0] >= RUNNING or standing[1] > 0
        wanted = OTHER
        if self.params.get(holder) == params:
            wanted = SAME
        elif conflict == "replace" and not has_started:
            wanted = REPLACED
            self.params[holder] = params
        return None if how == wanted else f"params for task {holder} were treated as {how}, not as {wanted}"

    def rejected(self, token: bytes, number: int, states: Callable[[int], Standing | None], wall: float) -> str | None:
        """A submission was refused because of a key; what is wrong with that."""
        seen = set[tuple[str, str]]()
        for _, type, options, key, _ in _each(self.groups[token, number], 0):
            if key is None:
                continue
            held = (type, key) in seen or self._holder(type, key, states, wall) is not None
            if held and options.get("on_conflict") == "refuse":
                return None
            seen.add((type, key))
        return f"submission {number} was refused for a key that nobody has"

    def doubled(self, unfinished: Iterable[int]) -> str | None:
        """Which key two unfinished tasks have, if one has."""
        first: dict[tuple[str, str], int] = {}
        for id in unfinished:
            if (name := self.bearers.get(id)) is not None and first.setdefault(name, id) != id:
                return f"tasks {first[name]} and {id} are unfinished and have the key {name[1]} of {name[0]}"
        return None


def _each(groups: Sequence[Any], first: int) -> Iterator[tuple[int, str, dict[str, Any], str | None, bytes]]:
    """The tasks that a submission asks for: (id, type, options, key, params)."""
    id = first
    for type, _, options, batch in groups:
        given: dict[str, Any] = options or {}
        key: Any = given.get("key")
        keys: list[Any] = [key] * len(batch) if key is None or isinstance(key, str) else key
        for name, params in zip(keys, batch, strict=True):
            yield id, type, given, name, params
            id += 1
