"""Where actors write their lines: structlog as the program has set it up; a program that has not hears only warnings.

An embedded pool is a guest in somebody's process, and structlog unconfigured would print everything to their stdout.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import structlog


class Log:
    """One actor's log. `event` is a constant name; everything that varies is a field."""

    def __init__(self, name: str) -> None:
        self._name = name

    def say(self, level: str, event: str, **fields: Any) -> None:
        """One line at a level by its name. Never raises: a line that cannot be written, wherever it goes, is lost."""
        with suppress(Exception):
            if structlog.is_configured():
                getattr(structlog.get_logger(self._name), level)(event, **fields)
                return
            error = fields.pop("exc_info", None)
            text = " ".join([event, *(f"{key}={value!r}" for key, value in fields.items())])
            logging.getLogger(f"workerhost.{self._name}").log(
                logging.getLevelNamesMapping()[level.upper()], text, exc_info=error
            )

    def debug(self, event: str, **fields: Any) -> None:
        """What only somebody who looks for a fault wants to know."""
        self.say("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """What normally happens and a person may want to know."""
        self.say("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What should not happen and was dealt with."""
        self.say("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """What somebody must look at."""
        self.say("error", event, **fields)

    def critical(self, event: str, **fields: Any) -> None:
        """What ended the actor."""
        self.say("critical", event, **fields)
