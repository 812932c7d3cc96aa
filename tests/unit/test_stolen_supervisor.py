"""Whoever has the supervisor's key can say anything to a host; what may be executed is not among what a host heeds."""

from __future__ import annotations

from typing import Any

from unit.test_hosting import exited, fed, granted, joined, options, task  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import Feed, Spawn
from workerhost.transport.messages import Tree, Welcome

NODE: dict[str, Any] = {
    "class": "os:system", "command": ["/bin/sh"], "python": "/tmp/python", "cwd": "/", "isolation": "command",
    "paths": ["/tmp"], "env": {"LD_PRELOAD": "x"}, "timeout": 5.0,
}  # fmt: skip


def test_a_stolen_supervisor_names_nothing_that_a_host_executes():
    """Whoever has its key can say anything. What may be executed is not among what a host heeds: a slot is spawned by
    its number, and fed with a type's name and params, for which it has the workers of the host's own configuration.
    """
    host = joined()
    welcome = Welcome(1, "h1", 7, 1.0, 5.0, {"serve": ["text"], "code": ["os"], **NODE})
    effects = host.hears(welcome, Tree({"text.length": NODE, "evil": NODE}))
    effects += granted(host, task(1, 9)) + granted(host, task(2, 9), type="evil")
    effects += host.slot(2, exited=exited([2, 9]))
    assert [effect for effect in effects if isinstance(effect, Spawn)] == [Spawn(2, 1)]
    assert [effect for effect in effects if isinstance(effect, Feed)] == [
        Feed(1, [fed(1, 9, timeout=5.0)]),
        Feed(2, [fed(2, 9, timeout=5.0, type="evil")]),
    ]
    assert host.core.options == options()
