"""`monitoring:` what a configuration may say of what is measured, shown, aimed at and warned of."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from .durations import seconds
from .kinds import Command, Count, DurationOrNone, WebAddress, type_path
from .section import MAPPING, TEXT, Section, problem
from .watching import METRICS, POOL, Goal, Rule, Watching, band, share, threshold

DEFAULT_HTTP: Final = "127.0.0.1:7471"
LOG: Final = "log"
_NOBODY: Final = "is nobody to notify; write log, https://..., or {command: [program, argument]}"
_NODES_MAX: Final = 100
_URL_MAX: Final = 2000
_ALERTS: Final = {f"{metric}_{side}": (metric, side == "above") for metric in METRICS for side in ("above", "below")}
_FOR_NODES: Final = {name for name, (metric, _) in _ALERTS.items() if METRICS[metric].everywhere}


class CommandNotice(Section):
    """`{command: [...]}`: a program that is told of an alert: JSON on its stdin."""

    command: Command = Field(description="The program and its arguments.")


def _notices(value: Any) -> Any:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _notice(value: Any) -> Any:
    if (
        isinstance(value, str)
        and value != LOG
        and not (value.startswith(("http://", "https://")) and len(value) <= _URL_MAX)
    ):
        raise ValueError(_NOBODY)
    return value


def _kind(value: Any) -> str:
    return TEXT if isinstance(value, str) else MAPPING


Notice = Annotated[
    Annotated[CommandNotice, Tag(MAPPING)] | Annotated[str, Tag(TEXT)], Discriminator(_kind), BeforeValidator(_notice)
]
Notices = Annotated[
    list[Notice],
    BeforeValidator(_notices),
    WithJsonSchema(
        {
            "type": ["array", "string", "object"],
            "items": {"type": ["string", "object"], "pattern": "^(log|https?://.*)$"},
        }
    ),
]
Share = Annotated[
    float, BeforeValidator(share), WithJsonSchema({"type": ["number", "string"], "pattern": r"^[0-9]+(\.[0-9]+)?%$"})
]
Band = Annotated[
    list[float],
    BeforeValidator(band),
    WithJsonSchema({"type": ["array", "string"], "pattern": r"^[0-9.]+%?-[0-9.]+%$", "items": {"type": "number"}}),
]


class ObjectiveSettings(Section):
    """`monitoring: objectives:` what the pool should hold; `status` shows each as met or missed."""

    task_duration: DurationOrNone = Field(default=None, description="Average time of an attempt, at most.")
    success_rate: Share | None = Field(default=None, description="Share of ended tasks that completed, at least.")
    queue_depth: Count | None = Field(default=None, description="Queued tasks, at most.")
    utilisation: Band | None = Field(default=None, description="Share of slots in use, within: 70-90%.")
    oldest_wait: DurationOrNone = Field(default=None, description="Longest wait of a queued task, at most.")

    def goals(self) -> Iterator[Goal]:
        """Those that are set."""
        for name in ("task_duration", "queue_depth", "oldest_wait"):
            if (most := getattr(self, name)) is not None:
                yield Goal(name, most=float(most))
        if self.success_rate is not None:
            yield Goal("success_rate", least=self.success_rate)
        if self.utilisation is not None:
            yield Goal("utilisation", self.utilisation[0], self.utilisation[1])


class AlertSettings(Section):
    """`monitoring: alerts:` when to warn, and whom.

    Beside the keys below: METRIC_above and METRIC_below for the pool, and the same below the name of a node.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, json_schema_extra={"additionalProperties": True})

    queue_depth_high: Count | None = Field(default=None, description="Warns once when more tasks wait, and once after.")
    for_: DurationOrNone = Field(default=None, alias="for", description="How long it must be so before it is said.")
    notify: Notices = Field(default_factory=lambda: [LOG], description="log, https://..., {command: [...]}.")

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> AlertSettings:
        tuple(self._found())
        nodes = self.model_extra or {}
        for node, values in nodes.items():
            if isinstance(values, dict) and "notify" in values:
                nodes[node] = {**values, "notify": _resolved(node, values["notify"], info)}
        return self

    def rules(self) -> tuple[Rule, ...]:
        """All alerts but `queue_depth_high`."""
        return tuple(rule for rule, _ in self._found())

    def notified(self, node: str) -> list[CommandNotice | str]:
        """Who is told of the alerts of a node (`POOL`: of the pool)."""
        given = cast("dict[str, Any]", (self.model_extra or {}).get(node) or {}) if node != POOL else {}
        said = given.get("notify")
        return self.notify if said is None else NodeNotices.model_validate({"notify": said}).notify

    def _found(self) -> Iterator[tuple[Rule, str]]:
        """(rule, where it stands); raises about the first that is wrong."""
        patience = self.for_ or 0.0
        nodes = 0
        for key, value in (self.model_extra or {}).items():
            if isinstance(value, dict) and key not in _ALERTS:
                nodes += 1
                if nodes > _NODES_MAX:
                    raise problem(key, f"is one node too many; at most {_NODES_MAX} are watched")
                yield from _of_node(key, cast("dict[str, Any]", value), patience)
            else:
                yield _rule(POOL, key, value, patience, key, _ALERTS), key


