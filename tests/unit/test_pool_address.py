"""Which pool a program is of, or listens as: its command line first, then the file, the environment, the default."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.bin import exits, options
from workerhost.bin.main import run
from workerhost.config.loading import load

WRITTEN = load({"pool": {"bind": "tcp://127.0.0.1:7001"}})
SILENT = load({})


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKERHOST_CONFIG", raising=False)
    monkeypatch.setenv("WORKERHOST_ADDRESS", "tcp://127.0.0.1:7002")


def test_what_the_file_writes_comes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert options.pool_address(WRITTEN) == "tcp://127.0.0.1:7001"
    assert options.pool_address(SILENT) == "tcp://127.0.0.1:7002"
    monkeypatch.setenv("WORKERHOST_ADDRESS", "")
    assert options.pool_address(SILENT) == "tcp://127.0.0.1:7470"


def test_the_command_line_comes_before_all() -> None:
    assert options.listening_address("tcp://127.0.0.1:7003", WRITTEN) == "tcp://127.0.0.1:7003"
    assert options.listening_address(None, SILENT) == "tcp://127.0.0.1:7002"


@pytest.mark.parametrize("program", [("up",), ("up", "--network"), ("supervisor",), ("supervisor", "--network")])
def test_who_listens_is_told_that_an_invitation_is_no_address_and_the_invitation_is_not_repeated(
    program: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKERHOST_ADDRESS", "workerhost-invite:c2VjcmV0")
    assert run(list(program)) == exits.USAGE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "an invitation leads to a pool that runs elsewhere" in err
    assert "WORKERHOST_ADDRESS" in err
    assert "c2VjcmV0" not in err
    assert not list(tmp_path.iterdir()), "a supervisor that cannot listen keeps no queue"


def test_a_supervisor_listens_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKERHOST_ADDRESS", "nowhere")
    assert run(["supervisor"]) == exits.CONFIGURATION
    assert "'nowhere' is no address" in capsys.readouterr().err


def test_a_service_of_a_supervisor_would_not_have_the_address_of_this_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WORKERHOST__MONITORING__HTTP", raising=False)
    assert run(["service", "install", "--show", "supervisor"]) == exits.CONFIGURATION
    assert " in WORKERHOST_ADDRESS; " in capsys.readouterr().err
    assert run(["service", "install", "--show", "supervisor", "--bind", "tcp://127.0.0.1:7004"]) == 0
