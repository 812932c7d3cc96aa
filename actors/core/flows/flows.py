"""What comes after what: tasks that wait for others, let go, cancelled or kept waiting as those end.

Owns which ends are of interest to anybody and which flows have not ended. The edges themselves are in the store alone:
when a task of interest has ended, those that lead from it are read in the same turn, a bounded number of them, and what
is left over in the next. Everything here can be found anew from the store, so a restart loses nothing: it walks over
all edges once, and until it has, every end is of interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

from ....transport.messages import STATES, Submit
from ..life import moved
from ..opening import Opening
from ..queue import Queue, due_of
from ..reports import shown
from ..rows import CANCELLED, COMPLETED, FINAL, WAITING, Row
from ..step import Peer, Step
from ..unfit import Unfit
from .dependencies import Places, Plan, check_flow, planned
from .edges import CANCEL, GIVEN_UP, OPEN, RUN, WHOLE, Awaited, Dependents, FlowsOf, Gathered, Unmet
from .flow import Flow, Members
from .splices import ids_of, too_large

FLOWS_MAX: Final = 10_000
"""Flows that have not ended."""
FLOWS_EACH_MAX: Final = FLOWS_MAX // 2
"""Those of them that one identity handed in, so that nobody's flood keeps others from theirs."""
_SINGLES_MAX: Final = 100_000
"""Tasks of no flow that others come after; with more of them every end is of interest."""
_TURN_EDGES: Final = 4000
_READ_EDGES: Final = 1000
_READ_ENDS: Final = 500
_UNMET_MAX: Final = 100
OPEN_SECONDS: Final = 600.0
"""A flow of which no further part has come for so long is given up."""
_START: Final = (-(1 << 63), 0)


