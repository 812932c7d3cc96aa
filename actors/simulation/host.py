"""The simulated host: the real host core over invented slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ...transport.codec import decode, encode
from ...transport.messages import Message, Outcome, Returned
from ..core.host.host_effects import (
    CancelSlot,
    CloseSlot,
    Connect,
    Disconnect,
    Feed,
    HostEffect,
    Kill,
    Leave,
    Say,
    SlotTask,
    Spawn,
    Terminate,
)
from ..core.host.host_options import HostOptions
from ..core.host.hosting import HostCore
from ..core.host.stopping import Why
from ..slot_news import SlotNews
from .history import LATER
from .network import Network, Wire
from .oracle import Violation
from .timeline import Clock, Timeline
from .vigil import Executions

_READY_SECONDS = 0.05
_KILL_SECONDS = 0.002
_DECLINE_SECONDS = 0.001
_STUBBORN_CHANCE = 0.5
_SAVING = 3  # one attempt in three saves no checkpoint


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How tasks behave; rates are probabilities per attempt.

    Attributes:
        seconds: Mean duration.
        quick: Mean duration of those types that differ.
        fail, crash, release, deaf: How an attempt ends; a deaf one does not heed a cancel.
    """

    seconds: float = 0.2
    quick: Mapping[str, float] = field(default_factory=dict[str, float])
    fail: float = 0.1
    crash: float = 0.02
    release: float = 0.02
    deaf: float = 0.3


@dataclass(slots=True)
class SimulatedSlot:
    """One invented slot process."""

    number: int
    waiting: deque[SlotTask] = field(default_factory=deque)
    task: SlotTask | None = None
    ready: bool = False
    doomed: bool = False
    life: int = 0


