"""A client that goes on with another's work ends its session first: what was still on its way counts no more."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from raw_peers import ACCEPTED, REFUSED, SUBMIT, Peer

from workerhost import WorkerHost
from workerhost.transport.taking_over import ResumableClient


@pytest.fixture
def pool(tmp_path_factory: pytest.TempPathFactory) -> Generator[WorkerHost]:
    folder = tmp_path_factory.mktemp("pool")
    with WorkerHost({"pool": {"bind": f"ipc://{folder}/pool"}}) as pool:
        yield pool
        pool.client.cancel([task["id"] for task in pool.client.tasks()])


def test_what_a_session_that_was_taken_over_says_is_refused(pool: WorkerHost) -> None:
    group = ["a.b", 5, {"tags": ["mine"]}, [b"\xc0"]]
    killed = Peer(pool.address, "client", b"k" * 16, "killed", {})
    killed.say(SUBMIT, 1, 1, [group])
    killed.hear(ACCEPTED)
    with ResumableClient(pool.address) as client:
        client.take_over((b"k" * 16).hex())
        killed.say(SUBMIT, 2, 2, [group])
        assert killed.hear(REFUSED)[0] == "unknown_session"
        assert len(client.tasks(tag="mine")) == 1
    killed.socket.close(linger=0)
    killed.context.term()


def test_a_client_tells_its_session_and_goes_on_after_it_was_taken_over(pool: WorkerHost) -> None:
    with ResumableClient(pool.address) as one, ResumableClient(pool.address) as other:
        first = one.send("a.b", tags=["its"])
        other.take_over(one.session())
        assert {task["id"] for task in other.tasks(tag="its")} == {first.id}
        second = one.send("a.b", tags=["its"])
        assert second.id != first.id


@pytest.mark.parametrize("name", ["", "00", "no session", "00" * 17])
def test_what_names_no_session_is_told(pool: WorkerHost, name: str) -> None:
    with ResumableClient(pool.address) as client, pytest.raises(ValueError, match=r"session|fromhex"):
        client.take_over(name)


def test_what_is_handed_in_one_submission_at_a_time_is_stored_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    address = f"ipc://{tmp_path_factory.mktemp('pool')}/pool"
    with WorkerHost({"pool": {"bind": address}, "queue": {"max_size": 10}}), ResumableClient(address) as client:
        submissions = client.submissions("a.b", tags=["its"], full="wait")
        params = list(range(12))
        assert submissions.store(submissions.pack(params)) is None
        assert client.tasks(tag="its") == []
        parcel = submissions.pack(params)
        assert parcel.block.count == 6
        ids = submissions.store(parcel)
        assert ids is not None
        assert [task["id"] for task in client.tasks(tag="its")] == [*reversed(ids[0])]
        client.cancel(tag="its")
