"""Identities in files: nobody else reads them, what is broken is named, and an invitation survives a copy and paste."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerhost.transport import invitations, keys
from workerhost.workers.errors import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> keys.Home:
    return keys.Home.of({"WORKERHOST_HOME": str(tmp_path / "home")})


def test_a_supervisor_has_one_identity_for_good(home: keys.Home) -> None:
    assert home.supervisor(make=False) is None
    pair = home.supervisor(make=True)
    assert pair is not None
    assert home.supervisor(make=True) == pair == home.supervisor(make=False)


def test_files_and_folders_are_for_their_owner_alone(home: keys.Home) -> None:
    os.umask(old := os.umask(0))
    home.supervisor(make=True)
    with home.changing(keys.new_pair().public) as pool:
        pool.pairs["host"] = keys.new_pair()
    assert os.umask(old) == old
    for path in (home.folder, *home.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused_with_the_cure(home: keys.Home, mode: int) -> None:
    home.supervisor(make=True)
    file = home.folder / "supervisor.json"
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"chmod 600 {file}"):
        home.supervisor(make=True)


def test_a_folder_that_others_can_change_is_refused(home: keys.Home) -> None:
    home.folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        home.supervisor(make=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"public": "a", "secret": "b"}', "\0"])
def test_a_broken_file_is_named(home: keys.Home, text: str) -> None:
    home.supervisor(make=True)
    (home.folder / "supervisor.json").write_text(text)
    with pytest.raises(ConfigError, match=r"supervisor\.json: "):
        home.supervisor(make=True)


def test_keys_that_do_not_belong_together_are_refused(home: keys.Home) -> None:
    home.supervisor(make=True)
    one, other = keys.new_pair(), keys.new_pair()
    (home.folder / "supervisor.json").write_text(json.dumps({"public": one.public, "secret": other.secret}))
    with pytest.raises(ConfigError, match="do not belong together"):
        home.supervisor(make=True)


def test_a_pool_is_found_by_its_key_and_by_where_it_was_met(home: keys.Home) -> None:
    server, pair = keys.new_pair().public, keys.new_pair()
    with home.changing(server) as pool:
        pool.addresses, pool.pairs = ["tcp://10.0.0.1:7470"], {"host": pair}
    assert home.pool(server) == pool == home.pool_at("tcp://10.0.0.1:7470")
    assert home.pool_at("tcp://10.0.0.2:7470") is None
    assert home.pool(keys.new_pair().public) is None
    assert (pool.role_for("host"), pool.role_for("client")) == ("host", None)


def test_an_address_belongs_to_the_pool_that_was_met_there_last(home: keys.Home) -> None:
    with home.changing(keys.new_pair().public) as first:
        first.met(["tcp://a:1", "tcp://b:1"])
    with home.changing(keys.new_pair().public) as second:
        second.met(["tcp://a:1"])
    assert home.pool_at("tcp://a:1") == second
    found = home.pool(first.server)
    assert found is not None
    assert found.addresses == ["tcp://b:1"]


def test_a_secret_is_not_shown() -> None:
    pair = keys.new_pair()
    assert pair.secret not in repr(pair)
    assert pair.secret not in repr(keys.KnownPool("x", pairs={"host": pair}))


def test_an_invitation_comes_back_from_its_text() -> None:
    invitation = invitations.Invitation(("tcp://a:1", "tcp://b:2"), keys.new_pair().public, keys.new_pair(), "host")
    text = invitation.text()
    assert invitations.is_invitation(text)
    assert "\n" not in text
    assert invitations.read(f" {text}\n") == invitation


@given(cut=st.integers(1, 200), put=st.text(max_size=5) | st.characters(codec="ascii"))
def test_a_damaged_invitation_is_one_line_or_still_the_same(cut: int, put: str) -> None:
    pair = keys.pair_of("1" * 40)
    invitation = invitations.Invitation(("tcp://a:1",), pair.public, pair, "client")
    text = invitation.text()
    damaged = text[: len(invitations.PREFIX) + cut] + put + text[len(invitations.PREFIX) + cut + 1 :]
    with contextlib.suppress(ConfigError):  # nothing else may come out of it
        assert invitations.read(damaged) == invitation
