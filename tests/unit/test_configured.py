"""What a configuration says to a supervisor, and what it may say to one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerhost.actors.configured import reading, supervisor_settings
from workerhost.config.loading import load


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
    assert (again.max_size, again.pair, again.trusted) == (7, started.pair, started.trusted)
    assert reading(started, lambda: ["a line"])() == ["a line"]
