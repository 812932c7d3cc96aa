"""Sets up structlog for the programs: lines for a person who looks, JSON for everything else, always to stderr."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from ..workers.redaction import redacted


def set_up(level: str = "INFO", form: str = "auto", stream: TextIO | None = None, **bound: Any) -> None:
    """Configure logging for this process.

    Args:
        level: The least level that is written: DEBUG, INFO, WARNING or ERROR.
        form: `console`, `json`, or `auto`: console if `stream` is a terminal.
        stream: Where to (default: stderr).
        **bound: Fields that every line carries, such as `process="host"`.
    """
    out = stream if stream is not None else sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    finish: list[Any]
    if console:
        finish = [structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=24, sort_keys=False)]
    else:
        finish = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    structlog.configure(
        processors=[
            _bind(bound),
            _redact,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            *finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def _redact(_logger: Any, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """What looks like a secret is not written."""
    return redacted(event)


def _bind(fields: dict[str, Any]) -> structlog.types.Processor:
    """A processor that adds the same fields in every thread (context variables are per thread)."""

    def add(_logger: Any, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        return {**fields, **event}

    return add
