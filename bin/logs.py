"""Sets up structlog for the programs: lines for a person who looks, JSON for everything else, to stderr; and JSON lines
to a file, if the configuration names one.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from ..workers.redaction import redacted
from .log_file import LogFile

if TYPE_CHECKING:
    from ..config.log_settings import LoggingSettings

_JSON: Final = structlog.processors.JSONRenderer(default=str)
_UTC: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)


def set_up_as(settings: LoggingSettings, **bound: Any) -> None:
    """Configure logging for this process as the configuration says.

    Args:
        settings: Its `logging:`.
        **bound: Fields that every line carries, such as `process="host"`.
    """
    file = LogFile(settings.file, settings.max_bytes, settings.backup_count) if settings.file is not None else None
    set_up(settings.level, settings.format, file=file, **bound)


def set_up(
    level: str = "INFO", form: str = "auto", stream: TextIO | None = None, file: LogFile | None = None, **bound: Any
) -> None:
    """Configure logging for this process.

    Args:
        level: The least level that is written: DEBUG, INFO, WARNING or ERROR.
        form: `console`, `json`, or `auto`: console if `stream` is a terminal.
        stream: Where to (default: stderr).
        file: Where every line goes as JSON, too.
        **bound: Fields that every line carries, such as `process="host"`.
    """
    out = stream if stream is not None else sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    finish: list[Any]
    if console:
        finish = [structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=24, sort_keys=False)]
    else:
        finish = [structlog.processors.format_exc_info, _JSON]
    structlog.configure(
        processors=[
            _bind(bound),
            _redact,
            structlog.processors.add_log_level,
            *([_copy_to(file)] if file is not None else []),
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if console else _UTC,
            *finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def _copy_to(file: LogFile) -> structlog.types.Processor:
    """A processor that writes each event as a line of JSON, and hands it on as it was."""

    def copy(logger: Any, name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        line: Any = _UTC(logger, name, dict(event))
        line = _JSON(logger, name, structlog.processors.format_exc_info(logger, name, line))
        file.write(f"{line}\n")
        return event

    return copy


def _redact(_logger: Any, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """What looks like a secret is not written."""
    return redacted(event)


def _bind(fields: dict[str, Any]) -> structlog.types.Processor:
    """A processor that adds the same fields in every thread (context variables are per thread)."""

    def add(_logger: Any, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        return {**fields, **event}

    return add
