"""Functions as tasks: called by import path, of modules that the host lists; or pickled, where the host allows that.

Owns what may be called. A path is looked up only in a module that the host's own configuration names, and only what is
defined there is found: nothing that it merely imported, nothing whose name begins with an underscore.
Python 3.9 and the standard library suffice here; cloudpickle is wanted by pickled functions alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from .base import BaseWorker
from .errors import ConfigError, Fail
from .module_lists import is_listed
from .source import FUNCTION, PICKLED
from .task import Task


def function_worker(modules: Sequence[str]) -> type[BaseWorker]:
    """A worker that calls functions of these modules; those that are named whole are imported now.

    Raises:
        ConfigError: One of them cannot be imported.
    """
    for name in modules:
        if not name.endswith(".*"):
            try:
                import_module(name)
            except (
                Exception,
                SystemExit,
            ) as error:  # a script without a guard ends itself: no type but this one may go
                raise ConfigError(f"host.functions: {name}: {type(error).__name__}: {error}") from error
    allowed = tuple(modules)

    class FunctionWorker(BaseWorker):
        """Calls functions: params `{"calls": [[path, args, kwargs], ...]}`, result the list of what they return."""

        type = FUNCTION

        def execute(self, task: Task) -> Any:
            """Look every call up before the first is made."""
            calls = _calls(task.params)
            found = [_function(allowed, path) for path, _, _ in calls]
            return [function(*args, **kwargs) for function, (_, args, kwargs) in zip(found, calls)]  # noqa: B905 -- 3.9

    FunctionWorker.__module__, FunctionWorker.__qualname__ = __name__, "FunctionWorker"
    return FunctionWorker


class PickledWorker(BaseWorker):
    """Calls pickled functions: params are the bytes of a pickled list of (function, args, kwargs), the result too."""

    type = PICKLED

    def execute(self, task: Task) -> Any:
        """Whoever sends this may run anything here; the host said `pickle: true`."""
        cloudpickle = pickling()
        if not isinstance(task.params, bytes):
            raise Fail("params must be the bytes of pickled calls; send them with PoolExecutor(pickle=True)")
        results = [function(*args, **kwargs) for function, args, kwargs in cloudpickle.loads(task.params)]
        return cloudpickle.dumps(results)


def pickling() -> Any:
    """What packs and unpacks functions: loading what it has packed runs whatever the packer wanted.

    Raises:
        ImportError: cloudpickle is not installed here.
    """
    try:
        return import_module("cloudpickle")
    except ImportError:
        raise ImportError("pickled functions need cloudpickle: pip install 'workerhost[pickle]'") from None


def _calls(params: Any) -> list[Any]:
    given: Any = params
    calls: Any = given.get("calls") if isinstance(params, dict) else None
    if isinstance(calls, list) and all(map(_is_call, cast("list[Any]", calls))):
        return cast("list[Any]", calls)
    raise Fail('params must be {"calls": [["module:function", [arguments], {keywords}], ...]}')


def _is_call(call: Any) -> bool:
    parts = cast("list[Any]", call) if isinstance(call, list) else []
    return len(parts) == 3 and all(map(isinstance, parts, (str, list, dict)))


def _function(allowed: Sequence[str], path: str) -> Any:
    """The function that a path names.

    Raises:
        Fail: It may not be called; it says why and what to do.
    """
    name, _, inside = path.partition(":")
    if not is_listed(name, allowed):
        listed = ", ".join(allowed)
        raise Fail(f"{name} is not a module whose functions this host runs ({listed}); add it to `host: functions:`")
    try:
        found: Any = import_module(name)
    except ImportError as error:
        raise Fail(f"{path}: {type(error).__name__}: {error}") from error
    for part in inside.split("."):
        found = None if part.startswith("_") else getattr(found, part, None)
        if found is None or isinstance(found, ModuleType) or getattr(found, "__module__", None) != name:
            raise Fail(f"{path}: {name} defines no such function (what it imports, and names with _, do not count)")
    if not inspect.isroutine(found):
        raise Fail(f"{path} is no function")
    return found
