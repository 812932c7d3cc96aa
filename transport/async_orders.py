"""What a person may ask of a pool and order it to do, awaited; what each does is said in `orders.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Unpack

from ..config.resources import Required
from ..workers.errors import TaskUnknown, WorkerHostError
from .async_handle import AsyncBatch, AsyncHandle, Place
from .async_waiting import cancel, look_up, request, wait
from .block import UNKNOWN, Block
from .changes import Changing, Where, carry_out_awaiting, changing, listing, unblocking
from .commands import Listener
from .connection import Connection, Connections
from .handle import IDS_MAX
from .messages import Admin, Query
from .orders import check_id, clearing, no_task, unpacked
from .scheduling import scheduled, told, with_coming
from .tail import FIRST_WORD_SECONDS, Line, Reader
from .terms import terms

AsyncTasks = int | AsyncHandle | AsyncBatch | Iterable[int | AsyncHandle]
"""One task or several, by handle or number."""


class AsyncOrders:
    """Looks tasks up, shows them, and changes what a pool does; see `AsyncClient`."""

    _connections: Connections
    _place: Place

    async def task(self, id: int) -> AsyncHandle:
        """As `Client.task`."""
        check_id(id)
        connection = self._connections.current()
        block, offset = await look_up(connection, id)
        end = block.ends[offset]
        if isinstance(end, tuple) and end[0] == UNKNOWN:
            raise no_task(id)
        return AsyncHandle(self._place, connection, block, offset)

    async def tasks(self, *, limit: int = 100, **where: Unpack[Where]) -> list[dict[str, Any]]:
        """As `Client.tasks`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            page = await self.page(limit=limit - len(found), before=before, **where)
            found += page["tasks"]
            before = page.get("next")
            if before is None:
                break
        return found

    async def page(self, *, limit: int = 100, before: int | None = None, **where: Unpack[Where]) -> dict[str, Any]:
        """As `Client.page`."""
        return await self._query("tasks", listing(where, limit, before))

    async def show(self, id: int) -> dict[str, Any]:
        """As `Client.show`."""
        check_id(id)
        reply = await request(self._connections.current(), Query(0, "show", {"id": id}), TaskUnknown)
        return unpacked(reply["task"])

    async def why(self, id: int) -> dict[str, Any]:
        """As `Client.why`."""
        check_id(id)
        return await request(self._connections.current(), Query(0, "why", {"id": id}), TaskUnknown)

    async def tail(self, task: int | AsyncHandle, *, follow: bool = False) -> AsyncGenerator[Line]:
        """As `Client.tail`: `async for line in client.tail(id, follow=True)`."""
        handle = await self.task(task) if isinstance(task, int) else task
        id = await handle.stored()
        place = await handle.place()
        connection = self._connections.current()
        listener, reader = Listener(id), Reader()
        connection.put(listener)
        try:
            for line in reader.kept(await self.show(id)):
                yield line
            while True:
                over = _is_over(place)
                while listener.has_news():
                    attempt, number, lines, at = listener.items.popleft()
                    if reader.is_new(attempt):
                        for line in reader.kept(await self.show(id), attempt):
                            yield line
                    for line in reader.pushed(attempt, number, lines, at):
                        yield line
                    if not follow:
                        return
                if over or not (follow or reader.running):
                    break
                if not await _hear(connection, listener, place, None if follow else FIRST_WORD_SECONDS):
                    return
            for line in reader.kept(await self.show(id)):
                yield line
        finally:
            listener.over = True
            if not connection.over:
                connection.put(listener)

    # Orders and questions.

    async def cancel(
        self, tasks: AsyncTasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """As `Client.cancel`."""
        if tasks is not None and not where and not dry_run:
            return await cancel(self._connections.current(), await _ids(tasks), IDS_MAX)
        return await self._change(changing("cancel", await _meant(tasks), where, dry_run=dry_run))

    async def retry(
        self, tasks: AsyncTasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """As `Client.retry`."""
        return await self._change(changing("retry", await _meant(tasks), where, dry_run=dry_run))

    async def delete(
        self, tasks: AsyncTasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """As `Client.delete`."""
        return await self._change(changing("delete", await _meant(tasks), where, dry_run=dry_run))

    async def priority(
        self, priority: int, tasks: AsyncTasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """As `Client.priority`."""
        return await self._change(changing("edit", await _meant(tasks), where, dry_run=dry_run, priority=priority))

    async def move(
        self, to: str, tasks: AsyncTasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """As `Client.move`."""
        return await self._change(changing("edit", await _meant(tasks), where, dry_run=dry_run, type=terms(to).type))

    async def unblock(self, tasks: AsyncTasks) -> list[int]:
        """As `Client.unblock`."""
        return await self._change(unblocking(await _ids(tasks)))

    async def schedule(
        self,
        name: str,
        type: str,
        params: Any = None,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        zone: str = "UTC",
        catch_up: Literal["none", "last", "all"] = "last",
        priority: int = 5,
        timeout: float | timedelta | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] = (),
        tenant: str | None = None,
        requires: Required | None = None,
    ) -> dict[str, Any]:
        """As `Client.schedule`."""
        order = scheduled(
            type, params, cron, every, zone, catch_up, priority=priority, timeout=timeout, max_attempts=max_attempts,
            tags=tags, tenant=tenant, requires=requires,
        )  # fmt: skip
        return with_coming((await self._order("schedule", {"name": name, "plan": order}))["schedule"])

    async def unschedule(self, name: str) -> None:
        """As `Client.unschedule`."""
        await self._order("unschedule", {"name": name})

    async def schedules(self) -> list[dict[str, Any]]:
        """As `Client.schedules`."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = await self.schedules_page(after=after)
            found, after = found + page["schedules"], page["next"]
        return found

    async def schedules_page(self, *, after: str = "", limit: int = 1000) -> dict[str, Any]:
        """As `Client.schedules_page`."""
        return told(await self._query("schedules", {"after": after, "limit": limit}))

    async def pause_schedule(self, name: str) -> None:
        """As `Client.pause_schedule`."""
        await self._order("pause_schedule", {"name": name}, TaskUnknown)

    async def resume_schedule(self, name: str) -> None:
        """As `Client.resume_schedule`."""
        await self._order("resume_schedule", {"name": name}, TaskUnknown)

    async def run_schedule(self, name: str) -> int:
        """As `Client.run_schedule`."""
        return (await self._order("run_schedule", {"name": name}, TaskUnknown))["task"]

    async def clear_cache(self, type: str | None = None, *, key: str | None = None) -> str | None:
        """As `Client.clear_cache`."""
        return (await self._order("clear_cache", clearing(type, key))).get("state")

    async def pause(self, type: str) -> None:
        """As `Client.pause`."""
        await self._order("pause", {"type": terms(type).type})

    async def resume(self, type: str) -> None:
        """As `Client.resume`."""
        await self._order("resume", {"type": terms(type).type})

    async def reload(self, *, host: str | None = None, type: str | None = None) -> dict[str, Any]:
        """As `Client.reload`."""
        return await self._order("reload", {"host": host, "type": None if type is None else terms(type).type})

    async def drain(self, host: str, *, undo: bool = False) -> None:
        """As `Client.drain`."""
        await self._order("drain", {"host": host, "undo": undo})

    async def backup(self, path: str) -> dict[str, Any]:
        """As `Client.backup`."""
        return await self._order("backup", {"path": path})

    async def reload_config(self) -> list[dict[str, Any]]:
        """As `Client.reload_config`."""
        return (await self._order("reload_config", {}))["changes"]

    async def keys(self) -> dict[str, Any]:
        """As `Client.keys`."""
        return await self._order("keys", {})

    async def trust(self, key: str, *, role: str, name: str = "", serve: Sequence[str] = ()) -> None:
        """As `Client.trust`."""
        await self._order("trust", {"key": key, "role": role, "name": name, "serve": list(serve)})

    async def revoke(self, key: str) -> str:
        """As `Client.revoke`."""
        return (await self._order("revoke", {"key": key}))["key"]

    async def audit(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """As `Client.audit`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            page = await self._query("audit", {"limit": min(1000, limit - len(found)), "before": before})
            found, before = found + page["audit"], page["next"]
            if before is None:
                break
        return found

    async def invite(self, order: dict[str, Any]) -> dict[str, Any]:
        """As `Client.invite`."""
        return await self._order("invite", order)

    async def status(self) -> dict[str, Any]:
        """As `Client.status`."""
        return await self._query("status", {})

    async def snapshot(self) -> dict[str, Any]:
        """As `Client.snapshot`."""
        return await self._query("snapshot", {})

    async def hosts(self) -> list[dict[str, Any]]:
        """As `Client.hosts`."""
        return (await self._query("hosts", {}))["hosts"]

    async def types(self) -> list[dict[str, Any]]:
        """As `Client.types`."""
        return (await self._query("types", {}))["types"]

    async def _change(self, steps: Changing) -> list[int]:
        return await carry_out_awaiting(steps, partial(request, self._connections.current()))

    async def _query(self, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await request(self._connections.current(), Query(0, what, arguments))

    async def _order(
        self, verb: str, arguments: dict[str, Any], unknown: type[WorkerHostError] = WorkerHostError
    ) -> dict[str, Any]:
        return await request(self._connections.current(), Admin(0, verb, arguments), unknown)


def _is_over(place: tuple[Block, int]) -> bool:
    return place[0].ends[place[1]] is not None


async def _hear(connection: Connection, listener: Listener, place: tuple[Block, int], timeout: float | None) -> bool:
    """Wait for lines, or for the end of the task."""
    heard = [listener.waiters, place[0].waiters]
    return await wait(connection, lambda: listener.has_news() or _is_over(place), heard, timeout=timeout)


async def _meant(tasks: AsyncTasks | None) -> list[int] | None:
    return None if tasks is None else await _ids(tasks)


async def _ids(tasks: AsyncTasks) -> list[int]:
    """Numbers of tasks, whichever way they are named."""
    if isinstance(tasks, AsyncBatch):
        return [id for ids in tasks.ids() for id in ids]
    if isinstance(tasks, int | AsyncHandle):
        tasks = [tasks]
    ids = [await task.stored() if isinstance(task, AsyncHandle) else task for task in tasks]
    for id in ids:
        check_id(id)
    return ids
