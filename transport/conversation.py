"""The client's side of the protocol: what to say, when, and what each answer means for the tasks it waits for.

Pure: commands, messages and `now` go in, effects come out in the order in which they must be done. It opens a session,
keeps it alive, opens it again when it breaks, and repeats then whatever was not answered; repeating is harmless,
because submissions are numbered and everything else changes nothing the second time. One thread calls it; the plain
attributes may be read by others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from .block import UNKNOWN, Block, End, Register
from .client_effects import Alarm, Connect, Disconnect, Effect, Leave, Say
from .commands import Command, Listener, Lookup, Request, Withdraw
from .events import take_events
from .messages import (
    PROTOCOL_VERSION,
    STATES,
    TAILS_MAX,
    Accepted,
    Admin,
    Alive,
    Bye,
    Cancel,
    Events,
    Heartbeat,
    Hello,
    Message,
    Query,
    Refused,
    Rejected,
    Reply,
    Submit,
    Tail,
    TaskState,
    Watch,
    Welcome,
)
from .outbox import Letter, Outbox
from .parcel import Parcel
from .requests import Requests
from .session import Numbering

CREDIT: Final = 10_000
"""Ends that the supervisor may push beyond the last that we said we have seen."""

IDS_MAX: Final = 10_000
"""Ids in one WATCH or CANCEL."""

PATIENCE: Final = (1.0, 2.0, 4.0)
"""Seconds to wait for WELCOME on one connection, before a new one is tried: first, second, and every further time."""

REST: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between connections, by how many have failed in a row."""

RESTORED_EPOCHS: Final = 1 << 13
"""An epoch that grows so far at once is not a restart: the pool was put back to an earlier time, from a backup or by a
power cut that undid commits.
"""

REST_REFUSED: Final = 5.0
"""Seconds after which a supervisor that refused us is asked again; it may be another one by then."""

_CANCELLED: Final = STATES.index(TaskState.CANCELLED)