class Flows:
    """Everything that waits for something else than a slot or a time."""

    def __init__(self, queue: Queue, opening: Opening, now: float) -> None:
        self._queue = queue
        self.members = Members()
        owners = {session: identity for session, identity, _ in opening.shares}  # who has unfinished tasks
        for row, parts in opening.flows:
            self.members.add(Flow.of(row, parts, now, owners.get(row[2], "")))
        self._open = {flow.number for flow in self.members.by_number.values() if flow.stage == OPEN}
        self._singles: set[int] = set()
        self._every = True  # every end is of interest
        self._owed: dict[int, int] = {}  # ended tasks (and flows that are whole, below 0) -> state
        self._past: set[int] = set()  # those of them that may have ended long ago
        self._asked = self._walking = False
        self._cursor = (0, 0)  # in the edges of the first that is owed
        self._walk: tuple[int, int] | None = _START
        self._budget = _TURN_EDGES
        self._touched: dict[Flow, None] = {}
        self._looked_up: list[Flow] = []  # over, and here because something of them is to run once more
        self._returning: dict[int, str] = {}  # the same, and not here yet: their owners

    # In time.

    def start(self) -> Awaited:
        """The first need: what happened unheeded before the supervisor ended."""
        self._walking = True
        return Awaited(_START, _READ_EDGES)

    def wake(self, step: Step) -> None:
        """A new turn: go on with what is left over, and give up flows that never became whole."""
        self._budget = _TURN_EDGES
        for flow in self._looked_up:
            if flow.is_over() and self.members.by_number.get(flow.number) is flow:
                self.members.remove(flow)  # nothing of it runs again
        self._looked_up.clear()
        self._returning.clear()
        if self._walk is not None and not self._walking:
            self._walking = True
            step.needs.append(Awaited(self._walk, _READ_EDGES))
        for number in [n for n in self._open if step.now - self.members.by_number[n].heard > OPEN_SECONDS]:
            flow = self.members.by_number[number]
            self._open.discard(number)
            flow.stage = GIVEN_UP
            self._touched[flow] = None
            self._owed[-number] = CANCELLED
            self._walk_again(flow)
            step.note("warning", "flow_given_up", flow=number, tasks=flow.places.total)

    def next_time(self) -> float:
        """When `wake` has something to do."""
        if self._owed or self._walk is not None:
            return 0.0
        return min((self.members.by_number[n].heard + OPEN_SECONDS for n in self._open), default=inf)

    def settle(self, step: Step) -> None:
        """At the end of a step: what it ended may let others go."""
        if self._every or self._singles or self.members or self._owed:
            least, behind = self.members.span()
            for finish in step.persist.finishes:
                id = finish[9]
                if least <= id < behind or self._every or id in self._singles or id in self._past:
                    self._has_ended(id, finish[0])  # few of them, while flows wait and other tasks end
            for _, id in step.persist.retries:
                if self._owed.pop(id, None) is not None:
                    self._await(id)  # whoever comes after it, as of this turn, waits for its next end
                self._past.discard(id)
                if id == self._cursor[0]:
                    self._cursor = (0, 0)
            self._ask(step)
        if self._touched:
            for flow in self._touched:
                step.persist.flows.append(flow.row(step.wall))
                if flow.is_over():
                    self.members.remove(flow)
            self._touched.clear()

    def holds(self, id: int) -> bool:
        """Whether a task is of a flow that has not ended: it is not forgotten before."""
        return bool(self.members) and self.members.flow_of(id) is not None

    def _has_ended(self, id: int, state: int) -> None:
        flow = self.members.flow_of(id) if self.members else None
        self._past.discard(id)
        if flow is not None:
            flow.ended[state] += 1
            self._touched[flow] = None
            self._owed[id] = state
        elif self._every or id in self._singles:
            self._owed[id] = state

    def _ask(self, step: Step) -> None:
        if self._owed and not self._asked and self._budget > 0:
            self._asked = True
            ends = tuple(sorted(self._owed.items())[:_READ_ENDS])
            step.needs.append(Dependents(ends, self._cursor, min(self._budget, _READ_EDGES)))

    def walked(self, _step: Step, need: Awaited, rows: Sequence[tuple[int, int, int, int | None]]) -> None:
        """Edges of the store, in order: which ends are of interest, and which happened unheeded."""
        self._walking = False
        for after, _task, met, state in rows:
            if met:
                continue
            if after < 0:
                flow = self.members.by_number.get(-after)
                if flow is None or flow.stage != OPEN:
                    self._owed[after] = COMPLETED if flow is None or flow.stage == WHOLE else CANCELLED
            elif state is None or state in FINAL:
                self._owe_past(after, CANCELLED if state is None else state)
            else:
                self._await(after)
        if len(rows) == need.count:
            self._walk = rows[-1][:2]
            return
        self._walk = None
        self._every = len(self._singles) > _SINGLES_MAX

    def _owe_past(self, id: int, state: int) -> None:
        """A task ended, nobody knows when: perhaps somebody had another run once more, to wait for this one, since."""
        if id not in self._owed:
            self._past.add(id)
        self._owed[id] = state

    def _await(self, id: int) -> None:
        """The end of this task is of interest."""
        if not self.members or self.members.flow_of(id) is None:
            self._heed(id)

    def _heed(self, id: int) -> None:
        if len(self._singles) > _SINGLES_MAX:
            self._every = True
        else:
            self._singles.add(id)

    # Ends.

    def resolved(self, step: Step, need: Dependents, rows: Sequence[tuple[int, int, int, int, Any]]) -> None:
        """The edges from ended tasks: each is met, ends its task, or stays open: for a person, or for the next end of a
        task that runs once more since it was asked about.
        """
        self._asked = False
        self._budget -= len(rows)
        states = dict(need.ends)
        again = {id for id, state in need.ends if self._owed.get(id) != state}
        waiting: dict[int, tuple[Row, int, list[tuple[int, int]]]] = {}
        for after, task, policy, open, columns in rows:
            if columns is not None:
                waiting[task] = Row(*columns), open, []
            if task in waiting and after not in again:
                waiting[task][2].append((after, policy))
        kept = again.copy()
        gather: list[tuple[int, tuple[int, ...]]] = []
        for row, open, edges in waiting.values():
            met, bad = self._judged(row, edges, states)
            step.persist.met += [(after, row.id) for after in met]
            if row.state != WAITING:
                continue
            if bad is not None:
                self._cancel(step, row, bad, states[bad])
            elif len(met) < open:
                kept.update(after for after, _ in edges if after not in met)
            elif row.options and "splice" in row.options:
                gather.append((row.id, tuple(ids_of(row.options["splice"]))))
            else:
                self._let_go(step, row)
        self._go_on(need, rows, kept)
        if gather:
            step.needs.append(Gathered(tuple(gather)))

    def _judged(self, row: Row, edges: list[tuple[int, int]], states: dict[int, int]) -> tuple[set[int], int | None]:
        """Which of a task's edges are met, and which other one ends the task."""
        flow = self.members.by_number.get((row.options or {}).get("flow", 0))
        given_up = flow is not None and flow.stage == GIVEN_UP
        met: set[int] = set()
        bad: int | None = None
        for after, policy in edges:
            completed = states[after] == COMPLETED
            if (completed or policy == RUN) and not given_up:
                met.add(after)
            elif given_up or (policy == CANCEL and not (row.fence and after in self._past)):
                bad = after  # unless it runs once more by hand, after that had ended
        return met, bad

    def _go_on(self, need: Dependents, rows: Sequence[Any], kept: set[int]) -> None:
        """What has been read of the edges that are owed. Who is `kept` waiting waits for another end, after a retry."""
        for id in kept:
            self._heed(id)
        last = rows[-1][0] if len(rows) >= need.count else None
        again = last is not None and self._owed.get(last) != dict(need.ends)[last]  # it is read anew at its next end
        self._cursor = (0, 0) if last is None or again else rows[-1][:2]
        for id, state in need.ends:
            if id == last:
                break
            if self._owed.get(id) == state:
                del self._owed[id]
                self._past.discard(id)
            if id not in kept and id != need.cursor[0]:  # of that one some may have been kept before
                self._singles.discard(id)

    def _cancel(self, step: Step, row: Row, after: int, state: int) -> None:
        reason = f"task {after}, which it comes after, is {STATES[state]}"
        if after < 0:
            reason = "its flow was never handed in whole"
        self._queue.finish(step, row, "cancel", {"cause": "dependency", "reason": reason})

    def _let_go(self, step: Step, row: Row) -> None:
        """Nothing holds a task back any more; a delay counts from now."""
        row.due, row.relative = due_of(row.options, step.wall)
        moved(row, "ready" if row.due is None else "later")
        self._queue.back(step, row, WAITING)

    def gathered(self, step: Step, _need: Gathered, rows: Sequence[tuple[tuple[Any, ...], int]]) -> None:
        """Tasks whose params take up results, and how large they become."""
        for columns, size in rows:
            row = Row(*columns)
            if row.state != WAITING:
                continue
            if told := too_large(size):
                self._queue.finish(step, row, "fail", told)
            else:
                self._let_go(step, row)

    # By hand.

    def free(self, step: Step, row: Row) -> bool:
        """A person lets a task go, whatever it waits for."""
        if row.state != WAITING:
            return False
        step.persist.freed.append(row.id)
        self._let_go(step, row)
        return True

    def binds(self, row: Row) -> bool:
        """Whether a task comes after others or belongs to a flow."""
        return row.options is not None and ("edges" in row.options or "flow" in row.options)

    def check_again(self, peer: Peer, rows: Iterable[Row]) -> None:
        """Whether the flows of tasks that are to run once more may come back; those of a client's order are its own.

        Raises:
            Unfit: There are too many that have not ended.
        """
        self._check_count(peer.owner, len(self._gone(rows)))

    def let_in(self, peer: Peer, rows: Iterable[Row]) -> None:
        """These flows will come back in this turn."""
        self._returning.update(dict.fromkeys(self._gone(rows), peer.owner or ""))

    def _gone(self, rows: Iterable[Row]) -> set[int]:
        """The flows of tasks that are over, and come back only if one of these runs once more."""
        numbers = {row.options["flow"] for row in rows if row.options and "flow" in row.options}
        return numbers - self.members.by_number.keys() - self._returning.keys()

    def _check_count(self, owner: str | None, more: int) -> None:
        if not more:
            return
        have = len(self.members) + len(self._returning)
        if have + more > FLOWS_MAX:
            raise Unfit("queue_full", f"the pool has {have} flows that have not ended, and no more")
        own = 0 if not owner else self.members.owned[owner] + list(self._returning.values()).count(owner)
        if owner and own + more > FLOWS_EACH_MAX:
            reason = f"this identity has {own} flows that have not ended, of at most {FLOWS_EACH_MAX}"
            raise Unfit("queue_full", f"{reason}: it may hand in more when some have")

    def retry(self, step: Step, peer: Peer, rows: list[Row], context: Any) -> None:
        """Ask for what must be known before such tasks run once more, because a peer orders it.

        Of flows that are known too: what else happens in this turn may end one before the rows are here.
        """
        if numbers := {row.options["flow"] for row in rows if row.options and "flow" in row.options}:
            step.needs.append(FlowsOf(tuple(sorted(numbers)), peer.owner))
        step.needs.append(Unmet(tuple(row.id for row in rows), _UNMET_MAX, "again", context))

    def known_again(self, step: Step, need: FlowsOf, rows: Sequence[Any]) -> None:
        """Flows one of whose tasks is to run once more: those that had ended come back. A client's are its own."""
        for row, parts in rows:
            self._returning.pop(row[0], None)
            if row[0] not in self.members.by_number:
                self._looked_up.append(Flow.of(row, parts, step.now, need.context or ""))
                self.members.add(self._looked_up[-1])

    def retried(self, step: Step, found: Sequence[tuple[Any, list[tuple[int, int, int | None]]]]) -> list[int]:
        """Run tasks once more, those with open edges when these are met; which those are."""
        again: list[int] = []
        for columns, open in found:
            row = Row(*columns)
            was, flow = row.state, self.members.by_number.get((row.options or {}).get("flow", 0))
            whole = flow is None or flow.stage != OPEN
            gone = [after for after, _, state in open if state is None and (after > 0 or whole)]
            if not self._queue.again(step, row, waits=len(gone) < len(open)):
                continue
            again.append(row.id)
            step.persist.met += [(after, row.id) for after in gone]
            for after, _, state in open:
                if state is not None:
                    self._await(after)
            self._every = self._every or len(open) >= _UNMET_MAX
            if flow is not None:
                flow.stage = WHOLE if whole else OPEN  # of one that was given up, a person takes what there is
                flow.ended[was] -= 1
                self._touched[flow] = None
        return again

    # Sending.

    def plan(self, peer: Peer, message: Submit, count: int, step: Step) -> Plan:
        """What a SUBMIT with dependencies, or of a flow, comes to. Changes nothing.

        Raises:
            Unfit: It cannot be so.
        """
        first = self._queue.last_id + 1
        if message.flow and not count:  # its number is the id of its first task, and is nobody's until there is one
            raise Unfit("invalid", "flow: a part holds at least one task", "flow")
        if not message.flow:
            return planned(message.groups, first, None, 0, gated=False)
        flow = self._flow_for(peer, message.flow, first, step)
        places = Places([*flow.places.parts, (flow.places.total, first, count)])
        plan = planned(message.groups, first, places, flow.number, gated=not message.flow.get("last", True))
        plan.flow = flow
        return plan

    def _flow_for(self, peer: Peer, said: dict[str, Any], first: int, step: Step) -> Flow:
        """The flow of which this is a part; a new one, if it is the first."""
        check_flow(said)
        client, owner = peer.session.number, peer.owner or ""
        number, start = said.get("of", 0), said.get("start", 0)
        if not number:
            self._check_count(owner, 1)
            if start:
                raise Unfit("invalid", "flow: the first part starts at place 0", "flow")
            return Flow(first, said.get("name", ""), client, step.wall, step.now, owner=owner)
        flow = self.members.by_number.get(number)
        if flow is None or flow.session != client or flow.stage != OPEN:
            raise Unfit("invalid", f"flow: this session has no flow {shown(number)} that takes further parts", "flow")
        if start != flow.places.total:
            reason = f"flow: a part starts at place {shown(start)}, the next one is {flow.places.total}"
            raise Unfit("invalid", reason, "flow")
        return flow

    def stored(self, step: Step, plan: Plan, said: dict[str, Any], count: int, states: Mapping[int, int]) -> None:
        """Tasks with dependencies, or of a flow, were stored just now, the last of all.

        Args:
            step: The step that stored them.
            plan: What they came to.
            said: What SUBMIT said of the flow.
            count: How many tasks they are.
            states: Of the tasks that they named by id.
        """
        step.persist.edges += plan.edges
        for id, state in states.items():
            if state in FINAL:
                self._owe_past(id, state)
            else:
                self._await(id)
        flow = plan.flow
        if flow is None:
            return
        part = (flow.places.total, self._queue.last_id - count + 1, count)
        flow.places.parts.append(part)
        flow.heard = step.now
        if flow.number in self.members.by_number:
            self.members.grow(flow, part)
        else:
            self.members.add(flow)
        step.persist.flow_parts.append((flow.number, *part))
        self._touched[flow] = None
        if not said.get("last", True):
            self._open.add(flow.number)
            return
        flow.stage = WHOLE
        if flow.number in self._open:
            self._open.discard(flow.number)
            self._owed[-flow.number] = COMPLETED
            self._walk_again(flow)

    def _walk_again(self, flow: Flow) -> None:
        """No more will come: if some of it ended before (cancelled, say), who came after that was not yet told."""
        if sum(flow.ended.values()):
            self._walk = self._walk or _START
