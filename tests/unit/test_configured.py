"""What a configuration says to a supervisor, and what it may say to one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.actors.configured import reading, supervisor_settings
from workerhost.bin.exits import UsageError
from workerhost.bin.keys import _told  # pyright: ignore[reportPrivateUsage]
from workerhost.config.loading import load
from workerhost.workers.errors import ConfigError


def test_reading_the_configuration_again_leaves_identities_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("WORKERHOST_HOME", str(home))
    started = supervisor_settings(load({}, {}), "tcp://0.0.0.0:7470", None, network=True)
    (home / "supervisor.json").write_text("broken")
    home.chmod(0o755)
    found = load({"queue": {"max_size": 7}}, {})
    again = reading(started, lambda: found)()
    assert not isinstance(again, list)
    assert (again.pool.max_size, again.pair, again.trusted) == (7, started.pair, started.trusted)
    assert reading(started, lambda: ["a line"])() == ["a line"]


def test_a_host_may_join_by_an_invitation() -> None:
    text = "workerhost-invite:" + "aB-_" * 20
    assert load({"host": {"join": text}}, {}).host.join == text
    with pytest.raises(ConfigError):
        load({"pool": {"bind": text}}, {})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("pool.example", "tcp://pool.example:7470"),
        ("pool.example:1", "tcp://pool.example:1"),
        ("tcp://pool.example:1", "tcp://pool.example:1"),
        ("[2001:db8::1]", "tcp://[2001:db8::1]:7470"),
        ("[2001:db8::1]:1", "tcp://[2001:db8::1]:1"),
        ("2001:db8::1", None),
        ("ipc:///run/a", None),
        ("a:b:c", None),
        ("pool.example:0", None),
        ("", None),
    ],
)
def test_an_address_for_an_invitation(text: str, address: str | None) -> None:
    if address is not None:
        assert _told(text, "7470") == address
    else:
        with pytest.raises(UsageError, match="write HOST, HOST:PORT"):
            _told(text, "7470")
