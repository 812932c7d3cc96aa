"""What a waiting task waits for, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ....transport.messages import STATES
from ..rows import FINAL
from .edges import WAIT

WAITS_SHOWN: Final = 20
"""Others that are named."""


def waits_for(edges: Sequence[tuple[int, int, int | None]]) -> dict[str, Any]:
    """Why a waiting task does not run, as `Why.explain` says it.

    Args:
        edges: Its open edges (after, policy, state of `after` or None), the first `WAITS_SHOWN` of them.
    """
    others: list[str] = []
    reasons: list[dict[str, Any]] = []
    for after, policy, state in edges:
        if after < 0:
            text = f"its flow {-after} is not whole yet: its sender has not handed in the rest"
            reasons.append(_reason("flow_open", text))
            continue
        word = "gone" if state is None else STATES[state].value
        held = state is not None and state in FINAL and policy == WAIT
        hint = "; a person decides: retry it, or unblock this one" if held else ""
        others.append(f"{after} ({word}{hint})")
    if others:
        more = " and more" if len(edges) >= WAITS_SHOWN else ""
        reasons.append(_reason("waiting", f"waits for {', '.join(others)}{more}"))
    return {"reasons": reasons, "hosts": [], "ahead": None}


def _reason(code: str, text: str) -> dict[str, Any]:
    return {"code": code, "text": text, "until": None}
