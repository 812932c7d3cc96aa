"""Alerts are told to web addresses and programs, and one that does not work keeps no other from being told."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors import notifying
from workerhost.actors.notifying import Destination, Notifier

NOTICE = {"event": "raised", "name": "queue_depth_above", "node": "web", "text": "deep", "value": 11}


class Hook(HTTPServer):
    """A web address that keeps what it is told, after refusing so many times."""

    refusals = 0

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.came = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.refusals:
                    hook.refusals -= 1
                    self.send_error(503)
                    return
                hook.heard.append(json.loads(body))
                self.send_response(204)
                self.end_headers()
                hook.came.set()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/secret-token"


@pytest.fixture
def hook() -> Generator[Hook]:
    """One that serves."""
    hook = Hook()
    thread = threading.Thread(target=hook.serve_forever, daemon=True)
    thread.start()
    yield hook
    hook.shutdown()
    hook.server_close()
    thread.join()


def told(*destinations: Destination, notices: int = 1) -> None:
    """Tell, and wait until that is done."""
    notifier = Notifier(lambda node: destinations if node == "web" else ())
    for _ in range(notices):
        notifier.tell(NOTICE)
    notifier.stop()


def test_a_web_address_gets_json(hook: Hook) -> None:
    told(hook.address)
    assert hook.heard == [NOTICE]


def test_a_web_address_that_fails_is_tried_again(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_TRIES", (0.0, 0.01, 0.01))
    hook.refusals = 2
    told(hook.address)
    assert hook.heard == [NOTICE]


def test_a_program_gets_json_on_its_stdin(tmp_path: Path) -> None:
    file = tmp_path / "told"
    told((sys.executable, "-c", f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"))
    assert json.loads(file.read_text()) == NOTICE


def test_a_destination_that_does_not_work_is_logged_once_without_its_secret(
    hook: Hook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "_TRIES", (0.0,))
    hook.refusals = 2
    with caplog.at_level(logging.INFO):
        told(hook.address, (sys.executable, "-c", "raise SystemExit(3)"), "log", notices=3)
    said = [record.message.split()[0] for record in caplog.records]
    assert said.count("notice_failed") == 2  # one of each
    assert said.count("notice_works_again") == 1
    assert said.count("alert_raised") == 3
    assert "secret-token" not in caplog.text
    assert len(hook.heard) == 1


def test_notices_that_are_too_many_are_dropped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "WAITING_MAX", 2)
    let_go = threading.Event()
    notifier = Notifier(lambda _node: (let_go.wait(20) and ()) or ())
    for _ in range(5):
        notifier.tell(NOTICE)
    assert "notice_dropped" in caplog.text
    let_go.set()
    notifier.stop()
