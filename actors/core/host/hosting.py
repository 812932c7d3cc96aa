"""The host's brain: messages, news of slots and time go in, what must be done comes out. Pure.

It keeps what the host owes its supervisor: every task in hand, every result until it is RECORDED, and the truth about
both in each HELLO. A supervisor that is away stops nothing here but claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, Final

from ....transport.messages import (
    PROTOCOL_VERSION,
    Alive,
    Bye,
    Claim,
    Drain,
    Hello,
    Listen,
    Message,
    Recorded,
    Refused,
    Reload,
    Reread,
    Returned,
    Stop,
    Tasks,
    Tree,
    Welcome,
)
from ....workers.source import Environment, Source
from ..effects import Note
from .acceptance import Acceptance
from .cut_off import CutOff
from .environments import Environments, pool_of
from .guidance import Guidance
from .host_effects import HostEffect, Key, Leave, LoadAnew, ReadAgain, key_of
from .host_options import HostOptions
from .joining import Joining, Phase
from .outbox import Outbox
from .reloading import Reloads
from .slot_table import SlotNews, SlotTable
from .slots import SlotState
from .stopping import Why
from .supervisor_words import BadMessage, pairs, tasks_of, types_of, wanted_lines
from .verdicts import FAILED, Offer, Verdict

_JOIN_PATIENCE: Final = 3.0
"""Seconds without a slot that is ready; then the host joins with nothing to offer, so that it is seen."""
_LEVELS_MAX: Final = 1000  # that one HEARTBEAT tells of; the next one goes on
_LEAVE_SECONDS: Final = 1.0  # for slots to end by themselves
_BYE_SECONDS: Final = 0.2


class HostCore:
    """The state of one host and every decision about it.

    News goes into `on_message`, `on_slot` and the others; then `tick`, then `take`, which hands over what all of it has
    led to, in the order in which it must be done.

    Attributes:
        expected: When `tick` must be called at the latest, as of the latest `take`; `inf`: only news matters.
    """

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.name = options.name
        self.acceptance = Acceptance(options)
        self._accepted: dict[str, Source] = {}
        self._told_others = False  # TREE has named other classes than those that are run
        self._wanted: Mapping[str, int] = options.slots  # without what nodes need for themselves
        self.environments = Environments(*self.acceptance.places(len(self._wanted)))
        self.shape = self.environments.shape(self._wanted)
        self.serve, self.refuse = options.serve, options.refuse
        self.verdicts: Mapping[str, Verdict] = {}  # as the level actors wrote them; put in by the shell
        self.effects: list[HostEffect] = []
        self.outbox = Outbox()
        self.slots = SlotTable(self.environments, self.outbox, self.effects)
        spread = int.from_bytes(options.session[:2], "big") / 65536
        self.joining = Joining(self.effects, self._hello, options.address, spread)
        self.guidance = Guidance(self.effects)
        self.cut_off = CutOff(self.joining, self.guidance, self.slots)
        self.draining = self._final = False  # `_final`: told to go by its own process, which cannot be undone
        self._leaving = self._stopped = self._left = False
        self._error: str | None = None
        self._named: frozenset[Key] = (
            frozenset()
        )  # what HELLO named as running; a Stop at once after it means: not yours
        self._claimed: Claim | None = None
        self._greetings = 0
        self._told_levels: dict[str, Verdict] = {}
        self._reloads = Reloads(self.environments, self.slots)
        self._join_by = self._drain_by = self._abandon_at = self.expected = inf

    # News.

    def start(self, now: float) -> None:
        """Start the slots; the supervisor is looked for as soon as one is ready."""
        self.slots.shape(self.shape)
        self._check_environments(self.environments.unheard())
        self._join_by = now + _JOIN_PATIENCE

    def on_message(self, number: int, message: Message, now: float) -> None:
        """A message came over the present link."""
        joining = self.joining
        if isinstance(message, Welcome):
            if joining.phase is Phase.GREETING:
                self._welcomed(message, now)
        elif isinstance(message, Refused):
            if joining.phase in (Phase.GREETING, Phase.JOINED) and (error := joining.refused(message, now)):
                self.stop(now, error)
        elif joining.phase is not Phase.JOINED:
            return
        elif not joining.accepts(number, now):
            joining.lose(f"message {joining.seen + 1} was lost", now)
        else:
            try:
                self._heed(message, now)
            except BadMessage as error:
                kind = type(message).__name__
                self._note("error", "message_malformed", kind=kind, error=str(error))
                joining.lose(f"malformed {kind}", now)

    def _heed(self, message: Message, now: float) -> None:
        if isinstance(message, Tasks):
            self._on_tasks(message, now)
        elif isinstance(message, Recorded):
            self.outbox.recorded(message.number)
            if message.stale:
                self._note("info", "results_stale", tasks=[id for id, _ in pairs(message.stale)])
        elif isinstance(message, Alive):
            self.joining.answered(message.seen)
            self.outbox.heard(message.seen)
            self._named = frozenset()
        elif isinstance(message, Stop):
            unwanted = set(pairs(message.items))
            stale = unwanted & self._named
            self.slots.stop(lambda task: (task[0], task[1]) in stale, Why.STALE, now)
            self.slots.stop(lambda task: (task[0], task[1]) in unwanted, Why.CANCELLED, now)
        elif isinstance(message, Tree):
            try:
                self.guidance.on_tree(message.nodes)
                self._told_others |= self.acceptance.heed(message.nodes)
            except (TypeError, ValueError, AttributeError) as error:
                raise BadMessage(str(error)) from error
        elif isinstance(message, Listen):
            self.slots.listening.want(wanted_lines(message.items))
        elif isinstance(message, Reload):
            self.reload(now, message.order, types_of(message.types))
        elif isinstance(message, Drain):
            self._undo_drain() if message.undo else self._start_drain()
        elif isinstance(message, Reread):
            self.effects.append(ReadAgain())
        elif isinstance(message, Bye):
            self.joining.lose("the supervisor leaves", now, _BYE_SECONDS)

    def on_unsent(self, now: float) -> None:
        """The link did not take a message: nobody is there, or nobody reads."""
        if self.joining.phase is Phase.GREETING:
            self.joining.unreachable("nobody is there", now)
        elif self.joining.phase is Phase.JOINED:
            self.joining.lose("the link takes no more", now)

    def on_closed(self, now: float) -> None:
        """The connection is gone."""
        self.joining.closed(now)

    def on_slot(self, news: SlotNews, now: float) -> None:
        """A slot told something."""
        slot = self.slots.slots.get(news.slot)
        environment = None if slot is None else slot.environment
        never_started = slot is not None and slot.state is SlotState.STARTING and not slot.killed
        other = slot is not None and (slot.outdated or (news.ready or {}).get("other", False))
        self.slots.news(news, now)
        if environment is None or other:  # what it has loaded is not what is to be served
            pass
        elif news.ready is not None:
            if self._reloads.may_serve(slot, environment, news.ready["failed"]):
                self._on_ready(environment, news.ready, now)
            self._end_reload(now)
        elif news.exited is not None and never_started:
            failed = {environment.python or "the host's own Python": str(news.exited.get("message", ""))}
            if self._reloads.may_serve(slot, environment, failed):
                self._on_start_failed(environment, news.slot, news.exited, now)
            self._end_reload(now)
        for id, text in news.lines:
            self._note("info", "task_output", task=id, slot=news.slot, text=text)

    def _on_ready(self, environment: Environment, ready: Mapping[str, Any], now: float) -> None:
        before = self.environments.offer_of(environment)
        self.environments.heard(environment, ready)
        after = self.environments.offer_of(environment)
        self._reloads.heard(before, after)
        self._on_offer(now)

    def reload(self, now: float, order: int = 0, types: Sequence[str] = ()) -> None:
        """Serve the code as it is on the disk now. See `Reloads.begin`."""
        if not self.slots.closed:
            self._reloads.begin(order, types)
            self._end_reload(now)

    def _end_reload(self, now: float) -> None:
        """If all new code is known: say what has changed."""
        done = self._reloads.take_done()
        if done is None:
            return
        for what, reason in done.failed.items():
            self._note("error", "old_code_kept", code=what, reason=reason)
        if not done.failed:
            self._note("info", "code_reloaded", changed=sorted(done.changed))
        if self._join_by == inf:
            self.joining.renew(now)

    def _on_start_failed(self, environment: Environment, slot: int, exited: Mapping[str, Any], now: float) -> None:
        """A slot of an environment cannot start: a reason to be seen, not to hide, unless another soon can."""
        again = not self.slots.started(environment)  # else the slot itself is started again
        if environment == self.environments.base:
            if self._join_by < inf and not self.slots.awaits(environment, but=slot):
                self._join(now)
        elif again or exited["cause"] != "stopped":  # one that was closed says nothing of those that are there
            self.environments.failed(environment, str(exited.get("message", "")), now, again=again)
            self._on_offer(now)

    def _on_offer(self, now: float) -> None:
        """What the slots can run may have changed."""
        offer = self.environments.offer()
        before = self.guidance.brief.offer
        if offer is None:
            return
        self.guidance.on_offer(offer)
        if before is not None and before.same_service(offer):
            return
        known: Mapping[str, str] = {} if before is None else before.failed
        for code, reason in offer.failed.items() - known.items():
            self._note("error", "code_failed_to_load", code=code, reason=reason)
        if self._join_by == inf:
            self.joining.renew(now)
        elif not self.environments.unheard():
            self._join(now)

    def _check_environments(self, environments: Iterable[Environment]) -> None:
        """See what can be run where no slot is."""
        for environment in environments:
            if not self.slots.tells(environment) and not self.slots.closed:
                self.slots.check(environment)

    def _join(self, now: float) -> None:
        self._join_by = inf
        self.joining.connect(now)

    # Tasks.

    def _on_tasks(self, message: Tasks, now: float) -> None:
        policy_of, suspects = self.guidance.policy, self.slots.suspects
        for type, tasks, alone in [tasks_of(group, policy_of, suspects) for group in message.groups]:
            pool = pool_of(type, self.shape)
            if (refusal := self._refusal(type, pool)) is not None:
                code, note = refusal
                self.outbox.returned += [[task[0], task[1], code, 0.0, note, False] for task in (*tasks, *alone)]
            elif pool is not None:
                environment = self.environments.of(type)
                if tasks:
                    self.slots.place(pool, tasks, now, environment)
                for task in alone:
                    self.slots.place_alone(pool, task, now, environment)

    def _refusal(self, type: str, pool: str | None) -> tuple[Returned, str] | None:
        if self.draining:
            return Returned.DRAIN, "the host drains"
        if pool is None:
            return Returned.UNSERVED, "no slots for it here"
        state, note = self.verdicts.get(type, ("", ""))
        return (Returned.UNSERVED, note) if state == FAILED else None

    # The session.

    def _hello(self) -> Hello:
        """The truth of this moment. What was said in the last session and not recorded will be said again."""
        self.outbox.session_over()
        self.slots.listening.over()
        self._claimed = None
        self._told_levels = {}
        self._greetings += 1
        options, offer = self.options, self.guidance.brief.offer or Offer()
        self._named = frozenset(map(key_of, self.slots.in_hand()))
        facts = {
            "slots": dict(self.shape),
            "types": list(offer.types),
            "any": offer.any,
            "serve": list(self.serve),
            "not": list(self.refuse),
            "named": options.named,
            "running": [*map(list, self._named), *(list(key_of(item)) for item in self.outbox.returned)],
            "finished": [list(key_of(item)) for item in self.outbox.results],
            "greeting": self._greetings,
            "pid": options.pid,
            "machine": options.machine,
            "isolation": options.isolation,
            "fingerprints": dict(offer.fingerprints),
            **({"costs": dict(offer.costs)} if offer.costs else {}),
            **({"resources": dict(options.resources)} if options.resources else {}),
            **({"accept": list(self.acceptance.options.accept)} if self.acceptance.options.accept else {}),
            "failed": dict(offer.failed),
        }
        if self._reloads.told:
            facts["reload"] = self._reloads.told
        return Hello("host", [PROTOCOL_VERSION, PROTOCOL_VERSION], options.session, self.name, facts)

    def _welcomed(self, welcome: Welcome, now: float) -> None:
        self.joining.welcomed(welcome, now)
        self.guidance.on_welcome()
        if not self.options.named:
            self.name = welcome.name or self.name
        if self._adapt(welcome.settings):
            self.joining.renew(now)
            return
        offer = self.guidance.brief.offer or Offer()
        running = sum(1 for _ in self.slots.in_hand())
        offered = {"slots": dict(self.shape), "types": list(offer.types), "any": offer.any}
        self._note("info", "host_joined", name=self.name, address=self.options.address, **offered, running=running)

    def _adapt(self, settings: Mapping[str, Any]) -> bool:
        """Take over the supervisor's settings for this host; returns whether HELLO must say so."""
        before = (self.shape, self.serve, self.refuse)
        fixed = self.options.fixed
        slots = settings.get("slots")
        if slots and "slots" not in fixed:
            self._wanted = {str(pool): int(count) for pool, count in slots.items()}
            crowded = self.acceptance.crowded
            places = self.acceptance.places(len(self._wanted))
            if self.acceptance.crowded != crowded:
                self.environments.renew(*places)
                self._told_others = True
            self.shape = self.environments.shape(self._wanted)
        if "serve" in settings and "serve" not in fixed:
            self.serve = tuple(settings["serve"])
        if "not" in settings and "not" not in fixed:
            self.refuse = tuple(settings["not"])
        if before[0] != self.shape and not self.slots.closed:
            self.slots.shape(self.shape)
        return before != (self.shape, self.serve, self.refuse)

    def on_code(self, changed: HostOptions, now: float) -> None:
        """The host's own configuration says to run something else; only that counts of what has changed."""
        self._load_anew(now, greet=self.acceptance.renew(changed))

    def _load_anew(self, now: float, *, greet: bool = False) -> None:
        """Slots load something else than they did, each as it falls idle. `greet`: HELLO must say so."""
        self._told_others = False
        if self.slots.closed:
            return
        before, sources, newest = self.shape, self.acceptance.sources(), self.slots.newest()
        self.environments.renew(*self.acceptance.places(len(self._wanted)))
        if sources != self._accepted:
            self._accepted = sources
            self._note("info", "classes_accepted", types=sorted(sources), without_own_slots=self.acceptance.crowded)
        self.effects.append(LoadAnew(sources))
        self.shape = self.environments.shape(self._wanted)
        self.slots.shape(self.shape)
        self.slots.renew(self.environments.all(), newest)
        self._reloads.again()
        self._check_environments(self.environments.all())
        if greet or before != self.shape:
            self.joining.renew(now)

    # Going.

    def drain(self, now: float, timeout: float | None = None) -> None:
        """Take nothing new, finish what is in hand within `timeout` seconds (None: `drain_timeout`), leave."""
        self._final = self.slots.changed = True
        self._drain_by = now + (self.options.drain_timeout if timeout is None else timeout)
        self._start_drain()

    def stop(self, now: float, error: str | None = None) -> None:
        """Leave now: kill what runs and give it back."""
        if self._stopped:
            return
        self._leaving = self._stopped = self.draining = True
        self._error = error
        self._join_by = self._drain_by = inf
        self._abandon_at = now + _LEAVE_SECONDS  # for the dead to be buried
        self.slots.abandon()
        self._speak(now)
        self.joining.leave()

    def _start_drain(self) -> None:
        if not self.draining:
            self.draining = self.slots.changed = True
            self.guidance.on_drain(True)
            self._note("info", "host_drains", running=sum(1 for _ in self.slots.in_hand()))

    def _undo_drain(self) -> None:
        if self._final:
            self._claimed, self.slots.changed = None, True  # the supervisor is told once more that it leaves
        elif self.draining and not self._leaving:
            self.draining, self.slots.changed = False, True
            self._claimed = None  # the supervisor counts no slot of a host that it has told to drain
            self.guidance.on_drain(False)
            self._note("info", "drain_undone")

    def _leave_when_done(self, now: float) -> None:
        """The last result is recorded, the last return heard (that is asked): say goodbye, and let the slots end."""
        if not self._leaving and self.slots.idle() and self.outbox.unasked(self.joining):
            self._beat(now)
        if not self._leaving and self.slots.idle() and self.outbox.empty():
            self._leaving = True
            self._drain_by, self._abandon_at = inf, now + _LEAVE_SECONDS
            self.joining.leave()
            self.slots.close()
        if self._leaving and not self._left and (not self.slots.slots or now >= self._abandon_at):
            self._left = True
            self._abandon_at = inf
            self.effects.append(Leave(self._error))

    # Time.

    def tick(self, now: float) -> None:
        """Whatever time has brought. Call it after the news of a batch, never before."""
        if now - self.expected > self.joining.heartbeat:
            self.joining.stalled(now - self.expected)
        self.joining.tick(now)
        if now >= self._join_by:
            self._join(now)
        self.cut_off.tick(now)
        if now >= self._drain_by:
            self._drain_by, self._abandon_at = inf, now + 2 * _LEAVE_SECONDS
            self.slots.finish(now)
        self._check_environments(self.environments.take_due(now))
        self.slots.tick(now)
        if self.joining.beat_due(now):
            self._beat(now)
        if now >= self._abandon_at and not self._left:
            self.stop(now)

    def _beat(self, now: float) -> None:
        told = self._told_levels
        news = ((type, verdict) for type, verdict in self.verdicts.items() if told.get(type) != verdict)
        changed = dict(islice(news, _LEVELS_MAX))
        self._told_levels |= changed
        self.joining.beat({type: list(verdict) for type, verdict in changed.items()}, now)
        self.guidance.on_activity(self.slots.in_hand())

    def due(self) -> float:
        """When `tick` must be called at the latest; `inf`: only news matters."""
        waits = (self._join_by, self._drain_by, self._abandon_at)
        speech = min(self.outbox.due(), self.slots.listening.due()) if self.joined() else inf
        return min(self.joining.due(), self.slots.due(), self.cut_off.due(), self.environments.due(), speech, *waits)

    def joined(self) -> bool:
        """Whether the supervisor has welcomed it as it is."""
        return self.joining.phase is Phase.JOINED

    # What follows.

    def take(self, now: float) -> list[HostEffect]:
        """What must be done after a batch of news, in this order."""
        if self._told_others:
            self._load_anew(now)
        self._speak(now)
        if self.draining:
            self._leave_when_done(now)
        self.expected = self.due()
        effects = self.effects.copy()
        self.effects.clear()  # emptied, not replaced: the parts of this core write into it
        return effects

    def _speak(self, now: float) -> None:
        """Claims first, so that what is given back does not come again; then what ended, then tasks to the slots."""
        if self.joining.phase is Phase.JOINED:
            self._claim()
            self.outbox.speak(self.joining, now, self.slots.listen(now))
        self.slots.feed()

    def _claim(self) -> None:
        if not self.slots.changed and self._claimed is not None:
            return
        self.slots.changed = False
        capacity = self.slots.capacity()
        if self.draining:
            capacity = dict.fromkeys(capacity, 0)
        if (claimed := Claim(capacity, self._final, self.slots.start_failed())) != self._claimed:
            self._claimed = claimed
            self.joining.say(claimed)

    def _note(self, level: str, event: str, **fields: Any) -> None:
        self.effects.append(Note(level, event, fields))

    def check_invariants(self) -> None:
        """What must hold between any two batches.

        Raises:
            AssertionError: It does not.
        """
        self.slots.check_invariants()
