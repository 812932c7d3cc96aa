"""Partitions, lost packets, and strangers at the door."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
from contextlib import suppress

import psutil
import pytest
import zmq
import zmtp
from fault_pool import FaultPool, clock, gone
from lossy_network import LossyNetwork, Unavailable, Weather
from raw_peer import RawPeer
from relay import Relay
from waiting import until

from workerhost import Client
from workerhost.transport.codec import decode, encode
from workerhost.transport.messages import PROTOCOL_VERSION, Hello, Welcome

pytestmark = pytest.mark.faults

DIRECTIONS = {"both": ("up", "down"), "to the supervisor": ("up",), "to the host": ("down",)}


def relayed(pool: FaultPool) -> Relay:
    """A relay before the supervisor of a pool that notices silence after a second."""
    pool.impatient()
    pool.start()
    relay = Relay(pool.address)
    pool.closers.append(relay.close)
    return relay


def test_a_partition_shorter_than_a_lease_is_not_noticed(pool: FaultPool) -> None:
    relay = relayed(pool)
    pool.start_host("far", slots=1, join=relay.address)
    pool.start_host("near", slots=1)
    client = pool.client()
    handles = [client.send("gated", {"gate": "go"}) for _ in range(2)]
    pool.await_trace(count=2)

    relay.hold()
    silent = lambda: max(host["silent"] for host in client.hosts())  # noqa: E731
    until(lambda: silent() > 0.5, "half of lost_after has passed")
    pool.open("go")
    relay.heal()
    assert [handle.result(10)["attempt"] for handle in handles] == [1, 1]
    assert pool.audit([handle.id for handle in handles], executions_max=1) == {"completed": 2}
    assert pool.supervisor.events("host_lost") == []


@pytest.mark.parametrize("which", DIRECTIONS)
def test_a_partition_longer_than_a_lease_runs_a_task_at_most_twice_and_records_it_once(
    pool: FaultPool, which: str
) -> None:
    relay = relayed(pool)
    far = pool.start_host("far", slots=1, join=relay.address)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    pool.await_trace()
    pool.start_host("near", slots=1)

    cut = clock()
    relay.hold(*(getattr(relay, name) for name in DIRECTIONS[which]))
    second = pool.await_trace(attempt=2, seconds=10)
    assert second["at"] - cut < 1 + 0.2 + 1 + 1.5, "lost_after, a heartbeat, and a grace if the host noticed first"
    pool.open("go")
    assert handle.result(10)["attempt"] == 2
    pool.await_trace("tick", host=far.pid)
    relay.heal()
    until(lambda: pool.state(client, "far") == "joined", "the host is back")
    assert client.send("quick").result(10)["attempt"] == 1
    assert pool.audit([handle.id, handle.id + 1], executions_max=2) == {"completed": 2}


def wire(pool: FaultPool, weather: Weather) -> LossyNetwork:
    """Two network namespaces, and what happens to packets between them."""
    try:
        network = LossyNetwork(weather)
    except Unavailable as why:
        pytest.skip(f"no network of our own can be made here: {why}")
    pool.closers.append(network.close)
    return network


@pytest.mark.parametrize("leases", [0.5, 3])
@pytest.mark.parametrize("which", DIRECTIONS)
def test_packets_that_do_not_arrive_run_a_task_at_most_twice_and_record_it_once(
    pool: FaultPool, which: str, leases: float
) -> None:
    """The kernels' own TCP between two network namespaces: what is cut off is not late, it is gone."""
    network = wire(pool, Weather())
    pool.impatient()
    far = network.start_host(pool, "far", network.listen_for(pool))
    far.await_event("host_joined")
    door = network.door(pool)
    client = pool.client(address=door)
    handle = client.send("gated", {"gate": "go"})
    pool.await_trace()
    pool.start_host("near", slots=1, join=door)

    cut = clock()
    network.weather = Weather(cut=frozenset(DIRECTIONS[which]))
    until(lambda: clock() - cut > leases, "the partition has lasted", leases + 1)  # a lease is a second
    if leases > 1:
        assert pool.await_trace(attempt=2, seconds=10)["at"] - cut < 1 + 0.2 + 1 + 1.5
    network.weather = Weather()
    until(lambda: pool.state(client, "far") == "joined", "the host is back", 30)
    pool.open("go")
    # How long the silence was is for TCP to say: what it sends again comes later and later.
    assert handle.result(30)["attempt"] in ((1, 2) if leases < 1 else (2,))
    assert client.send("quick").result(10)["attempt"] <= 2
    assert pool.audit([handle.id, handle.id + 1], executions_max=2) == {"completed": 2}


