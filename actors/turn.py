"""One turn of a supervisor: the core's effects against the store, in one transaction, until no need is left.

What is to be said is returned, for after the commit. The real supervisor and the simulated one share this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from ..transport.messages import Events, Tasks
from .core.effects import Answer, Backup, Effect, Need, Note, Params, Persist, Reread, Send
from .core.flows.splices import ids_of, spliced, too_large
from .core.pool import Pool
from .stores.contract import Store

Speech = Send | Answer | Backup | Reread | Note


def perform(pool: Pool, store: Store, effects: list[Effect], now: float, wall: float) -> list[Speech]:
    """Write what a step changed before any of its needs is read, and feed rows back until the core needs no more.

    Returns:
        What may be said, in order: all of it is on disk now. Whom a slot or a person waits for comes first.
    """
    needs: deque[Need] = deque()
    speech: list[Speech] = []
    unloaded: list[int] = []
    resumed: list[int] = []
    tables: dict[int, bytes] = {}
    writing = False
    while True:
        for effect in effects:
            if isinstance(effect, Speech):
                speech.append(effect)
                continue
            if not writing:
                store.begin()
                writing = True
            if isinstance(effect, Persist):
                store.apply(effect)
            elif isinstance(effect, Params):
                unloaded += effect.ids
                resumed += effect.resumed
                tables |= effect.spliced
            else:
                needs.append(effect)
        if needs:
            need = needs.popleft()
            effects = pool.feed(need, store.read(need), now, wall)
            continue
        if not unloaded and not resumed:
            break
        params = store.params(unloaded)
        for id, table in tables.items():
            params[id] = spliced(params[id], table, store.results(ids_of(table)))
        large = {id: size for id in tables if too_large(size := len(params[id]))}
        if not large:
            _load(speech, params, store.checkpoints(resumed))
            break
        _leave_out(speech, large)
        for id in large:
            del tables[id]
            unloaded.remove(id)
        effects = pool.outgrown(large, now, wall)
    if writing:
        store.commit()
    return _urgent_first(speech)


def _urgent_first(speech: list[Speech]) -> list[Speech]:
    """Hosts that get tasks, then clients that are told ends, then all others; each peer's messages in their order.

    Whoever is sent something wakes up at once, and on few processors keeps the sender from going on.
    """
    ranks: dict[bytes, int] = {}
    for effect in speech:
        if isinstance(effect, Send):
            kind = type(effect.message)
            if kind is Tasks:
                ranks[effect.peer] = 0
            elif kind is Events:
                ranks.setdefault(effect.peer, 1)
    if ranks and len(speech) > 1:
        speech.sort(key=lambda effect: ranks.get(effect.peer, 2) if isinstance(effect, Send | Answer) else 3)
    return speech


def _leave_out(speech: Iterable[Speech], ids: Collection[int]) -> None:
    """Take tasks out of the TASKS that were to bring them. One that is empty then is said, too: it has a number."""
    for effect in speech:
        if isinstance(effect, Send) and isinstance(effect.message, Tasks):
            for group in effect.message.groups:
                group[1] = [task for task in group[1] if task[0] not in ids]


def _load(speech: Iterable[Speech], params: dict[int, bytes], checkpoints: dict[int, bytes]) -> None:
    """Put what memory does not keep into the TASKS that carry None for it."""
    for effect in speech:
        if isinstance(effect, Send) and isinstance(effect.message, Tasks):
            for _, tasks in effect.message.groups:
                for task in tasks:
                    if task[5] is None:
                        task[5] = params[task[0]]
                    if task[6] is None or "checkpoint" not in task[6]:
                        continue
                    if task[0] in checkpoints:
                        task[6]["checkpoint"] = checkpoints[task[0]]
                    else:  # it was cancelled later in this turn; its host is told that too
                        del task[6]["checkpoint"]