class Conversation:
    """One client session, over as many connections as it takes.

    Attributes:
        away_since: Since when no supervisor is heard; None while joined.
        refusals: How often a supervisor refused this client; `refusal` says why, and `refusal_code` how.
        left: Whether it has ended on purpose.
        wake_at: When `tick` must be called at the latest.
    """

    def __init__(self, session: bytes, name: str, now: float, role: str = "client") -> None:
        self.session, self.name, self._role = session, name, role
        self.away_since: float | None = now
        self.refusals, self.refusal, self.refusal_code = 0, "", ""
        self.left = False
        self.wake_at: float | None = None
        self.outbox = Outbox()
        self.register = Register()
        self._effects: list[Effect] = []
        self._numbers = Numbering()
        self._linked = self._joined = False
        self._failures = 0  # connections in a row that came to nothing
        self._epoch = 0
        self._heartbeat, self._lost_after = 1.0, 5.0
        self._heard = now
        self._next_at = now  # the next heartbeat when joined, else the next step towards a session
        self._owed: set[int] = set()  # repeated submissions whose answer must come before WATCH
        self._watching = False
        self._after = self._consumed = 0
        self._foreign: set[int] = set()  # tasks watched by id that have not ended
        self._foreign_max = IDS_MAX  # so many, and those that nobody holds any more are swept out
        self._lookups: dict[int, list[Lookup]] = {}
        self._requests = Requests()
        self._listeners: list[Listener] = []
        self._leave_at: float | None = None
        # Spread by what is random already, so that many clients of one supervisor do not come back in step.
        self._spread = 0.75 + session[0] / 512

    # News.

    def start(self, now: float) -> list[Effect]:
        """Open the first connection."""
        self._open(now)
        return self._done()

    def take(self, commands: Iterable[Command], now: float) -> list[Effect]:
        """What callers want, in their order."""
        for command in commands:
            if isinstance(command, Parcel):
                self.outbox.put(command)
            elif isinstance(command, Request):
                self._requests.put(command)
            elif isinstance(command, Lookup):
                self._look_up(command)
            elif isinstance(command, Listener):
                self._listen(command)
            elif isinstance(command, Withdraw):
                self.outbox.withdraw(command.blocks)
                self._owed.intersection_update(self.outbox.flying)
            else:
                self._leave_at = now + command.patience
        self._go_on(now)
        return self._done()

    def on_message(self, number: int, message: Message, now: float) -> list[Effect]:
        """A message from the supervisor. One that cannot be understood ends the connection."""
        try:
            self._on_message(number, message, now)
        except (TypeError, ValueError, IndexError, KeyError):
            self._lose(now)
        return self._done()

    def on_broken(self, now: float) -> list[Effect]:
        """The link took no message, or brought bytes that are none."""
        self._lose(now)
        return self._done()

    def on_unsaid(self, message: Submit | Query | Admin | Cancel, reason: str, now: float) -> list[Effect]:
        """A message cannot be said. Whoever wanted it hears why; the numbers of those after it are of no use now."""
        if isinstance(message, Submit):
            self.outbox.rejected(Rejected(message.submission, "invalid", reason), now)
            self._owed.discard(message.submission)
        else:
            self._on_reply(Reply(message.request, False, {"code": "invalid", "reason": reason}))
        self._lose(now)
        return self._done()

    def on_closed(self, now: float) -> list[Effect]:
        """The connection is gone: whoever is there now does not know this session before it hears HELLO."""
        self._lose(now)
        return self._done()

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        if self.left:
            return []
        if self._leave_at is not None and now >= self._leave_at:
            self._leave()
        elif self._joined:
            if now - self._heard >= self._lost_after:
                self._lose(now)
            elif now >= self._next_at:
                self._next_at = now + self._heartbeat
                self._say(Heartbeat(self._numbers.seen))
        elif now >= self._next_at:
            if self._linked:  # nobody answered HELLO
                self._lose(now)
            else:
                self._open(now)
        self._go_on(now)
        return self._done()

    # The connection.

    def _open(self, now: float) -> None:
        self._linked = True
        self._next_at = now + PATIENCE[min(self._failures, len(PATIENCE) - 1)] * self._spread
        offer: dict[str, Any] = {"name": self.name}
        if self.outbox.last:  # a session that was forgotten meanwhile must not look like a new one
            offer |= {"submitted": self.outbox.last, "away": now - self._heard}
        hello = Hello(self._role, [PROTOCOL_VERSION, PROTOCOL_VERSION], self.session, "", offer)
        self._effects += (Connect(), Say(0, hello))

    def _lose(self, now: float) -> None:
        """This connection is of no use any more; try another."""
        if self._linked:
            self._disconnect(now, REST[min(self._failures, len(REST) - 1)])
            if self._next_at <= now:
                self._open(now)

    def _disconnect(self, now: float, rest: float) -> None:
        if self._joined:
            self._joined = self._watching = False
            self.away_since = min(now, self._heard)
        self._linked = False
        self._effects.append(Disconnect())
        self._next_at = now + rest * self._spread
        self._failures += 1

    def _on_message(self, number: int, message: Message, now: float) -> None:
        if not self._linked:
            return
        if isinstance(message, Welcome):
            self._on_welcome(message, now)
            return
        if isinstance(message, Refused):
            self._on_refused(message, now)
            return
        if not self._joined:
            return
        if not self._numbers.accept(number):
            self._lose(now)
            return
        self._heard = now
        if isinstance(message, Events):
            self._on_events(message)
        elif isinstance(message, Accepted):
            for block in self.outbox.accepted(message.submission, message.first, message.count, message.others):
                self._claim_looked_up(block)
                self.register.add(block)
                if block.others:  # the pool tells of these without being asked, but a new session has to ask
                    self.register.stand_for(block)
                    self._foreign.update(id for id, _ in block.others.values())
            self._owed.discard(message.submission)
        elif isinstance(message, Rejected):
            self.outbox.rejected(message, now)
            self._owed.discard(message.submission)
        elif isinstance(message, Reply):
            self._on_reply(message)
        elif isinstance(message, Alive):
            self._failures = 0  # it lasts
        elif isinstance(message, Bye):
            self._lose(now)
        self._go_on(now)

    def _on_welcome(self, message: Welcome, now: float) -> None:
        if self._joined:
            return
        self._joined = True
        self._numbers = Numbering()
        self.away_since, self._heard = None, now
        self._heartbeat = max(message.heartbeat, 0.01)
        self._lost_after = max(message.lost_after, 2 * self._heartbeat)
        self._next_at = now + self._heartbeat
        if message.epoch < self._epoch or (
            self._epoch not in (0, message.epoch) and message.settings.get("durable") is False
        ):
            self._forget_all()
        elif self._epoch and (
            message.epoch - self._epoch >= RESTORED_EPOCHS or message.settings.get("forgotten") is True
        ):
            self._ask_anew()
        self._epoch = message.epoch
        self._owed = set(self.outbox.flying)
        for letter in self.outbox.flying.values():
            self._submit(letter)
        self._requests.again()
        if self._listeners:
            self._tail()
        self._go_on(now)

    def _on_refused(self, message: Refused, now: float) -> None:
        if message.code == "unknown_session":
            if self._joined:  # else it answers what we said before HELLO
                self._lose(now)
            return
        if message.code in ("leaving", "enrolled"):
            self._lose(now)
            return
        self._disconnect(now, REST_REFUSED)
        self.refusals += 1
        self.refusal, self.refusal_code = message.reason, message.code
        self._effects.append(Alarm())

    def _forget_all(self) -> None:
        """The epoch went back, or is another and the queue is in memory: this queue knows nothing of our tasks."""
        self._after = 0
        for block in self.register.all():
            offsets = [offset for offset in range(block.count) if block.ends[offset] is None]
            for offset in offsets:
                block.end(offset, (UNKNOWN, b"", None))
            block.tell(offsets)
        self.register = Register()  # their numbers will be given again
        self._foreign.clear()
        asked, self._lookups = self._lookups, {}
        for lookup in [one for lookups in asked.values() for one in lookups]:
            self._look_up(lookup)  # it means whatever is there

    def _ask_anew(self) -> None:
        """The pool was put back to an earlier time, and what it told since is not true any more; or it has forgotten
        this session. Our tasks may be lost, and none is told to us as our own.
        """
        self._after = 0
        for block in self.register.all():
            if block.left:
                self._foreign.update(block.unfinished())

    # What callers want.

    def _listen(self, listener: Listener) -> None:
        """Hear what a task writes; a listener that is over goes."""
        self._listeners = [known for known in self._listeners if not known.over and known is not listener]
        if not listener.over:
            if len({known.id for known in self._listeners} | {listener.id}) > TAILS_MAX:
                listener.refuse()
                return
            self._listeners.append(listener)
        if self._joined:
            self._tail()

    def _tail(self) -> None:
        self._say(Tail(list(dict.fromkeys(listener.id for listener in self._listeners))))

    def _go_on(self, now: float) -> None:
        """Send what may be sent now."""
        self.outbox.wake(now)
        if self._joined:
            while (due := self._requests.next()) is not None:
                self._ask(*due)
            if not self._watching and not self._owed:
                self._watching = True
                self._watch(sorted(self._foreign))
            while (letter := self.outbox.next_letter()) is not None:
                self._submit(letter)
        if self._leave_at is not None and not self.outbox.unanswered and not self.left:
            self._leave()

    def _submit(self, letter: Letter) -> None:
        self._say(Submit(letter.number, self.outbox.below, letter.groups(), letter.flow))

    def _ask(self, number: int, request: Request) -> None:
        if isinstance(request.message, Admin) and request.message.verb == "retry":
            request.before = self._ends_of(request.message.arguments.get("ids", ()))
        self._say(replace(request.message, request=number))

    def _look_up(self, lookup: Lookup) -> None:
        block = self.register.find(lookup.id)
        # Another's task that has ended is asked for anew: of what it did since then nobody told us.
        if block is not None and (not block.foreign or (block.known and block.ends[0] is None)):
            lookup.block, lookup.offset = block, lookup.id - block.first
            self._found(lookup)
            return
        if block is None:
            block = Block(1, STATES.index(TaskState.QUEUED), lookup.id)
            block.foreign = True
            self.register.add(block)
        lookup.block = block
        self._lookups.setdefault(lookup.id, []).append(lookup)
        self._follow([lookup.id])

    def _claim_looked_up(self, block: Block) -> None:
        """Somebody asked for numbers that have become our own since."""
        ids = range(block.first, block.first + block.count)
        smaller, other = (ids, self._foreign) if block.count < len(self._foreign) else (self._foreign, ids)
        for id in [id for id in smaller if id in other]:
            self._foreign.discard(id)
            self.register.drop(id)
            for lookup in self._lookups.pop(id, ()):
                lookup.block, lookup.offset = block, id - block.first
                self._found(lookup)

    def _follow(self, ids: list[int]) -> None:
        """Hear of these tasks although this session did not send them."""
        self._foreign.update(ids)
        if self._watching:
            self._watch(ids)

    def _watch(self, ids: list[int]) -> None:
        self._consumed = 0
        for start in range(0, max(len(ids), 1), IDS_MAX):
            self._say(Watch(self._after, CREDIT, ids[start : start + IDS_MAX]))

    def _found(self, lookup: Lookup) -> None:
        lookup.found = True
        for waiter in tuple(lookup.waiters):
            waiter.wake()

    # Answers.

    def _on_events(self, message: Events) -> None:
        consumed, self._after = take_events(message, self.register, self._foreign, self._after)
        self._consumed += consumed
        for id, attempt, number, lines, at in message.output:
            for listener in self._listeners:
                if listener.id == id:
                    listener.take(int(attempt), int(number), list(map(str, lines)), float(at))
        if self._lookups:
            for row in (*message.finished, *message.states):
                for lookup in self._lookups.pop(row[0], ()):
                    self._found(lookup)
        if len(self._foreign) > self._foreign_max:
            self._foreign = {id for id in self._foreign if self.register.places(id)}
            self._foreign_max = 2 * len(self._foreign) + IDS_MAX  # else every message would sweep them
        if self._watching and self._consumed >= CREDIT // 2:
            self._watch([])

    def _on_reply(self, message: Reply) -> None:
        request = self._requests.answered(message.request)
        if request is None:
            return
        if message.ok and isinstance(request.message, Cancel):
            self._mark_cancelled(message.value["cancelled"])
        elif message.ok and isinstance(request.message, Admin) and request.message.verb == "retry":
            self._reopen(message.value["retried"], request.before)
        request.reply = (message.ok, message.value)
        for waiter in tuple(request.waiters):
            waiter.wake()

    def _mark_cancelled(self, ids: list[int]) -> None:
        """A cancelled task counts as ended from the reply on; its own event, with the reason, may follow."""
        for id in ids:
            for block, offset in self.register.places(id):
                if block.ends[offset] is None:
                    block.end(offset, (_CANCELLED, b"", None))
                    block.tell((offset,))

    def _ends_of(self, ids: Iterable[int]) -> dict[int, End | None]:
        """How tasks have ended, as far as is known now."""
        found = ((id, self.register.find(id)) for id in ids)
        return {id: block.ends[id - block.first] for id, block in found if block is not None}

    def _reopen(self, ids: list[int], before: Mapping[int, End | None]) -> None:
        """A task that was retried by hand has not ended any more, unless it has again since that was asked for."""
        strangers: list[int] = []
        for id in ids:
            block = self.register.find(id)
            if block is not None:
                offset = id - block.first
                if id not in before or block.ends[offset] is before[id]:
                    block.reopen(offset)
                if block.foreign:
                    strangers.append(id)
        if strangers:
            self._follow(strangers)

    # Out.

    def _say(self, message: Message) -> None:
        self._effects.append(Say(self._numbers.next(), message))

    def _leave(self) -> None:
        if self._joined:
            self._say(Bye("the client was closed"))
        self._effects += (Disconnect(farewell=self._joined), Leave())
        self._linked = self._joined = False
        self.left, self._leave_at = True, None

    def _done(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        if self.left:
            self.wake_at = None
            return effects
        times = (self._next_at, self._leave_at, self.outbox.wake_at)
        self.wake_at = min(time for time in times if time is not None)
        if self._joined:
            self.wake_at = min(self.wake_at, self._heard + self._lost_after)
        return effects
