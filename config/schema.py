"""What a configuration may say: every key, its kind and its default. Reads no file (`loading` does).

A section holds what was set; `model_fields_set` tells what that was. What the settings of the tree mean for a type is
`policy`'s business: `Settings.policies` hands them over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from ..workers.source import Environment, Source
from .functions import FunctionSettings, Modules
from .kinds import (
    Address,
    Amounts,
    BreakerOrOff,
    CacheOrOff,
    Code,
    Command,
    Concurrency,
    Count,
    CutOff,
    Duration,
    DurationOrNone,
    FilePath,
    HostName,
    HostPattern,
    PoolAddress,
    QuotaText,
    RateText,
    SizeOrNone,
    Slots,
    TenantName,
    TypePath,
    Types,
    type_path,
)
from .limits import Breaker, Cache, Quota, Rate
from .log_settings import LoggingSettings
from .monitoring import MonitoringSettings
from .policy import OWN_LIMITS, Policy, PolicyTree, Retry, nearest
from .queue_schema import QueueSettings
from .schedule_schema import ScheduleName, ScheduleSettings
from .section import Section, problem
from .watching import Watching

_POLICY, _RETRY = Policy(), Retry()
_OF_THE_HOST = ("command", "cwd", "python")
_NULL_MEANS = ("timeout", "no_progress_timeout")
DEFAULT_DATABASE = "tasks.db"


class PoolSettings(Section):
    """`pool:` where the supervisor listens and how soon a silent peer counts as lost."""

    bind: Address = Field(default="tcp://127.0.0.1:7470", description="Address the supervisor listens on.")
    heartbeat: Duration = Field(default=1.0, description="Time between two signs of life, both ways.")
    lost_after: Duration = Field(
        default=5.0, description="Silence after which a peer is lost; at least twice the heartbeat."
    )

    @model_validator(mode="after")
    def _patient(self) -> PoolSettings:
        if self.lost_after < 2 * self.heartbeat:
            raise problem("lost_after", f"must be at least twice the heartbeat ({2 * self.heartbeat:g}s)")
        return self


class HostEntry(Section):
    """`hosts: NAME:` what a host of this name takes on, unless its own command line says otherwise."""

    slots: Slots = Field(default_factory=dict, description="How many tasks at a time: 4, or {video: 4, audio: 2}.")
    serve: Types = Field(default_factory=list, description="Only these types and what lies below them; all if empty.")
    not_: Types = Field(default_factory=list, alias="not", description="None of these types, nor what lies below them.")


class HostSettings(HostEntry, FunctionSettings):
    """`host:` what a host started with this file is."""

    join: PoolAddress | None = Field(
        default=None, description="Address of the supervisor; that of `pool: bind:` if absent."
    )
    name: HostName | None = Field(default=None, description="The host's name; made from the machine's if absent.")
    isolation: Literal["process", "thread", "inline"] | None = Field(
        default=None,
        description="How tasks run: each slot a process, threads of one process, or (embedded only) inline.",
    )
    accept: Modules = Field(
        default_factory=list,
        description="Modules whose workers the supervisor's file may have it run: my.jobs, or my.* for all below my.",
    )
    offer: Amounts = Field(
        default_factory=dict,
        description="What its tasks may require: counts that they use up and labels, {gpu: 1, memory: 8G, zone: eu}.",
    )
    drain_timeout: Duration = Field(
        default=30.0, description="How long running tasks may go on after the first signal to end."
    )


class RetrySettings(Section):
    """`retry:` how a failed attempt is tried again."""

    max_attempts: Count = Field(default=_RETRY.max_attempts, description="Failures until a task is failed for good.")
    backoff: Literal["exponential", "linear", "fixed"] = Field(default="exponential", description="How the wait grows.")
    base: Duration = Field(default=_RETRY.base, description="The wait before the first retry.")
    cap: Duration = Field(default=_RETRY.cap, description="The longest wait.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        default=_RETRY.jitter, description="By how much a wait varies: 0.1."
    )
    on: list[Literal["transient", "system", "other"]] = Field(
        default=["transient", "system", "other"],
        description="Which kinds of failures are tried again; `other`: what nobody has classed.",
    )


class LimitSettings(Section):
    """`limits:` what one attempt in a process slot may use. Beyond it the attempt ends, and nothing else does.

    Hosts look at what is used ten times a second. Where a group of version 2 of Linux's cgroups was handed over to the
    host (a systemd unit with `Delegate=yes`, a container that may write to its own), the kernel itself keeps `memory`.
    """

    memory: SizeOrNone = Field(default=None, description="Of its process and all below it: 512M, 2G. Ends as `oom`.")
    processes: Count | None = Field(default=None, description="How many processes below its own; a program is one.")
    cpu: DurationOrNone = Field(default=None, description="Time of processors, not of the clock: 10m.")
    output: SizeOrNone = Field(default=None, description="What it writes to stdout and stderr: 1M.")


class NodeDefaults(Section):
    """`defaults:` what holds for every type that does not say otherwise."""

    timeout: DurationOrNone = Field(
        default=_POLICY.timeout, description="How long one attempt may run; null: for ever."
    )
    retry: RetrySettings = RetrySettings()
    crash_limit: Count = Field(default=_POLICY.crash_limit, description="Crashes until a task is quarantined.")
    cut_off: CutOff = Field(
        default=_POLICY.cut_off,
        description="How long a host goes on without its supervisor; `stop`: not beyond the lease.",
    )
    isolation: Literal["process", "thread", "command"] | None = Field(
        default=None, description="The host's own if absent; `command` goes with `command:`."
    )
    python: FilePath | None = Field(
        default=None,
        description="Interpreter or virtualenv's folder to run in (3.9 or newer); the host's own if absent.",
    )
    concurrency: Concurrency = Field(
        default=1, description="Tasks at a time in each slot's event loop; above 1 only for `async def execute`."
    )
    breaker: BreakerOrOff = Field(
        default=_POLICY.breaker,
        description="Stops a node whose tasks fail too often, and tries again later; `off`: never.",
    )
    no_progress_timeout: DurationOrNone = Field(
        default=None, description="How long one attempt may go without reporting progress; null: for ever."
    )
    limits: LimitSettings = LimitSettings()
    requires: Amounts = Field(
        default_factory=dict, description="What a host must offer: {gpu: 1, memory: 8G, zone: eu}; see `host: offer:`."
    )
    cache: CacheOrOff = Field(
        default=_POLICY.cache,
        description="A task with the same params as one that completed within `ttl` has its result: {ttl: 1h}; `off`.",
    )

    def values(self) -> dict[str, Any]:
        """What was set, in the names of `policy.Policy`, beside `OWN_LIMITS` and what only a host must know."""
        names = self.model_fields_set & {*Policy.__dataclass_fields__, *OWN_LIMITS, *_OF_THE_HOST}
        found = {name: getattr(self, name) for name in type(self).model_fields if name in names}
        if "limits" in found:
            found["limits"] = self.limits.model_dump(exclude_unset=True)
        if "retry" in found:
            found["retry"] = self.retry.model_dump(exclude_unset=True)
            if "on" in found["retry"]:
                found["retry"]["on"] = tuple(found["retry"]["on"])
        return found


class NodeSettings(NodeDefaults):
    """A node of the tree: a type, and what is set for it and what lies below it."""

    code: Code | None = Field(default=None, alias="class", description="The worker's class, my.module:Class.")
    command: Command | None = Field(
        default=None, description="With `isolation: command`: a program, in any language, that runs one task."
    )
    cwd: FilePath | None = Field(default=None, description="Where the command runs; beside this file if absent.")
    max_concurrent: Count | None = Field(
        default=None, description="Tasks of this node and below it that run at a time."
    )
    per_host: Count | None = Field(default=None, description="The same on each host.")
    rate: RateText | None = Field(
        default=None, description="Tasks of this node and below it that start in any window: 10/s, 600/min, 5000/h."
    )
    quota: QuotaText | None = Field(
        default=None, description="Units that its tasks use until the reset: 10000/day, or limit, per, resets, zone."
    )
    platforms: dict[str, NodeSettings] = Field(default_factory=dict, description="Nodes below a media type.")
    endpoints: dict[str, NodeSettings] = Field(default_factory=dict, description="Nodes below a platform.")

    @model_validator(mode="after")
    def _one_worker(self) -> NodeSettings:
        if self.command is None and self.isolation == "command":
            raise problem("isolation", "is `command`, but there is no `command:`; add command: [program, argument]")
        if self.command is not None and self.isolation != "command":
            raise problem("command", "needs `isolation: command` beside it")
        if self.command is not None and self.code is not None:
            raise problem("command", "and `class` exclude each other; remove one of the two")
        if self.cwd is not None and self.command is None:
            raise problem("cwd", "goes with `command:`; add it, or remove this")
        if self.command is not None and (self.python is not None or self.concurrency > 1):
            name = "concurrency" if self.python is None else "python"
            raise problem(name, "does not go with `command:`, which names its own interpreter; remove it")
        return self


class TenantSettings(Section):
    """`tenants: NAME:` what one of those who share the pool may have of it; `*` is each that is not named."""

    max_concurrent: Count | None = Field(default=None, description="Its tasks that run at a time.")
    rate: RateText | None = Field(default=None, description="Its tasks that start in any window: 10/s, 600/min.")


class SeedWorker(NodeSettings):
    """`worker:` one node, named by its `type`."""

    type: TypePath | None = Field(default=None, description="The type that this configures.")


class Settings(Section):
    """A whole configuration. Every key is optional."""

    version: Literal[1] = 1
    pool: PoolSettings = PoolSettings()
    queue: QueueSettings = QueueSettings()
    host: HostSettings = HostSettings()
    hosts: dict[HostPattern, HostEntry] = Field(
        default_factory=dict, description="By host name or pattern; a host is told when it joins."
    )
    defaults: NodeDefaults = NodeDefaults()
    workers: dict[TypePath, NodeSettings] = Field(default_factory=dict, description="The tree, by type.")
    tenants: dict[TenantName, TenantSettings] = Field(default_factory=dict, description="Who shares the pool, by name.")
    worker: SeedWorker | None = Field(default=None, description="One node in short form: `type` and its settings.")
    schedules: dict[ScheduleName, ScheduleSettings] = Field(
        default_factory=dict, description="What the pool sends by itself, by name."
    )
    logging: LoggingSettings = LoggingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()

    _source: Path | None = PrivateAttr(None)
    _folder: Path = PrivateAttr(default_factory=Path)
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict[str, str])
    _nodes: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _flatten(self) -> Settings:
        if self.defaults.isolation == "command":
            raise problem("defaults.isolation", "is `command`, which goes with the `command:` of a type; set it there")
        for path, where, node in self._written():
            known = self._nodes.setdefault(path, {})
            for name, value in node.values().items():
                if name in known and known[name] != value:
                    raise problem(f"{where}.{name}", f"is set a second time for {path} and differs; remove one")
                known[name] = value
        return self

    def _written(self) -> Iterator[tuple[str, str, NodeSettings]]:
        """(type, key in the file, node) of every node, in whatever form it is written."""
        for path, node in self.workers.items():
            yield from _below(path, f"workers.{path}", node)
        if self.worker is not None:
            if self.worker.type is None:
                raise problem("worker", "has no `type`; add one, or write `defaults:` to mean every type")
            yield from _below(self.worker.type, "worker", self.worker)

    @property
    def source(self) -> Path | None:
        """The file that was read, or None."""
        return self._source

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """What is set on each node, by type, as `NodeSettings.values`."""
        return self._nodes

    def policies(self) -> PolicyTree:
        """The tree of policies: what the supervisor tells its hosts. A command is not told, it is a host's own."""
        told: dict[str, dict[str, Any]] = {}
        for path, values in self._nodes.items():
            told[path] = _told(values)
            if "command" in values:
                told[path]["code"] = None  # the class of the node above does not run this type
        tenants = {name: dict(tenant) for name, tenant in self.tenants.items()}
        return PolicyTree(told, _told(self.defaults.values()), tenants)

    def sources(self) -> dict[str, Source]:
        """Type -> what runs it on a host with this file, for the types whose node says `class:` or `command:`."""
        found = self.host.function_sources()
        for path, values in self._nodes.items():
            if values.get("command"):
                folder = values.get("cwd") or self._folder
                found[path] = Source(command=tuple(values["command"]), folder=str(folder.absolute()))
            elif values.get("code"):
                found[path] = Source(values["code"])
        return found

    def placed(self) -> frozenset[str]:
        """The types of which a node says where they run, be it as above."""
        return frozenset(path for path, values in self._nodes.items() if values.keys() & {*Environment._fields})

    def isolation(self) -> str:
        """How tasks run on a host of its own, where neither its command line nor a node says otherwise."""
        return self.host.isolation or self.defaults.isolation or "process"

    def environments(self, isolation: str) -> dict[str, Environment]:
        """Where tasks of each node run on a host with this file and this isolation of its own: {"": what holds for all
        types, type: where it differs}. A node has what the one above it has, but for what it sets itself.
        """
        everywhere = {name: value for name, value in self.defaults.values().items() if name != "isolation"}
        found = {"": _within(Environment(isolation=isolation), everywhere)}
        for path in sorted(self._nodes):
            above = nearest(found, path)
            values = self._nodes[path]
            own = Environment(isolation=isolation) if values.get("command") else _within(above, values)
            if own != above:
                found[path] = own
        return found

    def host_entries(self) -> dict[str, dict[str, Any]]:
        """`hosts:` as plain data, only what is set: {name or pattern: {slots, serve, not}}."""
        return {name: entry.model_dump(exclude_unset=True, by_alias=True) for name, entry in self.hosts.items()}

    def database(self, *, embedded: bool = False) -> Path | None:
        """Where the queue is kept, or None for memory. An embedded pool keeps only what it is told to keep."""
        if self.queue.persistence == "memory":
            return None
        if self.queue.database is None and embedded and "persistence" not in self.queue.model_fields_set:
            return None
        return self.queue.database or self._folder / DEFAULT_DATABASE

    def queue_depth_high(self) -> int | None:
        """Unfinished tasks above which to warn, or None."""
        return self.monitoring.alerts.queue_depth_high if self.monitoring.enabled else None

    def watching(self) -> Watching:
        """What is an alert, and what a goal."""
        return self.monitoring.watching()

    def document(self) -> dict[str, Any]:
        """All that is in effect, as plain data that loads again to the same."""
        queue = self.queue.model_dump(exclude={"database"})
        database = self.database()
        return {
            "version": self.version,
            "pool": self.pool.model_dump(),
            "queue": queue if database is None else {**queue, "database": str(database)},
            "host": self.host.model_dump(
                by_alias=True, exclude_none=True, exclude=None if self.host.slots else {"slots"}
            ),
            "hosts": self.host_entries(),
            "defaults": _written_node(self._all_defaults(), self._folder),
            "workers": {path: _written_node(values, self._folder) for path, values in self._nodes.items()},
            "tenants": {name: _written_node(dict(tenant), self._folder) for name, tenant in self.tenants.items()},
            "schedules": {name: one.model_dump(exclude_unset=True) for name, one in self.schedules.items()},
            "logging": self.logging.model_dump(mode="json"),
            "monitoring": self.monitoring.model_dump(by_alias=True),
        }

    def _all_defaults(self) -> dict[str, Any]:
        values = self.defaults.values()
        return asdict(PolicyTree({}, _told(values)).effective("")) | {
            name: values[name] for name in _OF_THE_HOST if name in values
        }

    def found_in(self, source: Path | None, folder: Path, places: Mapping[str, str] | None = None) -> Settings:
        """These settings, which know the file they came from, the folder relative paths stand in, and where each key
        stands, {dotted key: file and line}.
        """
        self._source, self._folder, self._places = source, folder, places or {}
        return self

    def place(self, type: str, name: str) -> str:
        """Where a setting of a node stands: file and line, or the file."""
        alias = "class" if name == "code" else name
        keys = [f"{where}.{alias}" for path, where, _ in self._written() if path == type]
        places = self._places
        return next((places[key] for key in keys if key in places), str(self._source or "configuration"))


