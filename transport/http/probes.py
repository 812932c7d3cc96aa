"""What programs that watch a pool ask: `/metrics`, `/health`, `/ready`, `/workers/TYPE/health`. The monitor answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import documents
from .contract import Monitor
from .problems import Problem

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
"""A page of a thousand types has a megabyte, a twentieth of it compressed."""


def routes(monitor: Monitor, check: Callable[[Request], None]) -> list[Route]:
    """The routes; `check` says whether a request may be answered. Health is told to whoever asks."""

    async def metrics(request: Request) -> Response:
        check(request)
        compressed = bool(_GZIP.search(request.headers.get("accept-encoding", "")))
        headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if compressed else {})}
        return Response(monitor.metrics(compressed=compressed), headers=headers, media_type=METRICS_TYPE)

    async def health(_: Request) -> Response:
        return _verdict(monitor.health())

    async def ready(_: Request) -> Response:
        return _verdict(monitor.ready())

    async def worker(request: Request) -> Response:
        check(request)
        type: str = request.path_params["type"]
        found = monitor.worker_health(type)
        if found is None:
            raise Problem(404, f"no host serves {type}, no task has it and no configuration names it")
        return _verdict(found)

    return [
        Route("/metrics", metrics),
        Route("/health", health),
        Route("/ready", ready),
        Route("/workers/{type}/health", worker),
    ]


def _verdict(found: dict[str, Any]) -> Response:
    return JSONResponse(documents.plain_data(found), 200 if found.get("ok") else 503)
