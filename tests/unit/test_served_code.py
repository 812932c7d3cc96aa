"""Which code slots load while files change: what was served last, and nothing of what came to lie on the disk since."""

from __future__ import annotations

from typing import Any

import pytest
from unit.test_hosting import READY, Host, joined  # pyright: ignore[reportMissingImports]

from workerhost.actors.core.host.host_effects import CloseSlot, Say, Spawn
from workerhost.actors.served_code import ServedCode
from workerhost.actors.slot_news import SlotSpec
from workerhost.transport.messages import Claim
from workerhost.workers.source import Environment


class Slot:
    """As far as `ServedCode` looks at one."""

    def __init__(self, number: int) -> None:
        self.number, self.spec = number, SlotSpec(environment=Environment())


def kept(source: bytes, changed: int = 1) -> dict[str, list[Any]]:
    return {"tasks": ["/tasks.py", changed, len(source), source]}


@pytest.mark.parametrize(
    ("loaded", "may"),
    [
        (kept(b"old"), True),
        (kept(b"old", changed=2), True),
        ({"later": ["/later.py", 1, 1, b"x"]}, True),
        (kept(b"new"), False),
    ],
    ids=["the same", "the same, touched", "something beside", "another"],
)
def test_a_slot_that_has_loaded_other_code_than_the_first_is_known(loaded: dict[str, list[Any]], may: bool) -> None:
    served = ServedCode()
    first: Any = Slot(1)
    second: Any = Slot(2)
    assert served.loaded(first, kept(b"old"), fresh=False)
    assert served.loaded(second, loaded, fresh=False) is may
    assert served.of(Environment(), fresh=False) == kept(b"old")


def test_new_code_is_looked_at_and_may_serve_when_the_core_says_so() -> None:
    served = ServedCode()
    first: Any = Slot(1)
    fresh: Any = Slot(2)
    served.loaded(first, kept(b"old"), fresh=False)
    assert served.loaded(fresh, kept(b"new"), fresh=True)
    assert served.of(Environment(), fresh=False) == kept(b"old")
    served.serve(2)
    assert served.of(Environment(), fresh=False) == kept(b"new")


def test_a_slot_with_other_code_is_replaced_and_its_offer_does_not_count() -> None:
    """A file was changed while the slots of a host were starting, each on its own."""
    host: Host = joined(ready=(1,))
    effects = host.slot(2, ready={**READY, "types": ["text.other"], "other": True})
    assert effects == [CloseSlot(2), Spawn(3, 1)]
    assert host.slot(3, ready=READY) == [Say(2, Claim({"": 2}))]
