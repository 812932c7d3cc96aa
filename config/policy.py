"""The tree of settings: what a node sets, what it inherits, and from where. Plain data, no file, no schema.

A type is a dotted path of one to three parts. What is set on `video` holds for `video.youtube` unless that sets its
own; but a limit (`OWN_LIMITS`) is not inherited: every node's own bounds its whole subtree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

from .limits import Breaker, Cache, Quota, Rate

TYPE_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,2}\Z")
"""One to three parts of letters, digits, `_` and `-`."""

OWN_LIMITS: Final = ("max_concurrent", "per_host", "rate", "quota")
"""What binds the node that sets it and all below it together, and is copied to none of them."""

TENANT_PATTERN: Final = re.compile(r"[A-Za-z0-9_.@:-]{1,64}\Z")
"""The name of a tenant."""

_TENANT: Final = "tenant "

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failed attempt is tried again.

    Attributes:
        max_attempts: Failures until it is final.
        backoff: `exponential`, `linear` or `fixed`.
        base: Seconds before the first retry.
        cap: Longest wait in seconds.
        jitter: Part of the wait by which it varies, up and down (0.1 = ±10 %).
        on: The kinds of failures that are tried again; `other` is what nobody has classed.
    """

    max_attempts: int = 3
    backoff: str = "exponential"
    base: float = 1.0
    cap: float = 300.0
    jitter: float = 0.1
    on: tuple[str, ...] = ("transient", "system", "other")


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """What one attempt in a process slot may use; None: as much as there is.

    Attributes:
        memory: Bytes, of its process and all below it.
        processes: How many processes below its own.
        cpu: Seconds of processor time.
        output: Bytes written to stdout and stderr.
    """

    memory: int | None = None
    processes: int | None = None
    cpu: float | None = None
    output: int | None = None

    def plain(self) -> dict[str, int | float]:
        """Those that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Policy:
    """The effective settings of one node.

    Attributes:
        timeout: Seconds one attempt may run, or None.
        retry: See `Retry`.
        crash_limit: Crashes until a task is quarantined.
        cut_off: Seconds a host goes on alone without its supervisor, or None: stop before the lease ends
            (`cut_off: stop`).
        isolation: `process`, `thread` or `command`; None: the host's own.
        concurrency: Tasks at a time in each slot's event loop; None: as the host has it.
        code: The worker's class, `module:Class`, from `class:`; None: found by the host among its CODE.
        breaker: When the node stops because too much fails; None: never. Each node below has one of its own.
        no_progress_timeout: Seconds one attempt may go without reporting progress, or None.
        limits: See `AttemptLimits`.
        requires: What a host must offer, see `resources`; a task may say otherwise for itself.
        cache: Which results answer for further tasks that do not say so themselves, or None: none.
    """

    timeout: float | None = 300.0
    retry: Retry = field(default_factory=Retry)
    crash_limit: int = 3
    cut_off: float | None = 3600.0
    isolation: str | None = None
    concurrency: int | None = None
    code: str | None = None
    breaker: Breaker | None = None
    no_progress_timeout: float | None = None
    limits: AttemptLimits = field(default_factory=AttemptLimits)
    requires: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one node allows itself and all that lies below it, together; None: any number.

    Attributes:
        max_concurrent: Leases at a time.
        per_host: Leases at a time on each host.
        rate: Grants in any window.
        quota: Units from one reset to the next.
    """

    max_concurrent: int | None = None
    per_host: int | None = None
    rate: Rate | None = None
    quota: Quota | None = None


NESTED: Final = ("retry", "limits", "requires")
"""Settings that are mappings: each of their names is inherited by itself."""


def parents(type: str) -> list[str]:
    """`video.youtube.channel` -> [`video`, `video.youtube`, `video.youtube.channel`]."""
    parts = type.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def nearest(nodes: Mapping[str, Found], type: str) -> Found:
    """What the nearest node has, from the type itself upward; "" stands above all, and must be there."""
    return next(nodes[path] for path in (*reversed(parents(type)), "") if path in nodes)


def tenant_node(tenant: str) -> str:
    """What the limits of a tenant stand under, beside those of types: no type has such a name."""
    return _TENANT + tenant


def tenant_of(node: str) -> str | None:
    """Whose limits a node is; None: those of a type."""
    return node.removeprefix(_TENANT) if node.startswith(_TENANT) else None


class PolicyTree:
    """Settings by node.

    `nodes` maps a type to what is set there, in the names of `Policy`, `retry` and `limits` as mappings of the names
    of `Retry` and `AttemptLimits`, plus those of `Limits`; `defaults` is the same for every type. `tenants` maps names
    of tenants, or `*` for each that is not named, to their `max_concurrent` and `rate`.
    """

    def __init__(
        self,
        nodes: Mapping[str, Mapping[str, Any]] | None = None,
        defaults: Mapping[str, Any] | None = None,
        tenants: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.nodes: dict[str, dict[str, Any]] = {path: dict(values) for path, values in (nodes or {}).items()}
        self.defaults: dict[str, Any] = dict(defaults or {})
        self.tenants: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (tenants or {}).items()}

    def effective(self, type: str) -> Policy:
        """What holds for a type."""
        values: dict[str, Any] = {}
        retry: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        requires: dict[str, int | str] = {}
        for source in (self.defaults, *(self.nodes.get(path, {}) for path in parents(type))):
            retry.update(source.get("retry", {}))
            limits.update(source.get("limits", {}))
            requires.update(source.get("requires", {}))
            values.update((k, v) for k, v in source.items() if k not in NESTED and k not in OWN_LIMITS)
        return Policy(retry=Retry(**retry), limits=AttemptLimits(**limits), requires=requires, **values)

    def origin(self, type: str) -> dict[str, str]:
        """Setting (dotted, `retry.base`) -> the node it comes from, or `defaults`; what nobody set is absent."""
        found: dict[str, str] = {}
        for name, source in (
            ("defaults", self.defaults),
            *((path, self.nodes.get(path, {})) for path in parents(type)),
        ):
            for key, value in source.items():
                for setting in [f"{key}.{k}" for k in value] if key in NESTED else [key]:
                    found[setting] = name
        return found

    def max_concurrent(self, node: str) -> int | None:
        """The limit set on exactly this node."""
        return self.nodes.get(node, {}).get("max_concurrent")

    def limits(self, node: str) -> Limits:
        """The limits set on exactly this node, or those of a tenant (`tenant_node`)."""
        if tenant := tenant_of(node):
            values = self.tenants.get(tenant, self.tenants.get("*", {}))
        else:
            values = self.nodes.get(node, {})
        return Limits(**{name: values[name] for name in OWN_LIMITS if name in values})
