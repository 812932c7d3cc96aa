"""What the programs write to stderr: JSON or console lines, bars or plain lines; when a crashed child comes back."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from workerhost.bin import logs, progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_logs_are_json_where_nobody_looks() -> None:
    stream = io.StringIO()
    logs.set_up("INFO", "auto", stream, process="host")
    log = structlog.get_logger()

    log.debug("not_written")
    log.info("host_joined", address="tcp://x")
    written = json.loads(stream.getvalue())
    assert {key: written[key] for key in ("event", "level", "process", "address")} == {
        "event": "host_joined",
        "level": "info",
        "process": "host",
        "address": "tcp://x",
    }
    assert written["timestamp"].endswith("Z")


def test_an_exception_is_one_line_of_json() -> None:
    stream = io.StringIO()
    logs.set_up("INFO", "json", stream)
    try:
        raise ValueError("nope")
    except ValueError:
        structlog.get_logger().exception("turn_failed")

    assert stream.getvalue().count("\n") == 1
    assert "ValueError: nope" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("console", io.StringIO(), False),
        ("json", Terminal(), True),
        ("auto", io.StringIO(), True),
    ],
)
def test_who_gets_which_form(form: str, stream: io.StringIO, is_json: bool) -> None:
    logs.set_up("DEBUG", form, stream)
    structlog.get_logger().debug("slot_started", slot=1)

    assert "slot_started" in stream.getvalue()
    assert stream.getvalue().startswith("{") is is_json
    assert ("\x1b[" in stream.getvalue()) is (not is_json and stream.isatty())


def test_without_a_terminal_progress_is_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    with progress.bar("task 7", 1.0, stream) as bar:
        bar.update(0.1, "step 1")
        bar.update(0.2, "step 2")
        bar.update(1.0)
        bar.update(1.0)

    assert stream.getvalue() == "task 7: 10% step 1\ntask 7: 100%\n"


def test_many_steps_are_counted() -> None:
    stream = io.StringIO()
    with progress.bar("waiting", 300, stream) as bar:
        bar.update(299)
        bar.update(300)

    assert stream.getvalue() == "waiting: 299 of 300\nwaiting: 300 of 300\n"


def test_at_a_terminal_progress_is_a_bar() -> None:
    stream = Terminal()
    with progress.bar("task 7", 1.0, stream) as bar:
        bar.update(0.5, "[half]")

    assert "task 7" in stream.getvalue()
    assert "[half]" in stream.getvalue()


def test_what_a_bar_is_called_is_no_markup() -> None:
    stream = Terminal()
    with progress.bar("tasks with tag [/x] [red]", 10.0, stream) as bar:
        bar.update(3, "[/y]")
    assert "[/x] [red]" in stream.getvalue()
