"""Who comes in, on real sockets and with the real pool: good identities, and nobody else, whatever state it is in."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from test_links_guarded import SECONDS, End, link_now, peer  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.access.identities import Identity, Invited, TurnedAway
from workerhost.actors.core.pool import Pool
from workerhost.actors.core.settings import PoolSettings
from workerhost.actors.core.step import Step
from workerhost.actors.door import Door
from workerhost.actors.stores.memory import MemoryStore
from workerhost.transport import keys, link
from workerhost.transport.contract import Closed, Credentials, Denied, Opened, Received

GOOD, REVOKED, EXPIRED, UNKNOWN, SPENT = (keys.new_pair() for _ in range(5))


class House:
    """A pool, its door and its address."""

    def __init__(self, pool: Any) -> None:
        self.pool: Any = pool
        self.knocks = 0
        self.end = End()
        self.pair = keys.new_pair()
        self.door = Door(lambda: self.pool, self.pair, self._knocked)
        self.end.link = link.listen("tcp://127.0.0.1:0", self.end.mailbox, self.door)

    def _knocked(self) -> None:
        self.knocks += 1

    def knock(self, pair: keys.KeyPair | None) -> Any:
        """Somebody connects and says a word."""
        end = peer(self.end, None if pair is None else Credentials(self.pair.public, pair))
        assert end.link.send(b"let me in")
        return end


@pytest.fixture
def house() -> Generator[House]:
    """A pool that knows one good identity, and some that are good no more."""
    pool = Pool(PoolSettings(guarded=True), MemoryStore().open(), 0.0, 100.0)
    step = Step(0.0, 100.0)
    pool.identities.trust(step, Identity(GOOD.public, "client"))
    pool.identities.trust(step, Identity(EXPIRED.public, "client", expires=200.0))
    pool.identities.trust(step, Identity(REVOKED.public, "client"))
    pool.identities.revoke(step, REVOKED.public)
    pool.identities.invite(step, Invited(SPENT.public, "client", (), 1, 200.0))
    made = House(pool)
    yield made
    made.end.link.close()


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(REVOKED, id="revoked"),
        pytest.param(EXPIRED, id="expired"),
        pytest.param(UNKNOWN, id="unknown"),
        pytest.param(SPENT, id="invitation that is over"),
        pytest.param(None, id="no key"),
    ],
)
def test_nobody_but_good_identities_says_a_word(house: House, pair: keys.KeyPair | None) -> None:
    outsider = house.knock(pair)
    end = link_now() + SECONDS
    while not any(isinstance(item, Denied) for item in outsider.items):
        assert link_now() < end, outsider.items
        house.end.look(0.05)
        outsider.look(0.05)
    insider = house.knock(GOOD)
    assert [item.body for item in house.end.until(Received)] == [b"let me in"]
    assert [(item.identity, item.ip) for item in house.end.until(Opened)] == [(GOOD.public, "127.0.0.1")]
    away = house.door.turned_away()
    if pair is None:
        assert away is None, "it does not even speak the language of keys"
    else:
        assert isinstance(away, TurnedAway)
        assert set(away.times) == {pair.public}
        assert away.ips == {pair.public: "127.0.0.1"}
        assert house.knocks == 1
        assert house.door.turned_away() is None
    outsider.link.close()
    insider.link.close()


def test_where_nobody_answers_handshakes_nobody_comes_in(house: House) -> None:
    """The supervisor's thread is stuck, or has no pool at present: the door fails closed, and opens again by itself."""
    insider = house.knock(GOOD)
    insider.look(0.5)
    assert insider.items == [], "nobody has answered"
    pool, house.pool = house.pool, None
    house.end.look(0.3)
    insider.look(0.05)
    assert not any(isinstance(item, Denied | Received) for item in (*insider.items, *house.end.items))
    house.pool = pool
    assert house.end.until(Received)[0].body == b"let me in"
    insider.link.close()


def test_a_flood_of_made_up_keys_takes_no_memory(house: House) -> None:
    for _ in range(1000):
        assert house.door.admits(keys.new_pair().public, "192.0.2.1") is False
    away = house.door.turned_away()
    assert away is not None
    assert (len(away.times), sum(away.times.values())) == (21, 1000)
    assert house.knocks == 1


def test_who_is_ignored_is_put_off_at_the_door_and_its_connection_goes(house: House) -> None:
    bad = house.knock(GOOD)
    [received] = house.end.until(Received)
    assert not house.door.ignores(GOOD.public)
    house.pool.allowances.ignored[GOOD.public] = link_now() + SECONDS
    assert house.door.ignores(GOOD.public)
    assert not house.door.ignores(UNKNOWN.public)
    assert house.door.admits(GOOD.public, "") is None
    assert bad.link.send(b"noise")
    assert [item.peer for item in house.end.until(Closed)] == [received.peer]
    house.pool.allowances.ignored[GOOD.public] = link_now()
    assert not house.door.ignores(GOOD.public)
    house.pool = None
    assert not house.door.ignores(GOOD.public)
    bad.link.close()
