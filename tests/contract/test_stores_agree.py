"""All stores answer alike, whatever a core asks of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from store_rows import HOSTS, LANES, SESSIONS, claim, ended, returned, row, write

from workerhost.actors.core.effects import Agenda, EndedAfter, Ends, Fetch, Persist, Refill, Replay, Where
from workerhost.actors.core.rows import CANCELLED, COMPLETED, FAILED, QUEUED, RUNNING, SCHEDULED
from workerhost.actors.stores.contract import Store
from workerhost.actors.stores.memory import MemoryStore
from workerhost.actors.stores.sqlite import SqliteStore

_PRUNED = -1


@pytest.mark.parametrize("seed", range(6))
def test_all_stores_answer_alike_whatever_happens(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    stores: list[Store] = [SqliteStore(tmp_path / "tasks.db"), MemoryStore()]
    try:
        openings = [store.open() for store in stores]
        for store in stores:
            write(store, lanes=LANES, hosts=HOSTS, sessions=SESSIONS)
        model = Model(chance)
        for _ in range(60):
            step = model.step()
            keep = chance.random() < 0.9
            for store in stores:
                store.begin()
                store.apply(step)
                if keep:
                    store.commit()
                else:
                    store.rollback()
            model.settle(keep)
            answers = [model.questions(store) for store in stores]
            assert answers[0] == answers[1], f"seed {seed}"
        for store in stores:
            store.close()
        openings = [store.open() for store in stores]
        assert openings[0] == openings[1]
    finally:
        for store in stores:
            store.close()


class Model:
    """Makes up steps that a core could ask for, and remembers just enough for that."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tasks: dict[int, tuple[int, int, int]] = {}  # id -> state, fence, attempt
        self.next = self.tasks
        self.saved: set[int] = set()  # those with a checkpoint
        self.next_saved = self.saved
        self.finishes: dict[int, int] = {}
        self.counter = 0

    def _number(self) -> int:
        self.counter += 1
        return self.counter

    def step(self) -> Persist:
        chance, persist = self.chance, Persist()
        self.next, self.next_saved = dict(self.tasks), set(self.saved)
        for id, (state, fence, attempt) in self.tasks.items():
            if state == RUNNING and chance.random() < 0.3:
                persist.checkpoints.append((chance.randbytes(3), id, fence))
                self.next_saved.add(id)
            if state == QUEUED and chance.random() < 0.3:
                grant = self._number()
                persist.claims.append(claim(id, grant, attempt + 1, chance.choice([1, 2]), float(grant)))
                self.next[id] = (RUNNING, grant, attempt + 1)
            elif state == QUEUED and fence and chance.random() < 0.3:
                persist.adoptions.append((chance.choice([1, 2]), id, fence))
                self.next[id] = (RUNNING, fence, attempt)
            elif state in (RUNNING, SCHEDULED) and chance.random() < 0.3:
                to = chance.choice([QUEUED, SCHEDULED])
                due = chance.choice([10.0, 20.0, 30.5]) if to == SCHEDULED else None
                relative, owner = chance.random() < 0.5, chance.choice([0, 1])
                change = returned(id, fence, state=to, due=due, relative=relative, failures=attempt, owner=owner)
                persist.returns.append(change)
                if state == RUNNING:
                    end = (id, attempt, fence, 1, 0, 1.0, 2.0, "lost", chance.choice([None, {"cause": "crash"}]))
                    persist.attempts.append(end)
                self.next[id] = (to, fence, attempt)
            elif state in (RUNNING, QUEUED) and chance.random() < 0.3:
                to, detail = chance.choice([(COMPLETED, None), (FAILED, {"message": "no"}), (CANCELLED, None)])
                started_at = chance.choice([5.0, None])
                self.finishes[id] = self._number()
                finish = ended(id, fence, self.finishes[id], state=to, detail=detail, started_at=started_at)
                persist.finishes.append(finish)
                if id in self.next_saved:
                    persist.cleared.append(id)
                    self.next_saved.discard(id)
                self.next[id] = (to, fence, attempt)
            elif state in (COMPLETED, FAILED, CANCELLED) and chance.random() < 0.1:
                persist.prunes.append((id, self.finishes[id]))
                self.next[id] = (_PRUNED, 0, 0)
            elif state in (FAILED, CANCELLED) and chance.random() < 0.3:
                persist.retries.append((fence + 1, id))
                self.next[id] = (QUEUED, fence + 1, attempt)
        for id in range(len(self.tasks) + 1, len(self.tasks) + 1 + chance.randrange(6)):
            scheduled = {"state": SCHEDULED, "due": 15.0, "relative": True} if chance.random() < 0.3 else {}
            changes: dict[str, Any] = {"priority": chance.randrange(3), "lane": chance.choice([1, 2])}
            tag = chance.choice(["red", "blue"])
            options = chance.choice([None, {"timeout": 3.0}, {"tags": [tag]}])
            persist.tasks.append(row(id, **changes, session=chance.choice([1, 2]), options=options, **scheduled))
            if options and "tags" in options:
                persist.tags.append((tag, id))
            self.next[id] = (SCHEDULED if scheduled else QUEUED, 0, 0)
        self._schedules(persist)
        if chance.random() < 0.1:
            persist.shifts.append(chance.choice([-3.0, 4.0]))
        return persist

    def _schedules(self, persist: Persist) -> None:
        chance = self.chance
        for name in ("hourly", "nightly", "mine"):
            if chance.random() < 0.2:
                ran = chance.choice([None, (chance.randbytes(4), self._number(), 1)])
                plan = {"type": "a", "params": chance.randbytes(3), "every": chance.choice([None, 60.0])}
                source, last, paused = chance.choice(["config", "client"]), chance.random(), chance.random() < 0.5
                persist.schedules.append((name, source, plan, last, paused, len(self.tasks), ran))
            elif chance.random() < 0.1:
                persist.forgotten_schedules.append(name)

    def settle(self, kept: bool) -> None:
        if kept:
            self.tasks, self.saved = self.next, self.next_saved

    def questions(self, store: Store) -> list[Any]:
        every = range(1, len(self.tasks) + 2)
        after = (1, len(self.tasks) // 2)
        return [
            *(store.read(Refill(lane, start, 7)) for lane in (1, 2) for start in (None, after)),
            *(store.read(Agenda(relative, start, 5)) for relative in (True, False) for start in (None, (15.0, 4))),
            *(store.read(EndedAfter(session, after[1], 9)) for session in (0, 1, 2)),
            *(store.read(Replay(session, after[1], 9, 2**30)) for session in (1, 2)),
            store.read(Fetch(tuple(every), "test")),
            store.read(Ends(b"peer", tuple(every), 2**30)),
            store.checkpoints(every),
            *(store.show(id) for id in every),
            *(
                store.tasks(Where(states=states, type=type, tag=tag), 4, before)
                for states in ((), (QUEUED,), (RUNNING,), (FAILED,))
                for type in (None, "audio.probe")
                for tag in (None, "red")
                for before in (None, after[1])
            ),
        ]
