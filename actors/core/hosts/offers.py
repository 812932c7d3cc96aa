"""What a host offers: which types it takes and which of its slots each uses. Equal offers choose alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard, cast

from ....config.policy import parents
from ....config.resources import resources
from ....transport.messages import POOLS_MAX, SLOTS_MAX
from ....workers.module_lists import MODULES_MAX, is_listed
from ..reports import key as checked_key

_TYPES_MAX: Final = 5_000
_TYPE_LENGTH_MAX: Final = 200
_COST_MAX: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """The part of a HELLO that decides what a host may be given.

    A worker of a type runs exactly that; one that looks at the task itself is offered as `type.*` and is also asked
    about what lies below; `any` means a worker without type, which is asked about everything.

    Attributes:
        slots: Slot pools (name, count); the name "" is shared by all types without their own.
        types: Types with a worker.
        any: Whether there are workers without type.
        serve: Subtrees it takes; empty: all.
        refuse: Subtrees it does not take.
        declined: Types that no worker of its is for, as it has found out in this session.
        costs: Units of the quota that a task costs, by type, where it is not one.
        resources: Counts that tasks use up and labels, by name.
        accept: Modules whose workers it runs where this supervisor's configuration says so; `my.*`: all below `my`.
    """

    slots: tuple[tuple[str, int], ...] = (("", 0),)
    types: frozenset[str] = frozenset()
    any: bool = False
    serve: frozenset[str] = frozenset()
    refuse: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()
    costs: tuple[tuple[str, int], ...] = ()
    resources: tuple[tuple[str, int | str], ...] = ()
    accept: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """What tasks use up of it."""
        return {name: value for name, value in self.resources if isinstance(value, int)}

    def meets(self, needs: Mapping[str, int], labels: Mapping[str, str]) -> bool:
        """Whether it is enough for a task that requires this, if nothing else runs."""
        if not needs and not labels:
            return True
        offered = dict(self.resources)
        counts = self.counts()
        return all(counts.get(name, 0) >= need for name, need in needs.items()) and all(
            offered.get(name) == label for name, label in labels.items()
        )

    def serves(self, type: str) -> bool:
        """Whether tasks of this type may be given to the host."""
        return self.wants(type) and type not in self.declined and self.has(type)

    def wants(self, type: str) -> bool:
        """Whether its `serve` and `not` let it take a type."""
        path = parents(type)
        return (not self.serve or not self.serve.isdisjoint(path)) and self.refuse.isdisjoint(path)

    def has(self, type: str) -> bool:
        """Whether it has a worker that runs the type, or may be asked about it."""
        return type in self.types or self.any or any(f"{p}.*" in self.types for p in parents(type))

    def accepts(self, code: str | None) -> bool:
        """Whether it lets itself be told to run a class, `module:Class`."""
        return code is not None and is_listed(code.partition(":")[0], self.accept)

    def slot_pool(self, type: str) -> str | None:
        """The slots a type uses: those of the nearest node above it that has its own, else the shared ones, if any."""
        names = {name for name, _ in self.slots}
        return next((path for path in (*reversed(parents(type)), "") if path in names), None)

    def cost(self, type: str) -> int:
        """Units of the quota that a task of a type costs here: as its worker says, or the nearest above it."""
        if not self.costs:
            return 1
        known = dict(self.costs)
        return next((known[path] for path in reversed(parents(type)) if path in known), 1)

    def without(self, type: str) -> Offer:
        """The same, without a type."""
        return replace(self, declined=self.declined | {type})

    def again(self, type: str) -> Offer:
        """The same, with a type that it was without."""
        return replace(self, declined=self.declined - {type})


def offer_of(hello: dict[str, Any]) -> Offer:
    """The offer in a host's HELLO.

    Raises:
        ValueError: Something is of the wrong form; the message names it.
    """
    slots: Any = hello.get("slots") or {"": 0}
    if not _is_counts(slots):
        most = f"at most {POOLS_MAX} slot pools (types, or '') to counts, at most {SLOTS_MAX} each"
        message = f"offer['slots'] must map {most}"
        raise ValueError(message)
    return Offer(
        slots=tuple(sorted(slots.items())),
        types=_texts(hello, "types"),
        any=bool(hello.get("any")),
        serve=_texts(hello, "serve"),
        refuse=_texts(hello, "not"),
        costs=_costs(hello),
        resources=_resources(hello),
        accept=_modules(hello),
    )


def leases_of(hello: dict[str, Any], key: str) -> list[tuple[int, int]]:
    """The (id, fence) that a HELLO names under `running` or `finished`, each once.

    Raises:
        ValueError: It is not a list of pairs of numbers.
    """
    pairs: Any = hello.get(key) or []
    try:
        return list(dict.fromkeys(checked_key(id, fence) for id, fence in pairs))
    except (TypeError, ValueError):
        message = f"offer[{key!r}] must be a list of [id, fence]"
        raise ValueError(message) from None


def _texts(hello: dict[str, Any], key: str) -> frozenset[str]:
    values: Any = hello.get(key) or []
    if not _is_texts(values):
        message = f"offer[{key!r}] must be a list of types"
        raise ValueError(message)
    return frozenset(values)


def _modules(hello: dict[str, Any]) -> tuple[str, ...]:
    values: Any = hello.get("accept") or []
    if not _is_texts(values) or len(values) > MODULES_MAX:
        message = f"offer['accept'] must be a list of at most {MODULES_MAX} modules"
        raise ValueError(message)
    return tuple(values)


def _costs(hello: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    given: Any = hello.get("costs") or {}
    known: dict[Any, Any] = {None: 0}
    if isinstance(given, dict):
        known = cast("dict[Any, Any]", given)
    if len(known) > _TYPES_MAX or not all(
        isinstance(type, str) and len(type) <= _TYPE_LENGTH_MAX and cost.__class__ is int and 1 <= cost <= _COST_MAX
        for type, cost in known.items()
    ):
        message = f"offer['costs'] must map types to units, 1 to {_COST_MAX} each"
        raise ValueError(message)
    return tuple(sorted(known.items()))


def _resources(hello: dict[str, Any]) -> tuple[tuple[str, int | str], ...]:
    try:
        return tuple(resources(hello.get("resources") or {}).items())
    except ValueError as error:
        message = f"offer['resources'] {error}"
        raise ValueError(message) from None


def _is_counts(value: Any) -> TypeGuard[dict[str, int]]:
    counts = cast("dict[Any, Any]", value) if isinstance(value, dict) else {None: None}
    return len(counts) <= POOLS_MAX and all(
        isinstance(name, str) and len(name) <= _TYPE_LENGTH_MAX and type(count) is int and 0 <= count <= SLOTS_MAX
        for name, count in counts.items()
    )


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or len(texts := cast("list[Any]", value)) > _TYPES_MAX:
        return False
    return all(isinstance(text, str) and len(text) <= _TYPE_LENGTH_MAX for text in texts)
