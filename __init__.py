"""WorkerHost: a pool of workers made of actors and messages. This module is the public face.

Names are loaded when first used (PEP 562), so that a slot's process or `--help` does not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_FACE = {
    "BaseWorker": ".workers.base",
    "worker": ".workers.registry",
    "Task": ".workers.task",
    "Result": ".workers.task",
    "Fail": ".workers.errors",
    "Release": ".workers.errors",
    "WorkerHost": ".actors.embedded",
    "Client": ".transport.client",
    "AsyncClient": ".transport.async_client",
    "PoolExecutor": ".transport.executor",
    "register_joblib": ".transport.joblib_backend",
    "Handle": ".transport.handle",
    "Batch": ".transport.handle",
    "AsyncHandle": ".transport.async_handle",
    "AsyncBatch": ".transport.async_handle",
    "TaskState": ".transport.messages",
    **dict.fromkeys(
        (
            "WorkerHostError",
            "ConfigError",
            "TaskFailed",
            "TaskQuarantined",
            "TaskCancelled",
            "TaskUnknown",
            "TaskRefused",
            "InvalidTask",
            "TooLarge",
            "NoHost",
            "KeyConflict",
            "PoolBusy",
            "QueueFull",
            "DiskFull",
            "PoolUnreachable",
            "PoolRefused",
        ),
        ".workers.errors",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        message = f"module 'workerhost' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_FACE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})


if TYPE_CHECKING:
    from .actors.embedded import WorkerHost as WorkerHost
    from .transport.async_client import AsyncClient as AsyncClient
    from .transport.async_handle import AsyncBatch as AsyncBatch
    from .transport.async_handle import AsyncHandle as AsyncHandle
    from .transport.client import Client as Client
    from .transport.executor import PoolExecutor as PoolExecutor
    from .transport.handle import Batch as Batch
    from .transport.handle import Handle as Handle
    from .transport.joblib_backend import register_joblib as register_joblib
    from .transport.messages import TaskState as TaskState
    from .workers.base import BaseWorker as BaseWorker
    from .workers.errors import ConfigError as ConfigError
    from .workers.errors import DiskFull as DiskFull
    from .workers.errors import Fail as Fail
    from .workers.errors import InvalidTask as InvalidTask
    from .workers.errors import KeyConflict as KeyConflict
    from .workers.errors import NoHost as NoHost
    from .workers.errors import PoolBusy as PoolBusy
    from .workers.errors import PoolRefused as PoolRefused
    from .workers.errors import PoolUnreachable as PoolUnreachable
    from .workers.errors import QueueFull as QueueFull
    from .workers.errors import Release as Release
    from .workers.errors import TaskCancelled as TaskCancelled
    from .workers.errors import TaskFailed as TaskFailed
    from .workers.errors import TaskQuarantined as TaskQuarantined
    from .workers.errors import TaskRefused as TaskRefused
    from .workers.errors import TaskUnknown as TaskUnknown
    from .workers.errors import TooLarge as TooLarge
    from .workers.errors import WorkerHostError as WorkerHostError
    from .workers.registry import worker as worker
    from .workers.task import Result as Result
    from .workers.task import Task as Task
