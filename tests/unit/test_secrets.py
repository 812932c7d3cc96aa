"""Secrets that a task only names: the host that runs it puts them in, and nobody reads what looks like one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from workerhost.bin import documents, logs
from workerhost.workers import values
from workerhost.workers.errors import Fail
from workerhost.workers.redaction import HIDDEN, redacted
from workerhost.workers.secrets import params_of


def revealed(value: object) -> object:
    return params_of(values.pack(value))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKERHOST_SECRETS", str(tmp_path))
    return tmp_path


def test_what_names_no_secret_is_as_it_was_sent() -> None:
    for value in (None, 5, "$secret", ["$secret"], {"a": {"$secret": "x", "more": 1}}):
        assert revealed(value) == value


def test_a_secret_comes_from_the_environment_or_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "filed").write_text("from a file\n")
    monkeypatch.setenv("WORKERHOST_SECRET_set", "from the environment")
    sent = {"login": [{"$secret": "filed"}, {"$secret": "set"}], "channel": "UC1"}
    assert revealed(sent) == {"login": ["from a file", "from the environment"], "channel": "UC1"}


@pytest.mark.parametrize("name", ["HOME", "absent"])
def test_nothing_else_of_the_host_can_be_named(name: str, folder: Path) -> None:
    with pytest.raises(Fail, match=f"set WORKERHOST_SECRET_{name} in its environment") as raised:
        revealed({"$secret": name})
    assert raised.value.kind == "configuration"


@pytest.mark.parametrize("name", ["../keys", "/etc/passwd", "", ".", "a\0b", 5, None, ["x"], "n" * 65])
def test_a_name_is_no_path(name: object, folder: Path) -> None:
    with pytest.raises(Fail, match="must be a name of letters, digits, _ and -"):
        revealed({"$secret": name})


def test_a_file_that_is_no_text_is_one_line(folder: Path) -> None:
    (folder / "bad").write_bytes(b"\xff\xfe")
    (folder / "folder").mkdir()
    for name in ("bad", "folder"):
        with pytest.raises(Fail, match="cannot be read"):
            revealed({"$secret": name})


def test_what_is_named_like_a_secret_is_hidden() -> None:
    shown = {
        "api_key": "k",
        "user": "u",
        "nested": [{"Access-Token": "t", "tokens": 5}, {"$secret": "n"}],
        "password": {"$secret": "p"},
    }
    assert redacted(shown) == {
        "api_key": HIDDEN,
        "user": "u",
        "nested": [{"Access-Token": HIDDEN, "tokens": 5}, {"$secret": "n"}],
        "password": {"$secret": "p"},
    }


def test_neither_show_nor_the_log_prints_it() -> None:
    document = documents.task({"id": 1, "state": "queued", "params": {"password": "hunter2", "n": 1}})
    assert document["params"] == {"password": HIDDEN, "n": 1}
    import structlog

    out = io.StringIO()
    logs.set_up(form="json", stream=out)
    try:
        structlog.get_logger().warning("logged_in", token="hunter2", key="1234")
    finally:
        structlog.reset_defaults()
    line = json.loads(out.getvalue())
    assert (line["token"], line["key"]) == (HIDDEN, "1234")
