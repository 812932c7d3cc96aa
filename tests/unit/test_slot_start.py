"""A slot whose process cannot be started says so, and what to do about it; nothing else ends of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors import slot_start
from workerhost.actors.slot import ProcessSlot, SlotNews, SlotSpec
from workerhost.transport.clock import now
from workerhost.transport.mailbox import Mailbox

SECONDS = 10.0


def exited(mailbox: Mailbox) -> dict[str, Any]:
    """What is told of the end of the only slot."""
    mailbox.wake_at(now() + SECONDS)
    batch: Any = mailbox.get().message
    (news,) = batch.items
    assert isinstance(news, SlotNews)
    assert news.exited is not None
    return news.exited


def test_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slot_start.tempfile, "tempdir", None)
    nowhere = [str(tmp_path / "nowhere")]
    monkeypatch.setattr(slot_start.tempfile, "_candidate_tempdir_list", lambda: nowhere)
    mailbox = Mailbox()
    slot = ProcessSlot(1, SlotSpec(), mailbox)
    slot.start()
    told = exited(mailbox)
    assert (told["cause"], slot.pid) == ("start_failed", 0)
    assert told["message"] == (
        f"No usable temporary directory found in {nowhere}: let this user write to one of them, or set TMPDIR"
    )


CAFE = (os.fsdecode(b"/tasks/caf\xe9"),)


@pytest.mark.parametrize("spec", [SlotSpec(code=CAFE), SlotSpec(paths=CAFE)], ids=["code", "paths"])
def test_with_a_folder_whose_name_is_not_utf_8(spec: SlotSpec) -> None:
    mailbox = Mailbox()
    slot = ProcessSlot(1, spec, mailbox)
    slot.start()
    told = exited(mailbox)
    assert (told["cause"], slot.pid) == ("start_failed", 0)
    assert told["message"] == r"'/tasks/caf\udce9' is not UTF-8: give that file or folder another name"
