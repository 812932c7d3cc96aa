"""What the workers of a web service share: the service's library, its secrets, its address, how long an answer takes.

A platform worker extends `ServiceWorker` and says what the service's answers mean; its endpoint workers extend that.
Secrets come from the environment of the host (or from a file named there), never from a task: params are stored, shown
and sent about. Nothing here speaks HTTP; the service's own library does.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from .base import BaseWorker
from .errors import Fail, plain

RETRY_AFTER_MAX: Final = 86_400.0
"""A service may ask for a day at most; what is longer is taken for a slip."""

TEXT_CHARACTERS_MAX: Final = 300
_TAG: Final = re.compile(r"<[^<>]{1,200}>")


class ServiceWorker(BaseWorker):
    """A worker that talks to one web service through a library. Serves nothing by itself.

    Attributes:
        service: The service's name, in messages.
        module: The module of its client that is needed.
        extra: The extra of this package that installs it.
        secrets: The environment variables that hold the service's secrets; NAME_FILE may name a file instead.
        answer_within: Seconds of silence after which a call is given up.
    """

    service: ClassVar[str] = ""
    module: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    secrets: ClassVar[tuple[str, ...]] = ()
    answer_within: ClassVar[float] = 20.0

    def health_check(self) -> bool:
        """Whether this host has the library and the secrets. Asks the service nothing.

        Raises:
            Fail: It has not; the message says what to do.
        """
        self.need_library()
        for name in self.secrets:
            secret(name)
        return True

    def need_library(self) -> None:
        """Make sure that the library is there, without importing it.

        Raises:
            Fail: It is not; the message says what to install.
        """
        try:
            found = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            cure = f"pip install 'workerhost[{self.extra}]'"
            raise Fail(f"{type(self).__name__} needs {self.module}: {cure}", kind="configuration")

    def said_nothing(self, reason: str) -> Fail:
        """The error for a call that got no whole answer: it may go better at the next try."""
        return Fail(f"{self.service}: {reason}", kind="transient")


def secret(name: str) -> str:
    """A secret of this host: the environment variable `name`, or what is in the file that `name`_FILE names.

    Raises:
        Fail: There is none.
    """
    value, place = os.environ.get(name, "").strip(), f"${name}"
    if not value:
        file = os.environ.get(f"{name}_FILE", "").strip()
        place = file or place
        try:
            value = Path(file).read_text(encoding="utf-8").strip() if file else ""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise Fail(
                f"{plain(file)}, named by ${name}_FILE, cannot be read: {reason}", kind="configuration"
            ) from error
    if not value or not value.isascii() or not value.isprintable():
        what = "is not set on this host" if not value else "holds more than one line, or letters beyond ASCII"
        cure = f"set ${name}, or ${name}_FILE to a file that holds it, and start the host again"
        raise Fail(f"{plain(place)} {what}; {cure}", kind="configuration")
    return value


def address(name: str, default: str) -> str:
    """The service's address: the environment variable `name`, or `default`; without a slash at its end.

    Raises:
        Fail: It is no address.
    """
    value = os.environ.get(name, "").strip() or default
    if not value.startswith(("http://", "https://")):
        raise Fail(
            f"${name}={plain(value, 80)} is no address: it begins with http:// or https://", kind="configuration"
        )
    return value.rstrip("/")


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds that a service asks to be left alone (its header Retry-After: seconds, or a date), or None."""
    text = next((str(value) for name, value in headers.items() if str(name).lower() == "retry-after"), "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX) if math.isfinite(seconds) else None


def text_of(message: Any) -> str:
    """What a service said, fit for a message: without markup, short, on one line."""
    words = " ".join(_TAG.sub("", message if isinstance(message, str) else "").split())
    return plain(words, TEXT_CHARACTERS_MAX).rstrip(".") or "no reason given"
