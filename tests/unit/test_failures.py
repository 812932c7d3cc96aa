"""What kind of failure an exception is, and what a worker says of its own."""

from __future__ import annotations

import errno
import socket
from typing import Any
from urllib.error import URLError

import pytest

from workerhost.workers import ends
from workerhost.workers.errors import KINDS, Fail
from workerhost.workers.failures import kind_of


class _Old(Exception):
    """What asyncio raised before Python 3.11."""


_Old.__name__, _Old.__module__ = "TimeoutError", "asyncio.exceptions"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(), "transient"),
        (BrokenPipeError(), "transient"),
        (TimeoutError(), "transient"),
        (_Old(), "transient"),
        (OSError(errno.ENETUNREACH, "no route"), "transient"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "transient"),
        (URLError(ConnectionRefusedError()), "transient"),
        (MemoryError(), "system"),
        (OSError(errno.ENOSPC, "full"), "system"),
        (OSError(errno.EMFILE, "too many"), "system"),
        (NameError(), "permanent"),
        (ModuleNotFoundError(), "permanent"),
        (IndentationError(), "permanent"),
        (ValueError(), None),
        (TypeError(), None),
        (FileNotFoundError(errno.ENOENT, "no"), None),
        (socket.gaierror(socket.EAI_NONAME, "no such host"), None),
        (URLError("unknown scheme"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_plain_exception_is_classed_where_it_is_certain(error: BaseException, kind: str | None) -> None:
    assert kind_of(error) == kind


def said(error: BaseException) -> dict[str, Any]:
    detail = ends.end_of(error, started=True, cancelled=False, files=()).detail
    assert detail is not None
    return {name: value for name, value in detail.items() if name not in ("traceback", "cause")}


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (Fail("no"), {"retry": False, "kind": "permanent"}),
        (Fail("no", retry=True), {"retry": True}),
        (Fail("no", retry=True, kind="permanent"), {"retry": True, "kind": "permanent"}),
        (Fail("no", kind="transient", after=7), {"kind": "transient", "after": 7.0}),
        (Fail("no", kind="quota", node="video.youtube"), {"kind": "quota", "node": "video.youtube"}),
        (Fail("no", kind="quota", after=1_764_000_000), {"kind": "quota"}),
        (Fail("no", kind="quota", after=float("inf")), {"kind": "quota"}),
        (Fail("no", kind="auth", node=3, after="soon"), {"kind": "auth"}),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_worker_says_what_went_wrong(error: Fail, detail: dict[str, Any]) -> None:
    assert said(error) == {"error_type": "Fail", "message": "no", **detail}


def test_what_nobody_can_class_is_left_to_the_policy_and_a_mistake_is_final() -> None:
    assert said(ValueError("x")) == {"error_type": "ValueError", "message": "x"}
    assert said(NameError("x")) == {"error_type": "NameError", "message": "x", "retry": False, "kind": "permanent"}
    assert said(TimeoutError("x")) == {"error_type": "TimeoutError", "message": "x", "kind": "transient"}


def test_a_kind_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=f"kind 'transent' is not known; use {KINDS[0]}, .* or auth"):
        Fail("no", kind="transent")
