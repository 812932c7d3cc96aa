"""What one operation of the API is, and how a request becomes the call of its function: read, checked, bounded.

The table of operations (`api.py`) is made of these, and both the routes and the OpenAPI document (`openapi.py`) are
made of that table, so that they cannot differ.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...workers.errors import WorkerHostError
from .contract import Monitor, Pool
from .problems import Problem, problem_of
from .security import authorised

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a request. Params are at most 1 MiB packed; as JSON they may be longer."""

BODY_SECONDS_MAX: Final = 20.0
"""Within which a request's body must have come."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""Every path takes them all, and says which are not possible: else `GET /tasks/cancel` asked for a task `cancel`."""

CALLS_MAX: Final = 16
"""Calls of the pool at a time; each may wait as long as the client's timeout, in a thread of its own."""


class Nothing(BaseModel):
    """A body or a query in which nothing is expected."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation's function gets.

    Attributes:
        pool: Whom to ask.
        monitor: What is known without asking.
        path: The path's parts, checked.
        query: What stood behind `?`, checked.
        body: The body, checked.
    """

    pool: Pool
    monitor: Monitor
    path: Any
    query: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        method: GET or POST; what changes something is POST and needs the token.
        path: Below `/api`, with `{name}` for its parts.
        name: In words with `_`; the OpenAPI document's operationId.
        summary: In one line.
        run: Does it, and returns what is answered; called in a thread. It may raise `Problem` or what a client raises.
        parts: The path's parts, as a model.
        query: What may stand behind `?`, as a model.
        body: What the body may hold, as a model; None: there is none.
        status: Of the answer when all is well.
        answer: JSON Schema of that answer.
        problems: Statuses of problems that are the operation's own.
        location: The path of what was made, from the answer; "" where nothing is.
        secret: It needs the token though it changes nothing.
    """

    method: str
    path: str
    name: str
    summary: str
    run: Callable[[Call], Any]
    parts: type[BaseModel] = Nothing
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    status: int = 200
    answer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    problems: tuple[int, ...] = ()
    location: str = ""
    secret: bool = False

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method == "POST"


class Runner:
    """Turns operations into what answers requests.

    Args:
        pool: Whom they ask.
        hands: Gives whom they order, where they change something; called when that is so, in any thread.
        monitor: What they know without asking.
        token: What requests that change something must bear.
        open: Whether reading needs no token.
    """

    def __init__(self, pool: Pool, hands: Callable[[], Pool], monitor: Monitor, token: str, *, open: bool) -> None:
        self._pool, self._hands, self._monitor, self._token, self._open = pool, hands, monitor, token, open
        self._limiter: CapacityLimiter | None = None  # made in the loop that uses it

    def routes(self, operations: Iterable[Operation]) -> list[Route]:
        """A route for each path, which answers all of its methods."""
        paths: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            paths.setdefault("/api" + operation.path, {})[operation.method] = operation
        return [Route(path, self._endpoint(methods), methods=_METHODS) for path, methods in paths.items()]

    def _endpoint(self, methods: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            operation = methods.get("GET" if request.method == "HEAD" else request.method)
            if operation is None:
                raise HTTPException(405, headers={"Allow": ", ".join([*methods, *["HEAD"] * ("GET" in methods)])})
            return await self._answered(operation, request)

        return answer

    def check(self, request: Request, *, secret: bool = False) -> None:
        """See that a request may be answered.

        Raises:
            Problem: It needs the token and does not bear it.
        """
        if secret or not self._open:
            authorised(request.headers, self._token)

    async def _answered(self, operation: Operation, request: Request) -> Response:
        self.check(request, secret=operation.changes or operation.secret)
        parts = _checked(operation.parts, request.path_params, "path")
        query = _query(operation.query, request)
        body = await _body(operation, request) if operation.changes else None
        if self._limiter is None:
            self._limiter = CapacityLimiter(CALLS_MAX)
        try:
            value = await to_thread.run_sync(partial(self._run, operation, parts, query, body), limiter=self._limiter)
        except WorkerHostError as error:
            raise problem_of(error) from None
        headers = {"Location": operation.location.format(**value)} if operation.location else None
        return JSONResponse(value, operation.status, headers)

    def _run(self, operation: Operation, parts: Any, query: Any, body: Any) -> Any:
        """Call the operation's function; blocks until the pool has answered."""
        pool = self._hands() if operation.changes else self._pool
        return operation.run(Call(pool, self._monitor, parts, query, body))


async def _body(operation: Operation, request: Request) -> Any:
    """The body, checked; an empty one stands for `{}` where everything in it may be left out."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            text = await _read(request)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_SECONDS_MAX:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "the body is not whole") from None
    model = operation.body or Nothing
    if not text and not any(one.is_required() for one in model.model_fields.values()):
        return model()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, f"the body is {kind or 'of no type'}; send JSON, with `Content-Type: application/json`")
    try:
        value: Any = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    return _checked(model, value, "body")


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise Problem(413, f"the body is larger than {BODY_BYTES_MAX} bytes; store the data and send where it is")
        parts.append(part)
    return b"".join(parts)


def _query(model: type[BaseModel], request: Request) -> Any:
    given = request.query_params.multi_items()
    times = Counter(name for name, _ in given)
    if twice := next((name for name, count in times.items() if count > 1), None):
        raise Problem(422, f"query: {twice} is given twice", path=twice)
    return _checked(model, dict(given), "query")


def _checked(model: type[BaseModel], value: Any, where: str) -> Any:
    """A part of the request, as its model.

    Raises:
        Problem: It is not as the model says.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
        said = f"{where}{': ' + path if path else ''}: {first['msg'].removeprefix('Value error, ')}"
        raise Problem(404 if where == "path" else 422, said, path=path) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
