"""The whole HTTP application: pages for programs, the API, the stream of events, and the dashboard."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from . import api, pages, probes
from .contract import Monitor, Pool
from .events import Feed, Stream
from .openapi import document
from .operations import Runner
from .problems import Problem
from .security import Guarded


def application(
    pool: Pool, hands: Callable[[], Pool], monitor: Monitor, *, token: str, local: bool, open: bool, version: str
) -> ASGIApp:
    """What a server serves.

    Args:
        pool: Whom to ask; it need not be one that may change anything. Its timeout bounds every request.
        hands: Gives whom to order, when something is to be changed; called in any thread.
        monitor: What is known without asking.
        token: What requests that change something must bear.
        local: Only this machine reaches it, so that no other name than the machine's own is right.
        open: Whoever reaches it may read. Else that needs the token, too.
        version: Of this package.
    """
    runner = Runner(pool, hands, monitor, token, open=open)
    described = document(api.OPERATIONS, version, open=open)
    feed = Feed(pool, monitor)

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    async def events(request: Request) -> Response:
        runner.check(request)
        return Stream(feed)

    routes = [
        *pages.routes(),
        *probes.routes(monitor, runner.check),
        Route("/api/openapi.json", openapi),
        Route("/api/events", events),
        *runner.routes(api.OPERATIONS),
    ]
    handlers = {Problem: _problem, HTTPException: _refusal, Exception: _failure}
    inner = Starlette(routes=routes, exception_handlers=handlers)  # pyright: ignore[reportArgumentType]
    inner.router.redirect_slashes = False
    return Guarded(inner, local=local)


async def _problem(_: Request, problem: Problem) -> Response:
    return problem.answer()


async def _refusal(request: Request, error: HTTPException) -> Response:
    said = {
        404: f"there is nothing at {request.url.path}; /api/openapi.json says what there is",
        405: f"{request.method} is not possible here",
    }
    return Problem(error.status_code, said.get(error.status_code, error.detail), headers=error.headers).answer()


async def _failure(_: Request, error: Exception) -> Response:
    return Problem(500, f"that was a bug of WorkerHost, not your mistake; its log says where: {error!r}").answer()