class NodeNotices(Section):
    """What of a node's alerts is checked like the pool's own."""

    notify: Notices


def _resolved(node: str, notify: Any, info: ValidationInfo) -> list[Any]:
    """Who is told, as plain data that means the same wherever it is read again: only here it is known beside which
    file a program stands.
    """
    try:
        told = NodeNotices.model_validate({"notify": notify}, context=info.context)
    except ValidationError:
        raise problem(f"{node}.notify", _NOBODY) from None
    return cast("list[Any]", told.model_dump()["notify"])


def _of_node(node: str, values: Mapping[str, Any], patience: float) -> Iterator[tuple[Rule, str]]:
    try:
        type_path(node)
    except ValueError as error:
        raise problem(node, f"{error}, or a metric such as queue_depth_above") from None
    if "for" in values:
        try:
            patience = seconds(values["for"])
        except ValueError as error:
            raise problem(f"{node}.for", f"{values['for']!r} {error}") from None
    for key, value in values.items():
        where = f"{node}.{key}"
        if key == "notify":
            for item in _notices(value):
                try:
                    _notice(item)
                except ValueError as error:
                    raise problem(where, f"{item!r} {error}") from None
                if not isinstance(item, str) and not _is_command(item):
                    raise problem(where, _NOBODY)
        elif key != "for":
            yield _rule(node, key, value, patience, where, {**dict.fromkeys(_FOR_NODES)}), where


def _is_command(item: Any) -> bool:
    words: Any = (
        cast("dict[str, Any]", item).get("command") if isinstance(item, dict) and len(cast("Any", item)) == 1 else None
    )
    return (
        isinstance(words, list)
        and bool(cast("Any", words))
        and all(isinstance(word, str) and word for word in cast("list[Any]", words))
    )


def _rule(node: str, key: str, value: Any, patience: float, where: str, known: Mapping[str, Any]) -> Rule:
    if key not in known:
        if key in _ALERTS:
            raise problem(where, "is known of the pool alone; write it beside the nodes, not below one")
        names = [*sorted(known), "for", "notify"]
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
        cure = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
        raise problem(where, f"is an unknown key; {cure}")
    metric, above = _ALERTS[key]
    try:
        return Rule(node, metric, above, threshold(metric, value), patience)
    except ValueError as error:
        raise problem(where, f"{value!r} {error}") from None


class MonitoringSettings(Section):
    """`monitoring:` what is measured and watched."""

    enabled: bool = Field(default=True, description="false: no alert, no objective, no monitor.")
    http: WebAddress | None = Field(
        default=DEFAULT_HTTP, description="ADDRESS:PORT of the dashboard and of /metrics; null: none."
    )
    metrics: list[Literal["task_duration", "success_rate", "queue_depth"]] = Field(
        default_factory=lambda: ["task_duration", "success_rate", "queue_depth"],
        description="Accepted, and of no effect: all figures are kept.",
    )
    objectives: ObjectiveSettings = ObjectiveSettings()
    alerts: AlertSettings = AlertSettings()

    def destinations(self, node: str) -> list[str | tuple[str, ...]]:
        """Who is told of the alerts of a node: `log`, web addresses, programs with their arguments."""
        told = self.alerts.notified(node)
        return [tuple(one.command) if isinstance(one, CommandNotice) else one for one in told]

    def wants_monitor(self) -> bool:
        """Whether there is something to do for a monitor beside the supervisor: pages, or somebody to be told."""
        nodes = {rule.node for rule in self.watching().rules} | {POOL}
        return self.enabled and (self.http is not None or any(self.destinations(node) != [LOG] for node in nodes))

    def watching(self) -> Watching:
        """What the supervisor watches."""
        if not self.enabled:
            return Watching()
        return Watching(self.alerts.rules(), tuple(self.objectives.goals()))
