"""What only a client in an event loop has to promise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from workerhost import AsyncClient, InvalidTask, PoolUnreachable, TaskState, WorkerHost, worker

SECONDS = 20.0

let_go = threading.Event()


@worker("echo")
def echo(value: Any) -> Any:
    return value


@worker("hold")
def hold() -> str:
    let_go.wait(SECONDS)
    return "held"


@pytest.fixture
def pool() -> Iterator[WorkerHost]:
    let_go.clear()
    with WorkerHost({"pool": {"heartbeat": "50ms", "lost_after": "250ms"}}, workers=[echo, hold], slots=2) as pool:
        yield pool
        let_go.set()


def test_a_cancelled_coroutine_leaves_its_task_alone(pool: WorkerHost) -> None:
    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            handle = await client.send("hold")
            waiting = asyncio.create_task(handle.result())
            await asyncio.sleep(0)  # sleeps: no time, it lets the other one begin
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await handle.wait()
            assert (await client.show(handle.id))["state"] in (TaskState.QUEUED, TaskState.RUNNING)
            let_go.set()
            assert await handle.result(SECONDS) == "held"

    asyncio.run(main())


def test_two_thousand_coroutines_wait_without_a_thread_each(pool: WorkerHost) -> None:
    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            assert await (await client.send("echo", 0)).result(SECONDS) == 0
            before = threading.active_count()
            batch = await client.send_many("echo", range(2000))
            values = asyncio.gather(*(handle.result(SECONDS) for handle in batch))
            most = before
            while not values.done():
                await asyncio.sleep(0)  # sleeps: no time, it lets the others go on
                most = max(most, threading.active_count())
            assert await values == list(range(2000))
            assert most < before + 10  # the pool may start some of its own

    asyncio.run(main())


def test_coroutines_send_at_the_same_time(pool: WorkerHost) -> None:
    async def main() -> None:
        async with AsyncClient(pool.address) as client:

            async def there_and_back(number: int) -> int:
                return await (await client.send("echo", number)).result(SECONDS)

            assert await asyncio.gather(*map(there_and_back, range(300))) == list(range(300))

    asyncio.run(main())


async def source(*values: Any, then: asyncio.Event | None = None) -> AsyncIterator[Any]:
    for value in values:
        yield value
    if then is not None:
        await then.wait()
        yield "last"


def test_params_may_come_from_an_asynchronous_source(pool: WorkerHost) -> None:
    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            batch = await client.send_many("echo", source(*range(25)), chunk=10)
            assert await batch.results(SECONDS) == list(range(25))
            with pytest.raises(InvalidTask) as refused:
                await client.send_many("echo", source(*range(25), object()), chunk=10)
            assert refused.value.__notes__[0] == "these were number 25 (counted from 0) of the params given"

    asyncio.run(main())


def test_a_map_gives_values_while_its_source_makes_it_wait(pool: WorkerHost) -> None:
    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            more = asyncio.Event()
            async with aclosing(client.map("echo", source(1, 2, then=more))) as values:
                assert [await anext(values), await anext(values)] == [1, 2]
                more.set()
                assert [value async for value in values] == ["last"]

    asyncio.run(main())


def test_a_source_that_fails_stops_its_map(pool: WorkerHost) -> None:
    async def broken() -> AsyncIterator[Any]:
        yield 1
        raise LookupError("the source is dry")

    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            values = client.map("echo", broken())
            with pytest.raises(LookupError, match="dry"):
                await anext(values)

    asyncio.run(main())


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_map_that_is_cancelled_while_the_queue_is_full_ends_soon(*, again: bool) -> None:
    async def forever() -> AsyncIterator[Any]:
        while True:
            yield None
            await asyncio.sleep(0.012)  # sleeps: the source is slow, so that each parcel holds one or two

    async def main(address: str) -> None:
        async with AsyncClient(address) as client:
            await client.send("nobody")
            values = client.map("nobody", forever(), buffersize=100, full="wait")
            using = asyncio.ensure_future(anext(values))
            connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
            while connection.conversation.outbox.unanswered < 6:
                await asyncio.sleep(0.01)  # sleeps: until the source has brought so many
            began = time.monotonic()
            using.cancel()
            if again:
                await asyncio.sleep(0.05)  # sleeps: until it waits for what is under way
                using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            assert time.monotonic() - began < (0.5 if again else 2)
            await client.status()
            assert connection.conversation.outbox.unanswered == 0
            await client.cancel(state="queued")

    with WorkerHost({"queue": {"max_size": 1}}, workers=[]) as pool:
        asyncio.run(main(pool.address))


def test_the_session_lives_while_the_loop_is_busy(pool: WorkerHost) -> None:
    """Longer than `lost_after`: the actor's own thread goes on saying that it is there."""

    async def main() -> None:
        async with AsyncClient(pool.address) as client:
            handle = await client.send("hold")
            connection = client._connections.current()  # pyright: ignore[reportPrivateUsage]
            time.sleep(0.6)  # sleeps: the loop is the slow one
            assert connection.conversation.away_since is None
            let_go.set()
            assert await handle.result(SECONDS) == "held"

    asyncio.run(main())


def test_one_client_serves_several_loops(pool: WorkerHost) -> None:
    client = AsyncClient(pool.address)
    handle = asyncio.run(client.send("echo", 7))
    assert asyncio.run(handle.result(SECONDS)) == 7
    asyncio.run(client.close())


def test_a_number_that_is_not_there_yet_says_how_to_wait_for_it() -> None:
    async def main() -> None:
        client = AsyncClient("memory://nobody", timeout=0.05)
        handle = await client.send_soon("echo", 1)
        with pytest.raises(RuntimeError, match=r"await handle\.stored"):
            _ = handle.id
        with pytest.raises(PoolUnreachable):
            await handle.stored()
        with pytest.raises(PoolUnreachable, match="1 tasks are not acknowledged"):
            await client.close()

    asyncio.run(main())


def test_leaving_by_an_error_waits_for_nothing() -> None:
    async def main() -> None:
        async with AsyncClient("memory://nobody") as client:
            await client.send_soon("echo", 1)
            raise LookupError("something else")

    began = time.monotonic()
    with pytest.raises(LookupError, match="something else"):
        asyncio.run(main())
    assert time.monotonic() - began < 5