class SimulatedHost:
    """A host process.

    Attributes:
        core: The host's brain, or None while it is down.
        paused: Whether the process is stopped (SIGSTOP).
    """

    def __init__(
        self,
        name: str,
        timeline: Timeline,
        network: Network,
        clock: Clock,
        random: Random,
        behaviour: Behaviour,
        executions: Executions,
        options: dict[str, Any],
        declines: Callable[[int], bool] | None = None,
        worded: Callable[[Message], Message] | None = None,
        stubborn: Random | None = None,
    ) -> None:
        self.name = name
        self._timeline, self._network, self.clock, self._random = timeline, network, clock, random
        self._behaviour, self._options = behaviour, options
        self._executions = executions
        self._declines, self._worded, self._stubborn = declines, worded, stubborn
        self._declined: dict[int, tuple[int, int]] = {}  # since the last HELLO -> how it had fared until then
        self.core: HostCore | None = None
        self.paused = False
        self.left = False
        self._late: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._slots: dict[int, SimulatedSlot] = {}
        self._wire: Wire | None = None
        self._life = 0
        self._wake = 0

    def start(self) -> None:
        """The process comes up with a session of its own."""
        if self.core is not None:
            return
        self._life += 1
        self._timeline.tell(self.name, "starts")
        self._executions.stood_still(self.name, still=False)
        self.paused, self.left = False, False
        self._slots, self._late = {}, []
        session = self._random.randbytes(16)
        options = {key: value for key, value in self._options.items() if key not in ("types", "costs")}
        self.core = HostCore(HostOptions(address="sim", name=self.name, session=session, **options))
        self.core.start(self.clock.now())
        self._done()

    def crash(self) -> None:
        """SIGKILL: the process and its slots are gone."""
        self._timeline.tell(self.name, "is gone")
        self.core = None
        self._life += 1
        self._executions.all_ended(self.name)
        if self._wire is not None:
            self._network.close(self._wire)
            self._wire = None

    def pause(self) -> None:
        """SIGSTOP: what arrives waits."""
        if self.core is not None:
            self._timeline.tell(self.name, "stands still")
            self._executions.stood_still(self.name, still=True)
            self.paused = True

    def crash_slot(self) -> None:
        """One of its slots dies."""
        slots = [slot for slot in self._slots.values() if slot.ready]
        if slots and not self.paused:
            self._die(self._random.choice(slots), 9)

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused:
            self._timeline.tell(self.name, "goes on")
            self._executions.stood_still(self.name, still=False)
            self.paused = False
            late, self._late = self._late, []
            life = self._life
            for event, arguments in late:
                self._happen(life, event, arguments)

    def drain(self) -> None:
        """SIGTERM."""
        if self.core is not None and not self.paused:
            self.core.drain(self.clock.now())
            self._done()

    def _later(self, seconds: float, event: Callable[..., None], *arguments: Any) -> None:
        self._timeline.after(seconds, self._happen, self._life, event, arguments)

    def _happen(self, life: int, event: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if life != self._life or self.core is None:
            return
        if self.paused:
            self._late.append((event, arguments))
        else:
            event(*arguments)

    # The core.

    def _receive(self, wire: Wire, body: bytes) -> None:
        if wire is self._wire and self.core is not None:
            number, message = decode(body)
            self.core.on_message(number, message, self.clock.now())
            self._done()

    def _closed(self, wire: Wire) -> None:
        if wire is self._wire and self.core is not None:
            self.core.on_closed(self.clock.now())
            self._done()

    def _news(self, news: SlotNews) -> None:
        if self.core is not None:
            self.core.on_slot(news, self.clock.now())
            self._done()

    def _timer(self, wake: int) -> None:
        if wake == self._wake:
            self._done()

    def _done(self) -> None:
        """After a batch of news: time, effects, and the next timer."""
        core = self.core
        assert core is not None
        now = self.clock.now()
        core.tick(now)
        for effect in core.take(now):
            self._perform(effect)
            if self.core is not core:
                return
        self._wake += 1
        if (due := core.due()) != float("inf"):
            self._later(self.clock.until(due), self._timer, self._wake)

    def _perform(self, effect: HostEffect) -> None:
        if isinstance(effect, Connect):
            self._connect()
        elif isinstance(effect, Disconnect):
            if self._wire is not None:
                self._network.close(self._wire)
                self._wire = None
        elif isinstance(effect, Say):
            if self._wire is not None:
                message = effect.message if self._worded is None else self._worded(effect.message)
                self._network.up(self._wire, encode(message, effect.number))
        elif isinstance(effect, Spawn):
            self._slots[effect.slot] = slot = SimulatedSlot(effect.slot)
            self._later(_READY_SECONDS, self._ready, slot)
        elif isinstance(effect, Feed):
            self._feed(self._slots[effect.slot], effect.tasks)
        elif isinstance(effect, CancelSlot):
            self._check_cut_off(effect)
            self._cancel(self._slots[effect.slot], effect.id, effect.fence)
        elif isinstance(effect, Terminate | Kill):
            if isinstance(effect, Kill):
                slot = self._slots[effect.slot]
                slot.doomed = True
                if slot.task is not None:
                    self._executions.ended(self.name, slot.task[0], slot.task[1])
            elif self._stubborn is not None and self._stubborn.random() < _STUBBORN_CHANCE:
                return  # it hears nothing, within C code
            self._later(_KILL_SECONDS, self._die, self._slots[effect.slot], 15 if isinstance(effect, Terminate) else 9)
        elif isinstance(effect, CloseSlot):
            self._later(_KILL_SECONDS, self._die, self._slots[effect.slot], None)
        elif isinstance(effect, Leave):
            self.left = True
            self.crash()

    def _check_cut_off(self, effect: CancelSlot) -> None:
        """Guarantee 6: a supervisor that is away ends no attempt before its node's `cut_off`."""
        core = self.core
        assert core is not None
        slot = core.slots.slots[effect.slot]
        key = (effect.id, effect.fence)
        stopping = slot.stopping.get(key)
        if stopping is None or stopping.why is not Why.CUT_OFF:
            return
        limit = core.guidance.policy(slot.tasks[key][2]).cut_off
        alone = self.clock.now() - core.joining.confirmed
        if limit is not None and alone < limit:
            raise Violation(f"{self.name} stopped task {effect.id} after {alone:.1f} s alone, it may go on for {limit}")

    def _connect(self) -> None:
        self._declined.clear()
        if self._wire is not None:
            self._network.close(self._wire)

        def receive(body: bytes) -> None:
            self._later(0.0, self._receive, wire, body)

        def closed() -> None:
            self._later(0.0, self._closed, wire)

        wire = self._wire = self._network.connect(self.name, receive, closed)

    # Slots.

    def _ready(self, slot: SimulatedSlot) -> None:
        slot.ready = True
        types, costs = self._options["types"], self._options.get("costs", {})
        offer: dict[str, Any] = {"types": types, "any": [], "failed": {}, "fingerprints": {}, "costs": costs}
        self._news(SlotNews(slot.number, ready=offer))
        self._next(slot)

    def _feed(self, slot: SimulatedSlot, tasks: list[SlotTask]) -> None:
        slot.waiting.extend(tasks)
        if slot.ready and slot.task is None:
            self._next(slot)

    def _next(self, slot: SimulatedSlot) -> None:
        if slot.task is not None or slot.doomed or not slot.waiting or self._slots.get(slot.number) is not slot:
            return
        slot.task = task = slot.waiting.popleft()
        slot.life += 1
        if self._declines is not None and self._declines(task[0]):
            story = self._executions.story(task[0])
            if self._declined.get(task[0]) == story:
                raise Violation(f"{self.name} was asked about task {task[0]} again, which it has declined")
            self._declined[task[0]] = story
            self._later(_DECLINE_SECONDS, self._decline, slot, slot.life)
            return
        self._executions.began(self.name, task)
        mean = self._behaviour.quick.get(task[2], self._behaviour.seconds)
        duration = self._random.expovariate(1 / mean)
        self._later(duration, self._end, slot, slot.life, duration)
        if self._random.random() < 0.3:
            self._later(duration / 2, self._progress, slot, slot.life)
        if task[1] % _SAVING:
            self._later(duration / 4, self._save, slot, slot.life)
        if slot.waiting and duration > 0.005:
            self._later(0.005, self._hand_back, slot)

    def _decline(self, slot: SimulatedSlot, life: int) -> None:
        task = slot.task
        if task is None or slot.life != life or self._slots.get(slot.number) is not slot:
            return
        slot.task = None
        self._news(SlotNews(slot.number, returned=[[task[0], task[1], Returned.DECLINED, 0.0, "not mine", True]]))
        if self.core is not None:
            self._next(slot)

    def _hand_back(self, slot: SimulatedSlot) -> None:
        returned = [[task[0], task[1], Returned.UNSTARTED, 0.0, "", False] for task in slot.waiting]
        slot.waiting.clear()
        if returned:
            self._news(SlotNews(slot.number, returned=returned))

    def _progress(self, slot: SimulatedSlot, life: int) -> None:
        if slot.task is not None and slot.life == life:
            self._news(SlotNews(slot.number, progress=[[slot.task[0], slot.task[1], 0.5, ""]]))

    def _save(self, slot: SimulatedSlot, life: int) -> None:
        if slot.task is not None and slot.life == life:
            id, fence = slot.task[:2]
            self._news(SlotNews(slot.number, checkpoints=[[id, fence, b"%d" % fence]]))

    def _end(self, slot: SimulatedSlot, life: int, duration: float) -> None:
        task = slot.task
        if task is None or slot.life != life or self._slots.get(slot.number) is not slot:
            return
        chance, behaviour = self._random.random(), self._behaviour
        if chance < behaviour.crash:
            self._die(slot, 11)
            return
        chance -= behaviour.crash
        slot.task = None
        self._executions.ended(self.name, task[0], task[1])
        if chance < behaviour.release:
            news = SlotNews(slot.number, returned=[[task[0], task[1], Returned.RELEASED, 0.0, LATER, True]])
        elif chance - behaviour.release < behaviour.fail:
            detail = {"error_type": "ValueError", "message": "no", "retry": True}
            news = SlotNews(
                slot.number, results=[[task[0], task[1], Outcome.FAILED, b"", duration, slot.number, detail]]
            )
        else:
            body = b"%d" % task[1]
            news = SlotNews(
                slot.number, results=[[task[0], task[1], Outcome.COMPLETED, body, duration, slot.number, None]]
            )
        self._news(news)
        if self.core is not None:
            self._next(slot)

    def _cancel(self, slot: SimulatedSlot, id: int, fence: int) -> None:
        waiting = next((task for task in slot.waiting if task[:2] == (id, fence)), None)
        if waiting is not None:
            slot.waiting.remove(waiting)
            item = [id, fence, Outcome.CANCELLED, b"", 0.0, slot.number, None]
            self._later(0.001, self._news, SlotNews(slot.number, results=[item]))
        elif slot.task is not None and slot.task[:2] == (id, fence) and self._random.random() > self._behaviour.deaf:
            self._later(0.01, self._end, slot, slot.life, 0.01)

    def _die(self, slot: SimulatedSlot, signal: int | None) -> None:
        if self._slots.get(slot.number) is not slot:
            return
        del self._slots[slot.number]
        running = [slot.task[0], slot.task[1]] if slot.task is not None else None
        if running is not None:
            self._executions.ended(self.name, running[0], running[1])
        exited = {
            "signal": signal,
            "exit_code": None if signal else 0,
            "cause": "crash",
            "started": [running] if running else [],
            "memory": 0,
            "message": "",
        }
        slot.task = None
        slot.waiting.clear()
        self._news(SlotNews(slot.number, exited=exited))
