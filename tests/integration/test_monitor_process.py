"""`up` keeps a monitor, which serves over HTTP; a port that is taken, or a monitor that dies, ends no pool."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest
from up_pool import Up
from waiting import until

TASKS = """\
from workerhost import worker

@worker("text.length")
def length(text):
    return len(text)
"""
DASHBOARD = re.compile(r"the dashboard is at (http://\S+)/")


def get(address: str) -> tuple[int, str]:
    """A page: its status and text."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def dashboard(up: Up) -> str:
    """Where the latest monitor serves, once it does."""
    return until(lambda: DASHBOARD.findall(up.log.read_text()), "a monitor serves", show=up.log.read_text)[-1]


def monitors(up: Up) -> list[psutil.Process]:
    """The monitors that `up` keeps."""
    children = psutil.Process(up.process.pid).children()
    return [child for child in children if "monitor" in child.cmdline()]


@pytest.fixture
def made(tmp_path: Path) -> Generator[Callable[[str], Up]]:
    """Starts pools, each with what is said of `monitoring`."""
    pools: list[Up] = []

    def make(monitoring: str) -> Up:
        pools.append(Up(tmp_path, f"monitoring: {monitoring}\n", "tasks.py", tasks=TASKS))
        return pools[-1]

    yield make
    for up in pools:
        up.discard()


def test_what_a_pool_does_is_seen_over_http(made: Callable[[str], Up]) -> None:
    up = made("{http: '127.0.0.1:0'}")
    url = dashboard(up)
    until(lambda: get(f"{url}/health")[0] == 200, "the monitor is well")
    assert json.loads(get(f"{url}/ready")[1])["ok"]
    up.answer("send", "text.length", "text=abc", "--wait")
    until(lambda: json.loads(get(f"{url}/workers/text/health")[1]).get("success") == 1.0, "the end of the task is seen")
    line = 'workerhost_tasks_ended_total{type="text.length",state="completed"} 1'
    assert line in get(f"{url}/metrics")[1]
    assert get(f"{url}/workers/nobody/health")[0] == 404


def test_a_monitor_that_dies_is_started_again_and_the_pool_goes_on(made: Callable[[str], Up]) -> None:
    up = made("{http: '127.0.0.1:0'}")
    dashboard(up)
    [monitor] = monitors(up)
    monitor.send_signal(signal.SIGKILL)
    up.until_logged("monitor was killed by signal 9; it is started again")
    until(lambda: {process.pid for process in monitors(up)} - {monitor.pid}, "there is another monitor")
    assert up.answer("send", "text.length", "text=abc", "--wait")


def test_a_port_that_is_taken_ends_no_pool(made: Callable[[str], Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        up = made(f"{{http: '127.0.0.1:{other.getsockname()[1]}'}}")
        up.until_logged("the pool goes on without a monitor")
        assert "the dashboard cannot be served at" in up.log.read_text()
        assert up.answer("send", "text.length", "text=abc", "--wait")
    assert monitors(up) == []


def test_without_pages_and_without_anybody_to_tell_there_is_no_monitor(made: Callable[[str], Up]) -> None:
    up = made("{http: null}")
    assert monitors(up) == []


def test_an_alert_reaches_a_program(made: Callable[[str], Up], tmp_path: Path) -> None:
    told = tmp_path / "told"
    up = made(f"{{http: null, alerts: {{queue_depth_above: 1, notify: [{{command: [tee, '{told}']}}]}}}}")
    up.ask("pause", "text")
    for _ in range(2):
        up.ask("send", "text.length", "text=abc")
    notice = json.loads(until(lambda: told.read_text() if told.exists() else "", "the program is told"))
    assert (notice["event"], notice["name"], notice["node"]) == ("raised", "queue_depth_above", "")
    assert up.answer("status")["alerts"][0]["name"] == "queue_depth_above"


def test_who_could_not_be_told_stands_in_the_log_file(made: Callable[[str], Up], tmp_path: Path) -> None:
    file = tmp_path / "pool.log"
    alerts = "alerts: {queue_depth_above: 1, notify: [{command: ['false']}]}"
    up = made(f"{{http: null, {alerts}}}\nlogging: {{file: '{file}'}}")
    up.ask("pause", "text")
    for _ in range(2):
        up.ask("send", "text.length", "text=abc")
    until(lambda: "notice_failed" in file.read_text(), "it is logged", show=file.read_text)
    [line] = [json.loads(line) for line in file.read_text().splitlines() if "notice_failed" in line]
    assert (line["process"], line["destination"]) == ("monitor", "false")
