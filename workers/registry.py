"""Which worker serves which type: the `@worker` mark, loading a user's code, and choosing.

Owns the import of task code (only a slot's process and `try` do that) and what is said when it fails. Runs nothing.
Python 3.9 and the standard library suffice, because a slot may run in another environment.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
import traceback
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Union

from . import kept_code
from .base import BaseWorker
from .code_place import MAIN, add_paths, is_file, split_code
from .errors import ConfigError
from .module_lists import is_listed
from .source import Source
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import ParamSpec, Protocol, TypeVar, overload

    from .task import Result

    P = ParamSpec("P")
    R = TypeVar("R")
    Returned_co = TypeVar("Returned_co", covariant=True)
    Value_co = TypeVar("Value_co", covariant=True)

    class WorkerFunction(Protocol[P, Returned_co, Value_co]):
        """A plain function that also is a worker; `Value_co` is what its tasks give."""

        type: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Returned_co:
            """Run the function itself, here."""
            ...

        def task(self, *args: P.args, **kwargs: P.kwargs) -> Task[Value_co]:
            """A task of this type with these arguments as params, checked against the signature.

            Raises:
                TypeError: The function could not be called so.
            """
            ...

    class Marking(Protocol):
        """What `worker` returns."""

        @overload
        def __call__(self, function: Callable[P, Result]) -> WorkerFunction[P, Result, Any]: ...
        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, R]]
        ) -> WorkerFunction[P, Coroutine[Any, Any, R], R]: ...
        @overload
        def __call__(self, function: Callable[P, R]) -> WorkerFunction[P, R, R]: ...


TYPE_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,2}\Z")
"""One to three parts of letters, digits, `_` and `-`."""

COST_MAX: Final = 1_000_000_000
"""Units of a quota that one task may cost."""

Worker = Union[type[BaseWorker], Callable[..., Any]]  # noqa: UP007 -- Python 3.9
_MARK = "_workerhost_type"


def worker(type: str) -> Marking:
    """Make a function the worker of a type. It stays a function; `function.task(...)` builds a task for it, whose
    result has the type that the function returns: `client.send(length.task("hi")).result()` is an int.

    A task's params reach it as keywords when they are a dict, not at all when they are None, else as its one argument.

    Raises:
        ValueError: The type is not one to three parts of letters, digits, `_` and `-`.
    """
    if callable(type):
        raise TypeError('@worker needs a type: @worker("media.platform.endpoint")')
    check_type(type)

    def mark(function: Callable[..., Any]) -> Any:
        signature = inspect.signature(function)

        def task(*args: Any, **kwargs: Any) -> Task[Any]:
            return Task(id=0, type=type, params=_params(function, signature, signature.bind(*args, **kwargs)))

        marked: Any = function
        marked.task, marked.type = task, type
        setattr(marked, _MARK, type)
        return marked

    return mark


def _params(
    function: Callable[..., Any], signature: inspect.Signature, bound: inspect.BoundArguments
) -> dict[str, Any]:
    """The arguments of a call as params, which reach a function by name.

    Raises:
        TypeError: One of them has no name.
    """
    params: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(f"{name_of(function)}: {name} has no name to be passed by; make it a plain parameter")
        params.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
    return params


def check_type(type: str) -> str:
    """Give back a well-formed type.

    Raises:
        ValueError: It is not.
    """
    if not TYPE_PATTERN.match(type):
        raise ValueError(f"{type!r} is no task type: one to three parts, joined by dots, of letters, digits, _ and -")
    return type


def type_of(worker: Worker) -> str:
    """The type that a worker names, or "" for a class without one."""
    return str(getattr(worker, _MARK, "") or (getattr(worker, "type", "") if inspect.isclass(worker) else "") or "")


def cost_of(worker: Worker) -> int:
    """Units of the quota that one of its tasks costs.

    Raises:
        ValueError: It says something that is no such number.
    """
    cost = getattr(worker, "quota_cost", 1)
    if type(cost) is not int or not 1 <= cost <= COST_MAX:
        raise ValueError(f"quota_cost is {cost!r}; it must be a whole number from 1 to {COST_MAX}")
    return cost


def name_of(worker: Worker) -> str:
    """`module:Class`, for people."""
    return f"{worker.__module__}:{getattr(worker, '__qualname__', '?')}"


def says_itself(worker: Worker) -> bool:
    """Whether it is a class with a `can_handle` of its own."""
    return inspect.isclass(worker) and getattr(worker, "can_handle", None) is not BaseWorker.can_handle


@dataclass
class Offer:
    """What can be run in one place.

    Attributes:
        types: Type -> its worker.
        any: Workers without type, in the order in which they are asked.
        failed: What could not be loaded (CODE, or the type from the configuration) -> why, with file and line.
        fingerprints: Type -> short hash of the source file of its worker.
        costs: Type -> units of the quota that a task costs, where it is not one.
    """

    types: dict[str, Worker] = field(default_factory=dict)
    any: list[Worker] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)

    def add(self, worker: Worker, source: str, type: str = "") -> None:
        """Take a worker in, for the type that it names or for `type`; `source` (CODE) is named if that fails."""
        try:
            path = type or type_of(worker)
            if not path:
                if worker not in self.any:
                    self.any.append(worker)
                return
            cost = cost_of(worker)
            known = self.types.setdefault(check_type(path), worker)
        except ValueError as error:
            self.failed[source] = f"{name_of(worker)}: {error}"
            return
        self.fingerprints[path] = self.fingerprints.get(path) or _fingerprint(worker)
        if known is worker and cost != 1:
            self.costs[path] = cost
        if known is not worker:
            self.failed[source] = (
                f"{path} has two workers, {name_of(known)} and {name_of(worker)}; name the one you want: CODE:Name"
            )

    def join(self, other: Offer) -> None:
        """Take in what another offer has beside this one."""
        self.types = {**other.types, **self.types}
        self.any += [worker for worker in other.any if worker not in self.any]
        self.failed.update(other.failed)
        self.fingerprints = {**other.fingerprints, **self.fingerprints}
        self.costs = {**other.costs, **self.costs}

    def keep(self, nodes: Mapping[str, bool]) -> None:
        """Drop the types that belong to another environment, which offers them itself.

        Args:
            nodes: Node -> whether it belongs here; "" stands for all types that none of the others is above.
        """
        for type in list(self.types):
            parts = type.split(".")
            above = (".".join(parts[:count]) for count in range(len(parts), -1, -1))
            if not next((nodes[path] for path in above if path in nodes), True):
                del self.types[type]
                self.fingerprints.pop(type, None)

    def candidates(self, type: str) -> list[tuple[Worker, bool]]:
        """Who is asked about tasks of a type, in order, and whether its `can_handle` has to say yes.

        The worker of exactly this type, then those of the levels above that have a `can_handle` of their own (the
        nearest first), then the workers without type.
        """
        found: list[tuple[Worker, bool]] = []
        exact = self.types.get(type)
        if exact is not None:
            found.append((exact, says_itself(exact)))
        parts = type.split(".")
        for count in range(len(parts) - 1, 0, -1):
            above = self.types.get(".".join(parts[:count]))
            if above is not None and says_itself(above):
                found.append((above, True))
        found.extend((worker, says_itself(worker)) for worker in self.any)
        return found

    def plain(self) -> dict[str, Any]:
        """The same as plain data: `types` [type], `any` [name], `failed`, `fingerprints`, `costs`.

        A worker that looks at the task itself is asked about what lies below its type too: it is named as `type.*`
        beside `type`.
        """
        below = [f"{type}.*" for type, worker in self.types.items() if says_itself(worker)]
        return {
            "types": sorted([*self.types, *below]),
            "any": [name_of(worker) for worker in self.any],
            "failed": dict(self.failed),
            "fingerprints": dict(self.fingerprints),
            "costs": dict(self.costs),
        }


def load(code: str, paths: Sequence[str] = ()) -> Offer:
    """Import one CODE: `tasks.py`, `my.module`, either with `:Name` behind it. Never raises for what is in it.

    What counts is what is defined there (or named): subclasses of `BaseWorker` that can execute, and functions marked
    with `@worker`.

    Args:
        code: See above.
        paths: Folders to look in, beside those of Python.
    """
    return load_all((code,), paths=paths)


def load_all(
    codes: Iterable[str],
    sources: Mapping[str, Source] | None = None,
    paths: Sequence[str] = (),
    *,
    guarded: bool = False,
) -> Offer:
    """Import several CODEs and what the configuration names for types, into one offer. The configuration wins.

    Args:
        codes: As for `load`.
        sources: Type -> the class or the command that serves it.
        paths: As for `load`.
        guarded: Whether this process leads a process group of its own, see `program.Program`.
    """
    add_paths(paths)
    offer = Offer()
    for type, source in (sources or {}).items():
        code, modules = source.code, source.modules
        found = _load_into(offer, code, type, modules) if code else _made(offer, type, source, guarded)
        for worker in found:
            offer.add(worker, type, type)
    for code in codes:
        for worker in _load_into(offer, code, code):
            if type_of(worker) not in (sources or {}):
                offer.add(worker, code)
    return offer


def offer_of(workers: Iterable[Worker]) -> Offer:
    """An offer of workers that are already there.

    Raises:
        ConfigError: One of them is no worker, or two serve one type.
    """
    offer = Offer()
    for worker in workers:
        if not _is_worker(worker):
            raise ConfigError(f"{worker!r} is no worker: a subclass of BaseWorker or a function with @worker is")
        offer.add(worker, name_of(worker))
    for reason in offer.failed.values():
        raise ConfigError(reason)
    return offer


def locate(worker: Worker) -> str:
    """The CODE under which another process finds a worker.

    Raises:
        ConfigError: It cannot: it was made at a prompt or inside a function. The message says the cure.
    """
    name = str(getattr(worker, "__qualname__", ""))
    cure = "move it to the top level of a file, or use inline slots"
    if not name or "<" in name:
        raise ConfigError(f"{name_of(worker)} is defined inside a function, where no slot's process finds it; {cure}")
    if worker.__module__ not in ("__main__", "__mp_main__"):
        return f"{worker.__module__}:{name}"
    main = sys.modules.get(worker.__module__)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", "__mp_main__"):
        return f"{spec.name}:{name}"  # started with python -m
    file = getattr(main, "__file__", None)
    if not file or not Path(file).is_file():
        raise ConfigError(f"{name} is defined at a prompt, where no slot's process finds it; {cure}")
    return f"{MAIN}{Path(file).resolve()}:{name}"


def _load_into(offer: Offer, code: str, source: str, modules: Sequence[str] = ()) -> list[Worker]:
    """Import CODE; what goes wrong is noted in the offer under `source`."""
    try:
        return _load(code, modules)
    except BaseException as error:  # a user's module may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        offer.failed[source] = str(error) if isinstance(error, ConfigError) else f"{code}: {_reason(error)}"
    return []


_importing: Final = threading.RLock()
"""Held while a file is imported: another slot of this process must not find the module half executed."""


def _made(offer: Offer, type: str, source: Source, guarded: bool) -> list[Worker]:
    """The worker that runs a command or calls functions; what goes wrong is noted in the offer under the type."""
    from .command import command_worker, fingerprint  # most slots run none, and start sooner without
    from .functions import function_worker

    try:
        if source.modules:
            return [function_worker(source.modules)]
        worker = command_worker(type, source, guarded=guarded)
    except ConfigError as error:
        offer.failed[type] = str(error)
        return []
    offer.fingerprints[type] = fingerprint(source)
    return [worker]


def _load(code: str, modules: Sequence[str]) -> list[Worker]:
    place, name = split_code(code)
    if is_file(place) and not modules:
        with _importing:
            module = _import_file(place)
    else:
        module = import_module(place)
    if name:
        found: Any = module
        for part in name.split("."):
            if not hasattr(found, part):
                raise ConfigError(f"{code}: {place} has no {name}")
            found = getattr(found, part)
        if not _is_worker(found):
            raise ConfigError(f"{code}: not a worker (a subclass of BaseWorker, or a function with @worker)")
        if modules and not is_listed(found.__module__, modules):
            raise ConfigError(f"{code}: defined in {found.__module__}, which this host does not accept")
        return [found]
    workers = [value for value in dict.fromkeys(_values(module)) if _is_offered(value, module)]
    if not workers:
        raise ConfigError(
            f"{code}: no worker in it (a subclass of BaseWorker with execute, or a function with @worker)"
        )
    return workers


def _values(module: ModuleType) -> list[Any]:
    """What a module holds that could be a worker (only classes and functions: other things need not be hashable)."""
    return [value for value in vars(module).values() if inspect.isclass(value) or inspect.isroutine(value)]


def _is_worker(value: Any) -> bool:
    if not inspect.isclass(value):
        return callable(value) and bool(getattr(value, _MARK, ""))
    return issubclass(value, BaseWorker) and value.execute is not BaseWorker.execute and not inspect.isabstract(value)


def _is_offered(value: Any, module: ModuleType) -> bool:
    """Whether a module offers it: it is a worker, defined there, and no base that others only build on."""
    inside = hasattr(module, "__path__") and str(value.__module__).startswith(module.__name__ + ".")
    if not _is_worker(value) or not (value.__module__ == module.__name__ or inside):
        return False
    return not (inspect.isclass(value) and value.__subclasses__() and not type_of(value) and not says_itself(value))


def _import_file(place: str) -> ModuleType:
    """Import a file under its own name, or as `__mp_main__`, or under another name where its own is taken."""
    path = Path(place.removeprefix(MAIN)).resolve()
    if not kept_code.is_there(path):
        raise ConfigError(f"{path}: no such file")
    add_paths((str(path.parent),))
    name = "__mp_main__" if place.startswith(MAIN) else path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or not name.isidentifier() or name in getattr(sys, "stdlib_module_names", ()):
        name = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_{zlib.crc32(str(path).encode()):08x}"
        if name in sys.modules:
            return sys.modules[name]
    spec = kept_code.spec_of(name, str(path))
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file (its name must end in .py)")
    module = module_from_spec(spec)
    sys.modules[name] = module
    if name == "__mp_main__":
        sys.modules["__main__"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _reason(error: BaseException) -> str:
    """One line: what was raised and the deepest line of the user's own code, not of Python's import machinery."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and frame.filename not in (__file__, import_module.__code__.co_filename)
    ]
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _fingerprint(worker: Worker) -> str:
    """Hash of the file that a worker comes from; "" where there is none."""
    file = getattr(sys.modules.get(worker.__module__), "__file__", None)
    try:
        return f"{zlib.crc32(kept_code.source_of(file)):08x}" if file else ""
    except OSError:
        return ""
