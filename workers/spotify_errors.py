"""What an error of Spotify's Web API means for a task and for everybody else who uses the same app. Pure.

429            quota, for the Retry-After that came with it: Spotify counts the calls of an app, not of a task, so that
all who use the app sleep, instead of running into it again and again
401, no token  auth: the app's id or secret is wrong, or was withdrawn
408, 5xx       transient
everything else (404, 403 ...)  permanent: this task asks for what it cannot have
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .errors import Fail
from .service import retry_after, text_of

RATE_WINDOW: Final = 30.0
"""Seconds over which Spotify counts an app's calls: how long to wait when it does not say."""

CURE: Final = "; see to $SPOTIFY_CLIENT_ID and $SPOTIFY_CLIENT_SECRET, then resume"


def fail_of(status: int, headers: Mapping[str, Any], message: Any) -> Fail:
    """The failure that an answer of the Web API means.

    Args:
        status: The HTTP status, not 2xx.
        headers: Of the answer.
        message: What the service said; spotipy puts the address on a line of its own before it.
    """
    said = f"Spotify: {text_of(str(message).rpartition(chr(10))[2])} (HTTP {status})"
    if status == 429:
        return Fail(said, kind="quota", after=_pause(headers))
    if status == 401:
        return Fail(said + CURE, kind="auth")
    if status == 408 or status >= 500:
        return Fail(said, kind="transient", after=retry_after(headers))
    if status == 403:
        said += "; an app in development mode sees only playlists of its own users"
    return Fail(said, kind="permanent")


def fail_of_token(error: Any) -> Fail:
    """The failure that the refusal of a token means; spotipy's error knows its status only by what it comes from."""
    response = getattr(error.__context__, "response", None)
    status = int(getattr(response, "status_code", None) or 0)
    said = f"Spotify gives no token: {text_of(error.error_description or error.error)} (HTTP {status})"
    headers: Mapping[str, Any] = getattr(response, "headers", {})
    if status == 429:
        return Fail(said, kind="quota", after=_pause(headers))
    if 400 <= status < 500 and status != 408:
        return Fail(said + CURE, kind="auth")
    return Fail(said, kind="transient", after=retry_after(headers))


def _pause(headers: Mapping[str, Any]) -> float:
    after = retry_after(headers)
    return RATE_WINDOW if after is None else after
