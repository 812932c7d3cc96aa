"""Files to deploy with: what reads them finds nothing wrong with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs]
import pytest
import yaml
from typer.main import get_command

from workerhost.bin.main import application, run
from workerhost.transport.keys import HOME_VARIABLE, Home, new_pair

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
SECONDS = 60


def known_options(program: str) -> set[str]:
    command = get_command(application()).commands[program]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    return {name for parameter in command.params for name in parameter.opts}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def pods() -> Iterator[dict[str, Any]]:
    """What each pod of the manifest is made of."""
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()):
        if "template" in document["spec"]:
            yield document["spec"]["template"]["spec"]


@pytest.fixture(autouse=True)
def _shell_that_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WORKERHOST_")]:
        monkeypatch.delenv(name)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze to read units with")
@pytest.mark.parametrize("arguments", [["up", "--network"], ["host", "--join", "workerhost-invite:a%b", "my tasks.py"]])
def test_the_unit_that_is_written_is_one(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "workerhost.yaml").write_text("host: {drain_timeout: 45s}\n")
    monkeypatch.chdir(folder)
    assert run(["service", "install", "--folder", str(tmp_path), *arguments]) == 0
    (unit,) = map(Path, capsys.readouterr().out.splitlines())
    found = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    text = unit.read_text()
    assert "TimeoutStopSec=60\n" in text
    assert f'-m workerhost {arguments[0]} -c "{folder}/workerhost.yaml" ' in text
    assert run(["service", "install", "--folder", str(tmp_path), *arguments]) == 2
    assert f"{unit} is there already" in capsys.readouterr().err


def test_a_unit_is_shown_and_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "install", "--show", "supervisor", "--bind", "tcp://127.0.0.1:7999"]) == 0
    text = capsys.readouterr().out
    assert re.search(
        rf'^ExecStart="?{re.escape(sys.executable)}"? -m workerhost supervisor .*--bind', text, re.MULTILINE
    )
    assert run(["service", "install", "--show", "send"]) == 2


@pytest.mark.parametrize(("program", "rereads"), [("up", True), ("supervisor", True), ("host", False)])
def test_only_programs_that_read_their_file_again_at_sighup_are_told_to_reload(
    program: str, rereads: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install", "--show", program]) == 0
    text = capsys.readouterr().out
    assert ("ExecReload=/bin/kill -HUP $MAINPID\n" in text) == rereads  # a host would end
    assert "\n\n\n" not in text


def test_a_home_is_told_as_systemd_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKERHOST_HOME", f"{tmp_path}/our $5 %home")
    assert run(["service", "install", "--show", "up", "$5"]) == 0
    text = capsys.readouterr().out
    assert f'Environment="WORKERHOST_HOME={tmp_path}/our $5 %%home"\n' in text  # $ means something in a command only
    assert re.search(r"^ExecStart=.* \$\$5$", text, re.MULTILINE)


def test_a_name_is_the_hosts_and_a_units_name_is_said_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--folder", str(tmp_path), "--unit", "gpu", "host", "--join", "tcp://127.0.0.1:7999", "--name", "gpu-1"]
    assert run(["service", "install", *words]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}/gpu.service\n"
    assert "enable --now gpu" in told.err
    text = (tmp_path / "gpu.service").read_text()
    assert re.search(r"^ExecStart=.* host --join tcp://127\.0\.0\.1:7999 --name gpu-1$", text, re.MULTILINE)


def test_a_service_of_a_user_is_said_to_end_with_the_last_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install", "--user", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "at every login: systemctl --user" in told
    assert "loginctl enable-linger" in told
    assert run(["service", "install", "--unit", "other", "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert "at every boot: systemctl daemon-reload" in told
    assert "linger" not in told


def test_what_a_service_would_not_have_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workerhost.yaml").write_text(
        "host: {join: '${WHERE}', drain_timeout: '${PATIENCE}'}  # not ${OTHER}\n"
    )
    monkeypatch.setenv("WHERE", "tcp://127.0.0.1:7999")
    monkeypatch.setenv("PATIENCE", "45s")
    monkeypatch.setenv("WORKERHOST__QUEUE__MAX_SIZE", "7")
    monkeypatch.setenv("WORKERHOST_ADDRESS", "tcp://127.0.0.1:7998")
    wanted = ["service", "install", "--folder", str(tmp_path)]
    assert run([*wanted, "host"]) == 78
    assert " in PATIENCE, WHERE, WORKERHOST__QUEUE__MAX_SIZE; " in capsys.readouterr().err
    assert run([*wanted, "up"]) == 78
    assert "WORKERHOST_ADDRESS" in capsys.readouterr().err, "up would be a pool at another address"
    assert not list(tmp_path.glob("*.service"))

    settings = tmp_path / "50%.env"
    settings.write_text("# ours\nWHERE=tcp://127.0.0.1:7999\nPATIENCE='50s'\nWORKERHOST__QUEUE__MAX_SIZE = 7\n")
    assert run([*wanted, "--environment", str(settings), "host"]) == 0
    text = (tmp_path / "workerhost.service").read_text()
    assert f"EnvironmentFile={tmp_path}/50%%.env\n" in text
    assert "TimeoutStopSec=65\n" in text


def test_an_address_in_the_environment_is_nothing_to_who_is_told_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKERHOST_ADDRESS", "tcp://127.0.0.1:7998")
    assert run(["service", "install", "--show", "host", "--join=tcp://127.0.0.1:7999"]) == 0
    assert "--join=tcp://127.0.0.1:7999" in capsys.readouterr().out
    assert run(["service", "install", "--show", "host"]) == 78


def test_the_image_is_made_as_one_should_be() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("no hadolint here: it comes for Linux")
    found = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_manifest_is_valid() -> None:
    kinds: list[str] = []
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, "1.30", strict=True)
        kinds.append(document["kind"])
    assert kinds == ["Service", "StatefulSet", "Deployment"]


def test_every_program_in_them_is_called_with_options_that_it_has() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    calls = [service["command"] for service in compose["services"].values()]
    calls += [container["args"] for pod in pods() for container in pod["containers"]]
    assert len(calls) == 4
    for program, *words in calls:
        assert {word for word in words if word.startswith("--")} <= known_options(program)
    assert set(compose) == {"services", "volumes"}
    keys = {
        "image",
        "build",
        "command",
        "volumes",
        "expose",
        "restart",
        "stop_grace_period",
        "environment",
        "depends_on",
    }
    assert all(set(service) <= keys for service in compose["services"].values())


def test_no_home_is_the_place_where_a_volume_is_mounted() -> None:
    (of_image,) = re.findall(rf"{HOME_VARIABLE}=(\S+)", (DEPLOY / "Dockerfile").read_text())
    containers = [container for pod in pods() for container in pod["containers"]]
    for container in containers:
        (home,) = [one["value"] for one in container.get("env", []) if one["name"] == HOME_VARIABLE] or [of_image]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert home not in mounted, "Kubernetes makes it readable for everybody"
        assert mounted & {str(folder) for folder in Path(home).parents}, "or the key would be gone with the container"
    assert len(containers) == 2


def test_a_home_below_a_folder_that_is_open_to_everybody_is_fine(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    home, pair = Home(volume / "home"), new_pair()
    with home.changing(pair.public) as pool:
        pool.pairs["host"] = pair
    with home.changing(pair.public) as pool:
        assert pool.pairs == {"host": pair}


def test_keys_are_not_opened_to_a_group_when_a_pod_moves() -> None:
    contexts = [pod["securityContext"] for pod in pods() if "fsGroup" in pod.get("securityContext", {})]
    assert contexts
    assert all(context["fsGroupChangePolicy"] == "OnRootMismatch" for context in contexts)


def test_containers_come_back_when_the_machine_does() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert {service["restart"] for service in compose["services"].values()} == {"unless-stopped"}