def _written_node(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What is set on a node in the words of the file instead of those of `policy`, wherever that is read again."""
    written = {"class" if name == "code" else name: value for name, value in values.items()}
    if "command" in written:
        written["cwd"] = str((written.get("cwd") or folder).absolute())
    if written.get("python"):
        written["python"] = str(written["python"].absolute())
    for name in ("rate", "quota", "breaker", "cache"):
        if isinstance(value := written.get(name), Rate | Quota | Breaker | Cache):
            written[name] = value.written()
    for name in ("breaker", "cache"):
        if name in written and written[name] is None:
            written[name] = "off"
    if "cut_off" in written and written["cut_off"] is None:
        written["cut_off"] = "stop"
    if "on" in written.get("retry", {}):
        written["retry"] = {**written["retry"], "on": list(written["retry"]["on"])}
    return {name: value for name, value in written.items() if value is not None or name in _NULL_MEANS}


def _told(values: dict[str, Any]) -> dict[str, Any]:
    """What of a node's settings the supervisor tells."""
    return {name: value for name, value in values.items() if name not in _OF_THE_HOST}


def _within(above: Environment, values: dict[str, Any]) -> Environment:
    """The environment of a node that sets these values. What is inline stays so, unless another interpreter runs it."""
    python = str(values["python"].absolute()) if values.get("python") else above.python
    isolation = values.get("isolation") or above.isolation
    concurrency = values.get("concurrency", above.concurrency)
    if above.isolation == "inline":
        return Environment(python, "process", concurrency) if python else above
    return Environment(python, isolation, concurrency)


_LEVELS = {"platforms": (1, "a media type such as video"), "endpoints": (2, "a platform such as video.youtube")}


def _below(path: str, where: str, node: NodeSettings) -> Iterator[tuple[str, str, NodeSettings]]:
    """The node itself and all that is nested in it."""
    yield path, where, node
    for level, (parts, whose) in _LEVELS.items():
        for name, child in getattr(node, level).items():
            here = f"{where}.{level}.{name}"
            if path.count(".") + 1 != parts:
                raise problem(f"{where}.{level}", f"belongs under {whose}, not under {path}")
            if "." in name:
                raise problem(here, f"is one part, not a path; write its node as {path}.{name}")
            yield from _below(_part(path, name, here), here, child)


def _part(path: str, name: str, where: str) -> str:
    try:
        return type_path(f"{path}.{name}")
    except ValueError as error:
        raise problem(where, str(error)) from None
