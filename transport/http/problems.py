"""Every way a request can fail, as one kind of answer: a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from ...workers.errors import (
    InvalidTask,
    KeyConflict,
    NoHost,
    PoolBusy,
    PoolRefused,
    PoolUnreachable,
    TaskRefused,
    TaskUnknown,
    TooLarge,
    WorkerHostError,
    plain,
)

MEDIA_TYPE: Final = "application/problem+json"
_DETAIL_MAX: Final = 1000


class Problem(Exception):
    """A request that is answered by a problem document.

    Args:
        status: The HTTP status.
        detail: What was wrong and what to do, for people.
        headers: Of the answer.
        **members: More about it, for programs, such as `path`.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        self.status, self.detail, self.headers, self.members = status, detail, dict(headers or {}), members
        super().__init__(detail)

    def answer(self) -> JSONResponse:
        """The response."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": plain(self.detail, _DETAIL_MAX),
            **self.members,
        }
        return JSONResponse(document, self.status, self.headers, MEDIA_TYPE)


_STATUSES: Final[dict[type[WorkerHostError], int]] = {  # the first that fits
    TaskUnknown: 404,
    InvalidTask: 422,
    TooLarge: 413,
    NoHost: 409,
    KeyConflict: 409,
    TaskRefused: 422,
    PoolBusy: 503,
    PoolUnreachable: 504,
    PoolRefused: 403,
}


def problem_of(error: WorkerHostError) -> Problem:
    """What the pool, or its client, said of a request that could not be met."""
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 409)
    members: dict[str, Any] = {"error": type(error).__name__}
    headers: dict[str, str] = {}
    if isinstance(error, InvalidTask) and error.path:
        members["path"] = error.path
    if isinstance(error, PoolBusy):
        members["retry_after"] = error.retry_after
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return Problem(status, str(error), headers=headers, **members)


def schema() -> dict[str, Any]:
    """What a problem document looks like, as JSON Schema."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What was wrong and what to do, for people."},
            "error": {"type": "string", "description": "The name of the error, as a client in Python raises it."},
            "path": {"type": "string", "description": "The part of the request that is wrong."},
            "retry_after": {"type": "number", "description": "Seconds after which trying again may help."},
        },
    }
