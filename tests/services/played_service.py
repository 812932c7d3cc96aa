"""A local web server that plays a service: it checks each request, and answers, or goes wrong as it was told to.

Owns HTTP; what the service's contract is, and what it answers, is the business of those that extend it.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

SECONDS_MAX = 30.0
"""How long anything here waits for a client that does not come back."""


@dataclass(frozen=True)
class Request:
    """What a client asked. Names of headers are in small letters."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict[str, str])


AS_USUAL = Answer(0, None)
"""What the service answers when all is well."""

SLOW = Answer(-1, None)
"""No answer, as long as the client waits."""

CUT_OFF = Answer(-2, None)
"""Half an answer, and then the connection is closed."""

HUNG_UP = Answer(-3, None)
"""The connection is closed without a word."""


class PlayedService:
    """A service on a free port of this machine. A context manager.

    Attributes:
        address: Where it is.
        requests: All that it was asked, in order.
        violations: What was wrong with those, by the service's own contract.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self._plays: deque[Answer] = deque()
        self._closing = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = SECONDS_MAX

            def do_GET(self) -> None:
                service.handle(self)

            def do_POST(self) -> None:
                service.handle(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away: connections are refused from now on."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def play(self, *answers: Answer) -> None:
        """Answer the next requests like this, one after the other, whatever they ask."""
        self._plays.extend(answers)

    def answers_until(self, count: int, then: Answer) -> None:
        """Answer `count` more requests as usual, and the one after those like this."""
        self._plays.extend([AS_USUAL] * count)
        self.play(then)

    def check(self, request: Request) -> list[str]:
        """What is wrong with a request, by the service's contract."""
        raise NotImplementedError

    def answer(self, request: Request) -> Answer:
        """The answer to a request that is all right."""
        raise NotImplementedError

    def is_played(self, request: Request) -> bool:
        """Whether `play` is about such a request."""
        return True

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request. Called in a thread of its own."""
        address = urlsplit(handler.path)
        request = Request(
            handler.command,
            address.path,
            parse_qs(address.query, keep_blank_values=True),
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode(),
        )
        self.requests.append(request)
        problems = self.check(request)
        self.violations.extend(f"{request.method} {handler.path}: {problem}" for problem in problems)
        if problems:
            answer = Answer(400, {"error": {"code": 400, "message": "; ".join(problems)}})
        else:
            answer = self._plays.popleft() if self._plays and self.is_played(request) else AS_USUAL
            answer = self.answer(request) if answer is AS_USUAL else answer
        self._send(handler, answer)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer is SLOW:
            self._closing.wait(SECONDS_MAX)
        if answer in (SLOW, HUNG_UP):
            handler.close_connection = True
            return
        cut = answer is CUT_OFF
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(200 if cut else answer.status)
        handler.send_header("Content-Type", "application/json; charset=utf-8")
        handler.send_header("Content-Length", str(len(body) + (1000 if cut else 0)))
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = cut
