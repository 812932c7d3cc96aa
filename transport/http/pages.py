"""The files of the dashboard, as they lie beside this module: read once, with a fingerprint for the browser.

Only names that were there at the start are answered, so no path of a request ever reaches the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def routes() -> list[Route]:
    """A route for each file; `/` is the page itself."""
    files = sorted(file for file in FOLDER.iterdir() if file.suffix in _TYPES)
    return [Route("/" if file.name == "index.html" else f"/{file.name}", _answer(file)) for file in files]


def _answer(file: Path) -> Callable[[Request], Awaitable[Response]]:
    content, kind = file.read_bytes(), _TYPES[file.suffix]
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'

    async def answer(request: Request) -> Response:
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Type": kind}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return answer
