"""Spares a program of ours what it does not use: the time from its start to its first word is what a restart costs."""

from __future__ import annotations

import sys
from importlib import import_module


def import_structlog() -> None:
    """Import structlog without rich, which it would import for coloured tracebacks: half of the time that all takes.

    For programs of ours alone: a program that embeds a pool has its own ideas of how tracebacks look.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # pyright: ignore[reportArgumentType]  # Python's way to say that it is not there
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]
