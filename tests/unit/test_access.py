"""How a machine reaches a pool: which identity, which address, and what another program of it has written meanwhile."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from workerhost.transport import addresses, invitations, keys, knocking
from workerhost.transport.access import Access
from workerhost.transport.messages import Refused, Welcome
from workerhost.workers.errors import ConfigError

HERE, ENROLLED, WELCOME = "tcp://10.0.0.1:7470", Refused("enrolled", ""), Welcome(1, "", 1, 1.0, 5.0, {})


@pytest.fixture
def home(tmp_path: Path) -> keys.Home:
    return keys.Home.of({"WORKERHOST_HOME": str(tmp_path / "home")})


@pytest.fixture
def server() -> str:
    return keys.new_pair().public


def invitation(server: str, role: str = "host", *where: str) -> str:
    return invitations.Invitation(where or (HERE,), server, keys.new_pair(), role).text()


def joined(home: keys.Home, text: str, wanted: str = "host") -> Access:
    """An invitation has been used, and its pool has answered."""
    access = Access(text, wanted, home)
    assert access.next().enroll
    access.heard(ENROLLED)
    return access


def shown(access: Access) -> str:
    """The public key that is shown on the next way."""
    way = access.next()
    assert way.credentials is not None
    assert not way.enroll
    return way.credentials.pair.public


def test_a_spent_invitation_and_the_bare_address_find_the_same_identity(home: keys.Home, server: str) -> None:
    text = invitation(server)
    first = shown(joined(home, text))
    assert shown(Access(text, "host", home)) == first == shown(Access(HERE, "host", home))


def test_a_new_invitation_makes_a_new_identity_and_a_useless_one_leaves_the_old(home: keys.Home, server: str) -> None:
    old = shown(joined(home, invitation(server)))
    useless = Access(invitation(server), "host", home)
    assert useless.next().enroll, "an invitation that was not used before is used"
    assert shown(Access(HERE, "host", home)) == old, "until the pool has said that it knows the new identity"
    assert shown(joined(home, invitation(server))) != old


def test_a_lost_answer_to_an_enrollment_is_made_good_by_the_welcome(home: keys.Home, server: str) -> None:
    text = invitation(server)
    access = Access(text, "host", home)
    enroll = access.next().enroll
    assert shown(access) == enroll, "by itself, in turn"
    access.heard(WELCOME)
    assert shown(Access(HERE, "host", home)) == enroll == shown(Access(text, "host", home))


def test_two_programs_with_one_invitation_have_one_identity(home: keys.Home, server: str) -> None:
    text = invitation(server)
    one, other = Access(text, "host", home), Access(text, "host", home)
    assert one.next().enroll == other.next().enroll


def test_what_another_program_has_written_stays(home: keys.Home, server: str) -> None:
    host = Access(invitation(server, "host"), "host", home)
    joined(home, invitation(server, "client"), "client")
    host.next()
    host.heard(ENROLLED)
    pool = home.pool(server)
    assert pool is not None
    assert sorted(pool.pairs) == ["client", "host"]


def test_an_enrollment_that_cannot_be_written_down_is_no_end(home: keys.Home, server: str) -> None:
    access = Access(invitation(server), "host", home)
    enroll = access.next().enroll
    home.folder.chmod(0o755)  # others could read it from now on, so it is not used
    access.heard(ENROLLED)
    assert shown(access) == enroll


def test_the_address_that_answered_is_tried_first_by_the_next_program(home: keys.Home, server: str) -> None:
    where = [f"tcp://pool-{number}.invalid:7470" for number in range(3)]
    text = invitation(server, "host", *where)
    access = Access(text, "host", home)
    tried = [access.next().address for _ in range(6)]
    assert tried == [where[0], where[0], where[1], where[1], where[2], where[2]]
    [access.next() for _ in range(3)]
    access.heard(ENROLLED)
    assert access.next().address == where[1]
    assert Access(text, "host", home).next().address == where[1]


def test_who_takes_a_connection_is_tried_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_one, socket.create_server(("127.0.0.1", 0)) as closed:
        refuses = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        opens = f"tcp://127.0.0.1:{open_one.getsockname()[1]}"
        closed.close()
        where = ["tcp://a-name.invalid:1", refuses, "tcp://127.0.0.1:99999", opens]
        assert knocking.in_order(where) == [opens, *where[:3]]
    assert knocking.in_order(where, 0.1) == where


def test_a_plain_supervisor_is_met_plainly_where_there_was_one_with_identities(home: keys.Home) -> None:
    home.own("tcp://0.0.0.0:7470", make=True)
    there = Access("tcp://localhost:7470", "client", home)
    assert there.next().credentials is not None
    home.plain("tcp://127.0.0.1:7470")
    assert there.next().credentials is None, "also for who was connected before"
    assert Access("tcp://127.0.0.1:7470", "host", home).next().credentials is None
    home.own("tcp://0.0.0.0:7470", make=False)
    assert there.next().credentials is not None


@pytest.mark.parametrize(
    ("listens", "met"),
    [
        ("tcp://0.0.0.0:7470", "tcp://127.0.0.1:7470"),
        ("tcp://*:7470", "tcp://localhost:7470"),
        ("tcp://192.0.2.2:7470", "tcp://192.0.2.2:7470"),
        ("tcp://[::]:7470", "tcp://[::1]:7470"),
        ("tcp://[::]:7470", "tcp://127.0.0.1:7470"),
        ("tcp://[2001:DB8::0:1]:7470", "tcp://[2001:db8::1]:7470"),
        ("tcp://Pool.example:7470", "tcp://pool.example:7470"),
    ],
)
def test_a_supervisors_own_machine_is_known_wherever_it_listens(home: keys.Home, listens: str, met: str) -> None:
    home.own(listens, make=True)
    assert Access(met, "client", home).next().credentials is not None


def test_an_open_port_is_nobodys_address(home: keys.Home) -> None:
    _, pool = home.own("tcp://0.0.0.0:0", make=True)
    assert pool.addresses == []


@pytest.mark.parametrize(
    ("address", "local", "everywhere"),
    [
        ("tcp://127.0.0.1:7470", True, "tcp://0.0.0.0:7470"),
        ("tcp://localhost:7470", True, "tcp://0.0.0.0:7470"),
        ("tcp://[::1]:7470", True, "tcp://[::]:7470"),
        ("tcp://127.0.0.2:7470", True, None),
        ("ipc:///run/a.sock", True, None),
        ("tcp://[::]:7470", False, "tcp://[::]:7470"),
        ("tcp://127.example:7470", False, "tcp://127.example:7470"),
        ("tcp://192.0.2.2:7470", False, "tcp://192.0.2.2:7470"),
    ],
)
def test_where_an_address_leads(address: str, local: bool, everywhere: str | None) -> None:
    assert addresses.is_local(address) == local
    if everywhere is not None:
        assert addresses.beyond(address) == everywhere
    else:
        with pytest.raises(ConfigError, match="no other machine can reach it"):
            addresses.beyond(address)


def test_an_invitation_names_what_the_supervisor_listens_at() -> None:
    found = [
        ("docker0", "172.17.0.1"), ("lo", "127.0.0.1"), ("eth0", "192.0.2.2"), ("eth0", "2001:db8::1"),
        ("eth0", "fe80::1%eth0"), *(("eth1", f"10.0.0.{number}") for number in range(20)),
    ]  # fmt: skip
    everywhere = addresses.reached_at("tcp://0.0.0.0:1", found)
    assert (everywhere[0], len(everywhere), "2001:db8::1" in everywhere) == ("192.0.2.2", 16, False)
    assert addresses.reached_at("tcp://[::]:1", found)[:2] == ["192.0.2.2", "2001:db8::1"]
    assert addresses.reached_at("tcp://0.0.0.0:1", found[:3]) == ["192.0.2.2", "172.17.0.1"]
    assert addresses.reached_at("tcp://192.0.2.2:1", found) == ["192.0.2.2"]
    assert addresses.reached_at("tcp://[2001:db8::1]:1", found) == ["2001:db8::1"]
    assert addresses.reached_at("tcp://127.0.0.1:1", found) == []
