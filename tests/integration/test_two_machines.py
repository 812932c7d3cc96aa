"""Two machines with a network between them: each a network namespace of its own, where such can be made."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from network_pool import Machine, NetworkPool
from waiting import until

NOT_PERMITTED, UNREACHABLE = 77, 69
NEAR, FAR = "10.204.7.1", "10.204.7.2"


class Wire:
    """Two namespaces, each kept by a process that sleeps, and a cable between them."""

    def __init__(self) -> None:
        self.keepers: list[subprocess.Popen[bytes]] = []
        try:
            for _ in (NEAR, FAR):
                self.keepers.append(subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE))
            for keeper, address, name in zip(self.keepers, (NEAR, FAR), ("near", "far"), strict=True):
                until(lambda pid=keeper.pid: _namespace(pid) != _namespace("self"), "a namespace is made")
                if name == "near":
                    peer = ("type", "veth", "peer", "name", "far", "netns", str(self.keepers[1].pid))
                    self._within(keeper, "ip", "link", "add", "near", *peer)
                self._within(keeper, "ip", "addr", "add", f"{address}/24", "dev", name)
                for device in ("lo", name):
                    self._within(keeper, "ip", "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError, AssertionError) as error:
            self.close()
            pytest.skip(f"no network of our own can be made here: {error} {getattr(error, 'stderr', b'')!r}")

    def _within(self, keeper: subprocess.Popen[bytes], *command: str) -> None:
        subprocess.run([*entering(keeper), *command], check=True, capture_output=True, timeout=10)

    def close(self) -> None:
        """The namespaces go with those that keep them."""
        for keeper in self.keepers:
            keeper.kill()
            keeper.communicate()


def entering(keeper: subprocess.Popen[bytes]) -> tuple[str, ...]:
    """What a program is started through to be on that machine."""
    return ("nsenter", f"--net=/proc/{keeper.pid}/ns/net", "--")


def _namespace(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


class FarPool(NetworkPool):
    """A pool on another machine, which can be asked by commands there alone."""

    def asked(self, *command: str) -> Any:
        return self.machine.answer(*command, "--json", WORKERHOST_ADDRESS=f"tcp://127.0.0.1:{self.port}")

    def joined(self, name: str) -> bool:
        return any((host["name"], host["state"]) == (name, "joined") for host in self.asked("hosts")["hosts"])

    def invitation(self, role: str) -> str:
        """An invitation that names the addresses that the supervisor's machine knows of itself."""
        return self.asked("invite", "--role", role)["invitation"]

    def revoke(self, role: str, name: str = "") -> None:
        for one in self.asked("keys", "list")["identities"]:
            if one["role"] == role and one["name"].startswith(name):
                here = f"tcp://127.0.0.1:{self.port}"
                done = self.machine.ask("keys", "revoke", one["key"], WORKERHOST_ADDRESS=here)
                assert done.returncode == 0, done.stderr


@pytest.fixture
def wire() -> Generator[Wire]:
    """Two machines."""
    wire = Wire()
    yield wire
    wire.close()


def test_another_machine_joins_works_comes_back_after_a_reboot_and_is_sent_away(wire: Wire, tmp_path: Path) -> None:
    near, far = wire.keepers
    pool = FarPool(Machine(tmp_path / "supervisor", before=entering(near)), NEAR)
    away = Machine(tmp_path / "away", before=entering(far))
    stranger = Machine(tmp_path / "stranger", before=entering(far))
    try:
        options = ("--name", "away", "--slots", "1", "-c", "pool.yaml")
        line = ("host", "tasks.py", "--join", pool.invitation("host"), *options)
        host = away.start(*line)
        until(lambda: pool.joined("away"), "the host joins", show=host.log)
        client = pool.invitation("client")
        assert away.answer("send", "text.length", "text=four", "--wait", "--address", client) == 4

        host.kill()  # and its machine with it; the unit that starts it has the spent invitation in it
        until(lambda: not pool.joined("away"), "its end is noticed")
        host = away.start(*line)
        until(lambda: pool.joined("away"), "the host comes back", show=host.log)
        assert away.answer("send", "text.length", "text=three", "--wait", "--address", pool.address) == 5

        refused = stranger.ask("status", "--address", pool.address)
        assert (refused.returncode, refused.stderr.count("\n")) == (UNREACHABLE, 1), refused.stderr

        pool.revoke("host", "away")
        assert host.ends() == NOT_PERMITTED
        pool.revoke("client")
        refused = away.ask("status", "--address", pool.address)
        assert refused.returncode == UNREACHABLE, "its handshake is refused, before it can say a word"
        told = [event["event"] for event in pool.asked("keys", "audit")["audit"]]
        assert {"identity_enrolled", "identity_joined", "host_joined", "handshake_refused", "order_obeyed"} <= set(told)
    finally:
        for machine in (pool.machine, away, stranger):
            machine.discard()
