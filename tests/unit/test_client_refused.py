"""How a call ends where the supervisor refuses the client: for good, or for now."""

from __future__ import annotations

import pytest

from workerhost import PoolBusy, PoolRefused, WorkerHostError
from workerhost.transport.access import Access
from workerhost.transport.conversation import Conversation
from workerhost.transport.keys import Home
from workerhost.transport.messages import Refused
from workerhost.transport.waiting import Callee, waiting


@pytest.mark.parametrize(("code", "kind"), [("forbidden", PoolRefused), ("version", PoolRefused), ("quota", PoolBusy)])
def test_a_refusal_for_now_is_told_as_such(code: str, kind: type[WorkerHostError]) -> None:
    conversation = Conversation(bytes(16), "test", 0.0)
    conversation.start(0.0)
    conversation.on_message(0, Refused(code, "the reason"), 0.0)
    access = Access("tcp://127.0.0.1:1", "client", Home.of({}))
    callee = Callee(access, 1.0, conversation, lambda: None)
    with pytest.raises(kind, match="the reason") as told:
        next(waiting(callee, lambda: False, timeout=None, strict=True, refusals=0, blocks=()))
    assert type(told.value) is kind