@pytest.mark.slow
def test_a_thousand_tasks_complete_in_the_worst_weather(pool: FaultPool) -> None:
    """A fifth of all packets lost, 200 ms on the way give or take 100, some twice, a quarter overtaking, 1 Mbit/s."""
    network = wire(pool, Weather())
    pool.configure(pool={"heartbeat": 1, "lost_after": 30})
    options = ("--slots", "50", "--isolation", "thread")
    address = network.listen_for(pool)
    hosts = [network.start_host(pool, name, address, *options) for name in ("far-1", "far-2")]
    for host in hosts:
        host.await_event("host_joined", seconds=PATIENCE_AT_LOSS)
    network.weather = Weather(loss=0.2, duplicate=0.05, reorder=0.25, delay=0.2, jitter=0.1, rate=1e6)
    began = clock()
    batch = pool.client(60, network.door(pool)).send_many("quick", [None] * 1000)
    ids = [id for part in batch.ids() for id in part]
    assert len(batch.results(timeout=150)) == 1000
    print(f"1,000 tasks in {clock() - began:.0f} s, {network.passed} packets passed, {network.lost} lost")
    assert pool.supervisor.events("host_lost") == []
    network.weather = Weather()
    assert pool.audit(ids) == {"completed": 1000}


def test_with_cut_off_stop_a_copy_begins_only_after_the_first_has_ended(pool: FaultPool) -> None:
    pool.configure(workers={"gated": {"cut_off": "stop"}})
    relay = relayed(pool)
    far = pool.start_host("far", slots=1, join=relay.address)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    first = pool.await_trace()
    pool.start_host("near", slots=1)
    relay.hold()
    second = pool.await_trace(attempt=2, seconds=10)
    assert gone(first["pid"]), "its host has killed it before its lease ended"
    assert all(tick["at"] < second["at"] for tick in pool.traces("tick", host=far.pid))
    pool.open("go")
    assert handle.result(10)["attempt"] == 2
    relay.heal()
    assert pool.audit([handle.id], executions_max=2) == {"completed": 1}


FLAPPING = """
import socket, struct, sys, time
place, port, pause = sys.argv[1], int(sys.argv[2]), 0.0007
while sys.stdin.readline():                     # a line: for a second, connect and reset as fast as a thousand a second
    made, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        try:
            with socket.create_connection((place, port), timeout=5) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
                made += 1
        except OSError:
            pass
        time.sleep(pause)
    print(made, flush=True)
"""
"""A stranger that connects and leaves, in a process of its own: what it computes does not hold up the client here."""


