"""A backend of joblib: `Parallel(...)` runs its calls as tasks of a pool.

joblib is the user's; nothing here is loaded without it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any, cast

from ..workers.errors import WorkerHostError
from .client import Client
from .documents import GONE
from .executor import PoolExecutor
from .terms import Sending


def register_joblib() -> None:
    """Make `joblib.parallel_config("workerhost")` mean a pool.

    Its options are those of `PoolExecutor`: `client` (a client or an address), `pickle` and how tasks are sent.

        workerhost.register_joblib()
        with joblib.parallel_config("workerhost", n_jobs=-1, pickle=True):
            joblib.Parallel()(joblib.delayed(area)(shape) for shape in shapes)

    Raises:
        ImportError: joblib is not installed.
    """
    joblib: Any = import_module("joblib")
    joblib.register_parallel_backend("workerhost", _backend)


def _backend(client: Client | str | None = None, *, pickle: bool = False, **options: Any) -> Any:
    """An instance of the backend; joblib's base class is known only when joblib is there."""
    known: Any = import_module("joblib._parallel_backends")  # where joblib's documentation takes them from too
    bases: Any = (known.AutoBatchingMixin, known.ParallelBackendBase)
    sending = {name: options.pop(name) for name in Sending.__annotations__ if name in options}
    kind: Any = type("WorkerHostBackend", (_Backend, *bases), {})
    backend = kind(**options)
    backend.make_executor = lambda: PoolExecutor(client, pickle=pickle, **cast("Sending", sending))
    backend.client = client if isinstance(client, Client) else Client(client)
    return backend


class _Backend:
    """What joblib asks of a backend; mixed with its base class.

    Attributes:
        make_executor: Makes the executor of one `Parallel`.
        client: Asked for how many slots there are.
    """

    supports_retrieve_callback = True
    supports_sharedmem = False
    parallel: Any = None
    make_executor: Callable[[], PoolExecutor]
    client: Client
    _executor: PoolExecutor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls may be out at a time; -1: as many as the pool has slots."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        slots = sum(host["slots"] for host in self.client.hosts() if host["state"] not in GONE)
        return max(1, slots + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """A `Parallel` begins."""
        self.parallel = parallel
        self._executor = self.make_executor()
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Any, callback: Callable[[Future[list[Any]]], object] | None = None) -> Future[list[Any]]:
        """Send a batch of calls as one task."""
        if self._executor is None:
            raise WorkerHostError("this backend is used outside of joblib.Parallel")
        future = self._executor.send_calls(func.items)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[list[Any]]) -> list[Any]:
        """The results of a batch that has ended, or what it raised."""
        return out.result()

    def terminate(self) -> None:
        """A `Parallel` has ended."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A call has failed: end the others."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self.make_executor() if ensure_ready else None
