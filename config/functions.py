"""What `host:` says of functions that clients may call by their import path (see `PoolExecutor`)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ..workers.module_lists import MODULES_MAX, is_modules
from ..workers.source import FUNCTION, PICKLED, Source
from .section import Section


def _module(value: Any) -> str:
    if not isinstance(value, str) or not is_modules(value):
        raise ValueError("must be the name of a module, such as my.jobs, or my.* for all that lies below my")
    return value


Modules = Annotated[list[Annotated[str, BeforeValidator(_module)]], Field(default_factory=list, max_length=MODULES_MAX)]


class FunctionSettings(Section):
    """The part of `host:` about functions."""

    functions: Modules = Field(
        default_factory=list,
        description="Modules whose functions a client's PoolExecutor may call here: my.jobs, or my.* for all below my.",
    )
    pickle: bool = Field(
        default=False,
        description="Run whatever function a client pickles. Who may send tasks may then do here what you may.",
    )

    def function_sources(self) -> dict[str, Source]:
        """The types through which functions are called, as `Settings.sources` tells them."""
        found: dict[str, Source] = {}
        if self.functions:
            found[FUNCTION] = Source(modules=tuple(self.functions))
        if self.pickle:
            found[PICKLED] = Source("workerhost.workers.functions:PickledWorker")
        return found