@pytest.mark.parametrize("rounds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_connections_that_come_and_go_leave_nothing_behind_and_hold_nobody_up(pool: FaultPool, rounds: int) -> None:
    """Quiet seconds and seconds of reconnects take turns, so that what else the machine does weighs on both alike."""
    pool.start("one")
    client = pool.client()
    place, _, port = pool.address.removeprefix("tcp://").rpartition(":")
    supervisor = psutil.Process(pool.supervisor.pid)
    command = [sys.executable, "-c", FLAPPING, place, port]
    stranger = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    pool.closers.append(lambda: ended(stranger))
    assert stranger.stdin is not None
    assert stranger.stdout is not None
    client.send("quick").result(20)
    before = supervisor.num_fds()
    quiet: list[float] = []
    busy: list[float] = []
    made = 0
    for _ in range(rounds):
        quiet += answers_for_a_second(client)
        stranger.stdin.write("\n")
        busy += answers_for_a_second(client)
        made += int(stranger.stdout.readline())
    p99 = [sorted(times)[int(0.99 * (len(times) - 1))] for times in (quiet, busy)]
    print(
        f"{made / rounds:.0f} connections/s for {rounds} s; p99 {p99[0] * 1e3:.0f} ms quiet, {p99[1] * 1e3:.0f} ms then"
    )
    until(lambda: supervisor.num_fds() <= before + 2, "as many files are open as before")
    assert made > 100 * rounds, "there was something to hold up"
    assert p99[1] < max(5 * p99[0], 0.5)
    assert supervisor.is_running()


def answers_for_a_second(client: Client) -> list[float]:
    """Send tasks one after another; how long each took from there and back."""
    times: list[float] = []
    end = clock() + 1
    while clock() < end or len(times) < 20:
        began = clock()
        client.send("quick").result(20)
        times.append(clock() - began)
    return times


def ended(program: subprocess.Popen[str]) -> None:
    """Kill a program of ours and bury it."""
    program.kill()
    program.communicate()


def test_a_cut_connection_is_made_again_and_nothing_runs_twice(pool: FaultPool) -> None:
    relay = relayed(pool)
    pool.start_host("far", slots=1, join=relay.address)
    client = pool.client()
    handle = client.send("gated", {"gate": "go"})
    pool.await_trace()
    before = relay.connections
    relay.cut()
    until(lambda: relay.connections > before, "it is connected again", 2.0)
    until(lambda: pool.state(client, "far") == "joined", "it has joined again", 2.0)
    pool.open("go")
    assert handle.result(10)["attempt"] == 1
    assert pool.audit([handle.id], executions_max=1) == {"completed": 1}


@pytest.mark.parametrize(
    ("loss", "lost_after", "hosts", "seconds"),
    [
        (0.05, 5.0, 2, 3.0),
        pytest.param(0.05, 5.0, 8, 75.0, marks=pytest.mark.slow),  # ten minutes of hosts
        pytest.param(0.20, 30.0, 8, 75.0, marks=pytest.mark.slow),
    ],
)
def test_lost_packets_are_no_death(pool: FaultPool, loss: float, lost_after: float, hosts: int, seconds: float) -> None:
    network = wire(pool, Weather(loss=loss))
    pool.configure(pool={"heartbeat": 1, "lost_after": lost_after})
    far_address = network.listen_for(pool)
    names = [f"far-{number}" for number in range(hosts)]
    started = [network.start_host(pool, name, far_address) for name in names]
    for host in started:
        host.await_event("host_joined", seconds=PATIENCE_AT_LOSS)
    began = clock()
    until(lambda: clock() - began > seconds, "the time of the test", seconds + 5)

    assert pool.supervisor.events("host_lost") == []
    assert all(host.events("supervisor_lost") == [] for host in started)
    print(f"{loss:.0%}: {network.passed} packets passed, {network.lost} lost, {hosts} hosts, {seconds:g} s")
    assert network.lost > 0
    assert network.passed > hosts * seconds, "heartbeats went both ways"


PATIENCE_AT_LOSS = 60.0


def tls_hello() -> bytes:
    return bytes.fromhex("16030100a5010000a10303") + os.urandom(32) + b"\x20" + os.urandom(32) + bytes(97)


HTTP = b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n"


def answered_by_hand(pool: FaultPool) -> bool:
    """Whether what a stranger says byte by byte arrives: else most of them say nothing."""
    hello = encode(Hello("client", [PROTOCOL_VERSION, PROTOCOL_VERSION], os.urandom(16), "by hand", {}), 0)
    with zmtp.knock(pool.address) as stranger:
        zmtp.introduce(stranger)
        stranger.sendall(zmtp.frame(hello))
        return isinstance(decode(zmtp.hear(stranger)[1])[1], Welcome)


@pytest.mark.parametrize("cases", [5000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_strangers_harm_nobody_and_fill_no_log(pool: FaultPool, cases: int) -> None:
    pool.start("one")
    client = pool.client()
    chance = random.Random(31)
    over = threading.Event()
    answered: list[float] = []

    def legitimate() -> None:
        while not over.is_set():
            began = clock()
            client.send("quick").result(20)
            answered.append(clock() - began)

    def speak(stranger: socket.socket) -> int:
        """Say something; 1 if it is frames, to somebody who listens to them."""
        body = chance.randbytes(chance.randrange(1, 400))
        if chance.random() < 0.5:
            stranger.sendall(chance.choice([body, HTTP, tls_hello(), zmtp.GREETING[: chance.randrange(64)]]))
            return 0
        zmtp.introduce(stranger)
        several = zmtp.frame(body, zmtp.MORE) + zmtp.frame(b"")
        stranger.sendall(chance.choice([zmtp.frame(body), several, zmtp.TOO_LARGE]))
        return 1

    assert answered_by_hand(pool)
    spoken = 0
    began = clock()
    traffic = threading.Thread(target=legitimate)
    traffic.start()
    peer = RawPeer(pool)
    for _ in range(cases):
        with suppress(OSError), zmtp.knock(pool.address) as stranger:
            spoken += speak(stranger)
        with suppress(zmq.Again):  # well-formed frames of the transport with nothing of ours in them
            peer.raw_now(*(chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 4))))
    try:
        pool.supervisor.await_event("frame_dropped")
    finally:
        over.set()
        traffic.join(40)
    seconds = clock() - began

    assert pool.supervisor.process.poll() is None
    assert spoken > 0.4 * cases, "half of them speak ZMTP"
    assert answered_by_hand(pool)
    assert len(answered) >= 5
    lines = len(pool.supervisor.text().splitlines())
    assert lines < 20 + 2 * seconds, "at most a line a second of each kind"
    assert max(answered) < 2.0
    assert "Traceback" not in pool.supervisor.text()
    print(f"{cases} strangers, {spoken} of them with frames, in {seconds:.1f} s, {lines} lines")
    print(f"slowest legitimate answer {max(answered):.3f} s")
    assert pool.audit(range(1, len(answered) + 1), executions_max=1) == {"completed": len(answered)}


def test_a_pool_started_without_options_listens_on_loopback_alone(pool: FaultPool) -> None:
    pool.start("one")
    pool.client().send("quick").result(10)
    listening = {
        program.name: {
            connection.laddr.ip
            for pid in (program.pid, *program.children())
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN or (connection.type == socket.SOCK_DGRAM)
        }
        for program in (pool.supervisor, pool.host("one"))
    }
    assert listening == {"supervisor": {"127.0.0.1"}, "one": set()}
