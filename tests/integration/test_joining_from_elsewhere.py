"""Machines join a pool by invitation: they come back after any restart, and a revocation sends them away."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest
from network_pool import SECONDS, Machine, NetworkPool, free_port
from waiting import until

from workerhost.workers.errors import PoolRefused, PoolUnreachable

NOT_PERMITTED, CONFIGURATION, UNREACHABLE, USAGE = 77, 78, 69, 2


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Generator[NetworkPool]:
    """One supervisor for all tests that leave it as it is."""
    machine = Machine(tmp_path_factory.mktemp("pool") / "supervisor")
    pool = NetworkPool(machine)
    yield pool
    pool.discard()


@pytest.fixture
def own_pool(tmp_path: Path) -> Generator[NetworkPool]:
    """One that a test may do anything to."""
    machine = Machine(tmp_path / "supervisor")
    pool = NetworkPool(machine)
    yield pool
    pool.discard()


@pytest.fixture
def away(tmp_path: Path) -> Generator[Machine]:
    """Another machine."""
    machine = Machine(tmp_path / "away")
    yield machine
    machine.discard()


def test_who_joined_comes_back_after_every_restart(own_pool: NetworkPool, away: Machine) -> None:
    pool = own_pool
    for_host, for_client = pool.invite("host"), pool.invite("client")
    host = away.start("host", "tasks.py", "--join", for_host, "--name", "away", "--slots", "1", "-c", "pool.yaml")
    until(lambda: pool.joined("away"), "the host joins")
    assert away.answer("send", "text.length", "text=four", "--wait", "--address", for_client) == 4

    pool.supervisor.kill()
    pool.start()
    until(lambda: pool.joined("away"), "the host comes back to a new supervisor")
    assert away.answer("send", "text.length", "text=three", "--wait", "--address", pool.address) == 5

    host.kill()
    host = away.start("host", "tasks.py", "--join", for_host, "--name", "away", "--slots", "1", "-c", "pool.yaml")
    until(lambda: pool.joined("away"), "the host comes back with its spent invitation")
    assert away.answer("send", "text.length", "text=ab", "--wait", WORKERHOST_ADDRESS=for_client) == 2

    host.kill()
    away.start("host", "tasks.py", "--join", pool.address, "--name", "away", "--slots", "1", "-c", "pool.yaml")
    until(lambda: pool.joined("away"), "the host comes back with the bare address")
    assert away.answer("send", "text.length", "text=a", "--wait", "--address", pool.address) == 1


def test_a_revocation_sends_a_live_host_away_and_its_task_runs_elsewhere(own_pool: NetworkPool, away: Machine) -> None:
    pool = own_pool
    host = away.start("host", "tasks.py", "--join", pool.invite("host"), "--name", "away", "-c", "pool.yaml")
    until(lambda: pool.joined("away"), "the host joins")
    handle = pool.admin.send("slow", {"seconds": 60})
    until(lambda: handle.state == "running", "the task starts")
    pool.revoke("host", "away")

    assert host.ends() == NOT_PERMITTED
    assert "this identity was revoked; ask for a new invitation" in host.log()
    until(lambda: handle.state == "queued", "the task is rescued")


def test_a_revoked_client_is_told_and_stays_out(pool: NetworkPool, away: Machine) -> None:
    with away.client(pool.invite("client")) as client:
        client.status()
        pool.revoke("client")
        with pytest.raises(PoolRefused, match="this identity was revoked"):
            client.status()
    late = away.ask("send", "text.length", "text=a", "--address", pool.address)
    assert late.returncode == UNREACHABLE
    assert "it may not know this machine's identity (revoked, expired" in late.stderr


def test_an_invitation_is_for_one_role_one_use_and_its_time(pool: NetworkPool, away: Machine, tmp_path: Path) -> None:
    for_client = pool.invite("client")
    wrong = away.ask("host", "tasks.py", "--join", for_client)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (CONFIGURATION, 1), wrong.stderr
    assert "this invitation is for a client, not for a host; ask for one: workerhost invite --role host" in wrong.stderr
    with away.client(for_client) as client:
        client.status()

    second = Machine(tmp_path / "second")
    for spent in (for_client, pool.invite("client", "--expires", "1ms")):
        with second.client(spent, timeout=1) as late, pytest.raises(PoolUnreachable, match="ask for a new invitation"):
            late.status()


def test_a_host_may_not_be_a_client_nor_an_observer_send(pool: NetworkPool, away: Machine) -> None:
    host = away.start("host", "tasks.py", "--join", pool.invite("host", "--serve", "text"), "--name", "narrow")
    until(lambda: pool.joined("narrow"), "the host joins")
    [narrow] = [one for one in pool.admin.hosts() if one["name"] == "narrow"]
    assert narrow["serve"] == ["text"]
    not_a_client = away.ask("send", "text.length", "text=a", "--address", pool.address)
    assert not_a_client.returncode == CONFIGURATION
    assert "this machine is known to that pool as host, not as a client" in not_a_client.stderr
    host.kill()

    with away.client(pool.invite("observer")) as watcher:
        assert watcher.status()["supervisor"]["secured"] == "identities"
        for attempt in (lambda: watcher.send("text.length", {"text": "a"}), lambda: watcher.pause("text")):
            with pytest.raises(PoolRefused, match="that of an observer"):
                attempt()
    assert away.ask("send", "text.length", "text=a", "--address", pool.address).returncode == NOT_PERMITTED


def test_a_stranger_is_told_how_to_join(pool: NetworkPool, away: Machine) -> None:
    with away.client(pool.address) as stranger:
        began = time.monotonic()
        with pytest.raises(PoolUnreachable, match="it answers only those it knows"):
            stranger.status()
        assert time.monotonic() - began < SECONDS / 3, "it need not wait for its timeout to know"
    refused = away.ask("status", "--address", pool.address)
    assert (refused.returncode, refused.stderr.count("\n")) == (UNREACHABLE, 1)
    assert "join with the line that `workerhost invite` prints there" in refused.stderr


def test_no_supervisor_listens_beyond_its_machine_without_identities(away: Machine) -> None:
    refused = away.ask("supervisor", "--bind", f"tcp://0.0.0.0:{free_port()}")
    assert (refused.returncode, refused.stderr.count("\n")) == (CONFIGURATION, 1), refused.stderr
    assert "workerhost keys new; then `workerhost invite`" in refused.stderr
    assert not away.home.exists()
    assert away.ask("keys", "new").returncode == 0
    allowed = away.start("supervisor", "--bind", f"tcp://0.0.0.0:{free_port()}")
    allowed.says("the supervisor listens at tcp://0.0.0.0:")


def test_identities_and_none_are_not_asked_for_at_once(away: Machine) -> None:
    for command in ("up", "supervisor"):
        refused = away.ask(command, "--network", "--insecure")
        assert (refused.returncode, refused.stderr.count("\n")) == (USAGE, 1), refused.stderr
        assert "leave --insecure away" in refused.stderr
    assert not away.home.exists()


def test_an_insecure_pool_says_so_wherever_it_is_asked(away: Machine) -> None:
    port = free_port()
    started = away.start("supervisor", "--insecure", "--bind", f"tcp://0.0.0.0:{port}")
    started.says("the supervisor listens at")
    found = away.answer("status", "--json", "--address", f"tcp://127.0.0.1:{port}")
    assert found["supervisor"]["secured"] == "insecure"
    assert "whoever reaches" in found["notes"][0]
    assert "INSECURE" in away.ask("status", "--address", f"tcp://127.0.0.1:{port}").stdout
