"""What a person may ask of a pool and order it to do: the half of a `Client` that sends no tasks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, Unpack

from ..config.resources import Required
from ..workers import values
from ..workers.errors import InvalidTask, TaskUnknown, WorkerHostError, plain
from .block import UNKNOWN
from .changes import Changing, Where, carry_out, changing, listing, unblocking
from .connection import Connections
from .handle import Batch, Handle, cancel
from .messages import Admin, Query
from .outcome import error_of
from .scheduling import scheduled, told, with_coming
from .tail import Line, tail
from .terms import ID_MAX, terms

Tasks = int | Handle | Batch | Iterable[int | Handle]
"""One task or several, by handle or number."""


class Orders:
    """Looks tasks up, shows them, and changes what a pool does; see `Client`."""

    _connections: Connections

    def task(self, id: int) -> Handle:
        """A handle of any task of the pool, whoever sent it.

        Raises:
            TaskUnknown: The pool has no task of this number.
            PoolUnreachable: No supervisor answered in time.
        """
        check_id(id)
        connection = self._connections.current()
        block, offset = connection.look_up(id)
        end = block.ends[offset]
        if isinstance(end, tuple) and end[0] == UNKNOWN:
            raise no_task(id)
        return Handle(self._connections, connection, block, offset)

    def tasks(self, *, limit: int = 100, **where: Unpack[Where]) -> list[dict[str, Any]]:
        """Tasks of the pool, newest first, at most `limit`: all, or those that the filters name.

        Args:
            limit: How many at the most.
            where: Filters, of which a task must have all; see `cancel`.

        Raises:
            ValueError: There is no such state.
        """
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            page = self.page(limit=limit - len(found), before=before, **where)
            found += page["tasks"]
            before = page.get("next")
            if before is None:
                break
        return found

    def page(self, *, limit: int = 100, before: int | None = None, **where: Unpack[Where]) -> dict[str, Any]:
        """One step of a search through tasks, that costs the pool little: newest first, from below `before` on.

        Returns:
            `tasks`, at most `limit` (1 to 1000) and perhaps fewer, and `next`: the `before` to go on with, or None at
            the end.

        Raises:
            ValueError: There is no such state.
        """
        return self._query("tasks", listing(where, limit, before))

    def show(self, id: int) -> dict[str, Any]:
        """Everything that is known of a task, its attempts included: the first 20 and the latest 200, with all of
        `detail` the latest 20 alone; `attempts_left_out`, if there are more, says how many.

        Raises:
            TaskUnknown: The pool has no task of this number.
        """
        check_id(id)
        return unpacked(self._connections.current().request(Query(0, "show", {"id": id}), TaskUnknown)["task"])

    def why(self, id: int) -> dict[str, Any]:
        """Why a task does not run now, or what became of it.

        Returns:
            `id`, `type`, `state`, `priority`; `reasons` [{code, text, until}], empty exactly when the next claim would
            take the task (or it has ended); `hosts` [{name, says}]: what each host says to it; `ahead`: tasks that
            stand before it, or None; `story` [{at, text}]: what it went through. Instants are seconds since the epoch.

        Raises:
            TaskUnknown: The pool has no task of this number.
        """
        check_id(id)
        return self._connections.current().request(Query(0, "why", {"id": id}), TaskUnknown)

    def tail(self, task: int | Handle, *, follow: bool = False) -> Generator[Line]:
        """What a task wrote to stdout and stderr, line by line: the last lines of each attempt that has ended, and
        those so far of one that runs.

        What an attempt writes is kept as its last 64 lines, 16 KiB at most, and given of the latest 20 attempts. Slots
        of the isolation `inline` write to their own process's stdout; of them nothing is heard.

        Args:
            task: Its handle or number.
            follow: Go on as it writes, over further attempts, until it has ended. A reader that is too slow loses
                lines; one in square brackets says how many.

        Raises:
            TaskUnknown: The pool has no task of this number.
            PoolBusy: This client listens to 100 tasks already.
            PoolUnreachable: No supervisor answered in time, or none was there for that long.
        """
        handle = self.task(task) if isinstance(task, int) else task
        id, place = handle.id, handle.place()
        return tail(self._connections.current(), id, place, lambda: self.show(id), follow=follow)

    # Orders and questions.

    def cancel(self, tasks: Tasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]) -> list[int]:
        """End tasks that have not ended, running or not: those named, or all that the filters name.

        This and the following words change up to 10,000 tasks at once, in one transaction; of more, so many after the
        other. A pool of many tasks may be searched in steps, each of which changes what it finds.

        Args:
            tasks: Which, by handle or number; None: whatever the filters name.
            dry_run: Change nothing; only say which tasks it would be.
            where: Filters, of which a task must have all: `state` (one, or several), `type`, `tag`, `tenant`, `flow`
                (its number), `error` (a part of its last error's text), `older_than` (sent so long ago: seconds, or a
                timedelta), `key` (of each type the latest that was sent with it).

        Returns:
            The numbers of those that had not ended before.

        Raises:
            ValueError: Neither tasks nor a filter is given, or there is no such state.
            WorkerHostError: A filter cannot be meant, as the state `failed` here.
        """
        if tasks is not None and not where and not dry_run:
            return cancel(self._connections.current(), _ids(tasks))
        return self._change(changing("cancel", _meant(tasks), where, dry_run=dry_run))

    def retry(self, tasks: Tasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]) -> list[int]:
        """Queue tasks again that failed, were cancelled or are quarantined, all counters at zero; as `cancel`.

        A task whose key a newer one has by now stays as it is.

        Raises:
            QueueFull: There is no room for so many more unfinished tasks or flows; of over 10,000 the first may run.
            DiskFull: The pool takes nothing new at present.
        """
        return self._change(changing("retry", _meant(tasks), where, dry_run=dry_run))

    def delete(self, tasks: Tasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]) -> list[int]:
        """Forget ended tasks, with their results and attempts, before their time; as `cancel`.

        What has not ended stays: cancel it first. So does a task that its host still has to stop, that one comes after
        which has not completed (unless that goes with it), of a flow that has not ended, or of whose end its connected
        sender was not told yet.
        """
        return self._change(changing("delete", _meant(tasks), where, dry_run=dry_run))

    def priority(
        self, priority: int, tasks: Tasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]
    ) -> list[int]:
        """Give tasks that nobody runs yet another priority; as `cancel`. What runs is left as it is.

        Raises:
            WorkerHostError: There is no such priority, or the queue has none.
        """
        return self._change(changing("edit", _meant(tasks), where, dry_run=dry_run, priority=priority))

    def move(self, to: str, tasks: Tasks | None = None, *, dry_run: bool = False, **where: Unpack[Where]) -> list[int]:
        """Have a worker of another type run tasks: params, priority and order stay; as `cancel`.

        A task that ran before, belongs to a flow, comes after others, or was sent with a key is left as it is.
        """
        return self._change(changing("edit", _meant(tasks), where, dry_run=dry_run, type=terms(to).type))

    def unblock(self, tasks: Tasks) -> list[int]:
        """Let tasks run that wait for others, whatever becomes of those; the numbers of those that were waiting."""
        return self._change(unblocking(_ids(tasks)))

    def schedule(
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
        """Have the pool send a task again and again, also while no client is there; one of this name is replaced.

        Args:
            name: At most 64 letters, digits, _, . or -.
            type: As for `send`, and so is what follows and is not named here.
            params: As for `send`, but at most 16 KiB packed.
            cron: When: minute, hour, day of month, month, day of week, as in crontab: `"0 3 * * *"`.
            every: Or how often: seconds from 1, or a timedelta; counted from 1970 in UTC.
            zone: Whose clock `cron` means: `"Europe/Berlin"`.
            catch_up: What is sent for instants that were missed: `none`, the `last` one, or `all`, the latest hundred
                at most.
            priority: See `send`.
            timeout: See `send`.
            max_attempts: See `send`.
            tags: See `send`.
            tenant: See `send`.
            requires: See `send`.

        Returns:
            What `schedules` says of it.

        Raises:
            InvalidTask: Something in it is wrong.
            WorkerHostError: The configuration has one of this name.
        """
        order = scheduled(
            type, params, cron, every, zone, catch_up, priority=priority, timeout=timeout, max_attempts=max_attempts,
            tags=tags, tenant=tenant, requires=requires,
        )  # fmt: skip
        return with_coming(self._order("schedule", {"name": name, "plan": order})["schedule"])

    def unschedule(self, name: str) -> None:
        """Forget a schedule of a client; tasks that it sent stay.

        Raises:
            WorkerHostError: There is none of this name, or the configuration says it.
        """
        self._order("unschedule", {"name": name})

    def schedules(self) -> list[dict[str, Any]]:
        """The schedules by name: `name`, `source` (`config` or `client`), `type`, `cron`, `every`, `zone`, `catch_up`,
        `priority`, `options`, `paused`, `next` (seconds since the epoch, or None), `coming` (that and the instants
        after it, five in all), `last` (the instant up to which it
        has been seen to), `task` (the latest that it sent, or None) and `error` (why the pool cannot read it and sends
        nothing, or None).
        """
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = self.schedules_page(after=after)
            found, after = found + page["schedules"], page["next"]
        return found

    def schedules_page(self, *, after: str = "", limit: int = 1000) -> dict[str, Any]:
        """`schedules`, at most `limit` (1 to 1000) of them, those behind the name `after`; and `next`: the `after` to
        go on with, or None at the end.
        """
        return told(self._query("schedules", {"after": after, "limit": limit}))

    def pause_schedule(self, name: str) -> None:
        """Let a schedule send nothing until `resume_schedule`, and nothing for that time afterwards.

        Raises:
            TaskUnknown: There is none of this name; so do the two below.
        """
        self._order("pause_schedule", {"name": name}, TaskUnknown)

    def resume_schedule(self, name: str) -> None:
        """Undo `pause_schedule`."""
        self._order("resume_schedule", {"name": name}, TaskUnknown)

    def run_schedule(self, name: str) -> int:
        """Have a schedule send a task now, beside its instants; the task's number."""
        return self._order("run_schedule", {"name": name}, TaskUnknown)["task"]

    def clear_cache(self, type: str | None = None, *, key: str | None = None) -> str | None:
        """Let results of tasks sent so far answer for no further ones: those of a type and below it, or all.

        Args:
            type: See above.
            key: Instead, let the task of exactly this type that has this key give it free, if it has completed.

        Returns:
            With `key` the state of the task that had it, None if there is none: one that is unfinished has it still.
        """
        return self._order("clear_cache", clearing(type, key)).get("state")

    def pause(self, type: str) -> None:
        """Start no task of this type, or of one below it, until `resume`. What runs goes on."""
        self._order("pause", {"type": terms(type).type})

    def resume(self, type: str) -> None:
        """Undo `pause`."""
        self._order("resume", {"type": terms(type).type})

    def reload(self, *, host: str | None = None, type: str | None = None) -> dict[str, Any]:
        """Have hosts serve the code that is on their disk now: one, those that serve a type, or all.

        What runs ends with the old code. What became of it is in `hosts()`, under `reload`.

        Returns:
            `order` (its number) and `hosts` (their names).
        """
        return self._order("reload", {"host": host, "type": None if type is None else terms(type).type})

    def drain(self, host: str, *, undo: bool = False) -> None:
        """Let a host finish what it runs, take nothing new, and leave; `undo`: let it stay after all."""
        self._order("drain", {"host": host, "undo": undo})

    def backup(self, path: str) -> dict[str, Any]:
        """Copy the supervisor's database into a new file while it serves; returns when the copy is on the disk.

        Args:
            path: The file, on the supervisor's machine; a relative path starts at its database's folder.

        Returns:
            Its `path` and size in `bytes`.

        Raises:
            WorkerHostError: The copy cannot be made; the message says why.
        """
        return self._order("backup", {"path": path})

    def reload_config(self) -> list[dict[str, Any]]:
        """Have the supervisor read its configuration file again and take over what has changed, without a restart.

        Returns:
            What has changed: `node` (a type, `defaults`, `hosts.NAME` or ""), `setting`, `old`, `new` and `needs`: ""
            for what counts now, `hosts` for what hosts load anew, `restart` for what waits for one.

        Raises:
            ConfigError: The file is wrong, and nothing has changed; a line for each problem.
        """
        return self._order("reload_config", {})["changes"]

    def keys(self) -> dict[str, Any]:
        """Who may join: `guarded`, `identities` and open `invitations`."""
        return self._order("keys", {})

    def trust(
        self, key: str, *, role: str, name: str = "", serve: Sequence[str] = (), valid: float | None = None
    ) -> None:
        """Let whoever has the secret of this public key join as `role`, for so many seconds (None: until revoked)."""
        self._order("trust", {"key": key, "role": role, "name": name, "serve": list(serve), "valid": valid})

    def revoke(self, key: str) -> str:
        """Let a key (or its fingerprint) be good for nothing any more; the whole key.

        Raises:
            WorkerHostError: There is none, or there are several.
        """
        return self._order("revoke", {"key": key})["key"]

    def audit(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Who joined, was refused, or ordered what, the latest first: `{number, at, identity, name, event, ...}`."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            page = self._query("audit", {"limit": min(1000, limit - len(found)), "before": before})
            found, before = found + page["audit"], page["next"]
            if before is None:
                break
        return found

    def invite(self, order: dict[str, Any]) -> dict[str, Any]:
        """Let whoever has the secret of `order["key"]` make itself known (see ADMIN `invite`); when that `expires`."""
        return self._order("invite", order)

    def status(self) -> dict[str, Any]:
        """The supervisor, its hosts, and how many tasks are in each state."""
        return self._query("status", {})

    def snapshot(self) -> dict[str, Any]:
        """The whole pool with its counters, as a monitor wants it once a second: see docs/protocol.md, the snapshot."""
        return self._query("snapshot", {})

    def hosts(self) -> list[dict[str, Any]]:
        """The hosts, with their level actors and running tasks."""
        return self._query("hosts", {})["hosts"]

    def types(self) -> list[dict[str, Any]]:
        """The task types, with how many tasks each has and which hosts serve it."""
        return self._query("types", {})["types"]

    def _change(self, steps: Changing) -> list[int]:
        return carry_out(steps, self._connections.current().request)

    def _query(self, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self._connections.current().request(Query(0, what, arguments))

    def _order(
        self, verb: str, arguments: dict[str, Any], unknown: type[WorkerHostError] = WorkerHostError
    ) -> dict[str, Any]:
        return self._connections.current().request(Admin(0, verb, arguments), unknown)


def _ids(tasks: Tasks) -> list[int]:
    """Numbers of tasks, whichever way they are named."""
    if isinstance(tasks, Batch):
        return [id for ids in tasks.ids() for id in ids]
    if isinstance(tasks, int | Handle):
        tasks = [tasks]
    ids = [task.id if isinstance(task, Handle) else task for task in tasks]
    for id in ids:
        check_id(id)
    return ids


def _meant(tasks: Tasks | None) -> list[int] | None:
    return None if tasks is None else _ids(tasks)


def check_id(id: Any) -> None:
    """A task has a number that there can be.

    Raises:
        TaskUnknown: There is none of this.
        InvalidTask: It is no number of a task.
    """
    if not isinstance(id, int) or isinstance(id, bool):  # said to the pool it would end the session
        raise InvalidTask(f"{plain(repr(id), 100)} is not the number of a task", "id")
    if not 0 < id <= ID_MAX:
        raise no_task(id)


def clearing(type: str | None, key: str | None) -> dict[str, Any]:
    """What to clear, as ADMIN `clear_cache` takes it.

    Raises:
        InvalidTask: It is no type, or a key without one.
    """
    if key is not None and type is None:
        raise InvalidTask(f"key={key!r}: it is that of a task of a type; name the type, too", "type")
    given = {"type": None if type is None else terms(type).type, "key": key}
    return {name: value for name, value in given.items() if value is not None}


def unpacked(shown: dict[str, Any]) -> dict[str, Any]:
    """What QUERY `show` says of a task, with its params and result as values."""
    for key in ("params", "result"):
        if isinstance(shown.get(key), bytes):
            shown[key] = values.unpack(shown[key]) if shown[key] else None
    return shown


def no_task(id: int) -> WorkerHostError:
    """The error for a task that the pool does not have."""
    return error_of(id, (UNKNOWN, b"", None)) or TaskUnknown(str(id))
