"""Spotify's accounts service and Web API, as far as tracks and playlists go, played from its documented contract.

Client credentials flow; GET /tracks/{id}, /playlists/{id} and /playlists/{id}/items with the parameters that the
reference names, and a bearer token that was given out here and is still good.
"""

from __future__ import annotations

import base64
import itertools
import re
import time
from typing import Any, Final
from urllib.parse import parse_qs

from played_service import Answer, PlayedService, Request

ID: Final = r"(?P<id>[0-9A-Za-z]{22})"
PATHS: Final = {
    rf"/v1/tracks/{ID}": ("track", {"market"}),
    rf"/v1/playlists/{ID}": ("playlist", {"market", "fields", "additional_types"}),
    rf"/v1/playlists/{ID}/items": ("items", {"market", "fields", "additional_types", "limit", "offset"}),
}
BOUNDS: Final = {"limit": (1, 50), "offset": (0, 10_000)}


def error(status: int, message: str, **headers: str) -> Answer:
    """An error as the Web API sends them."""
    return Answer(
        status,
        {"error": {"status": status, "message": message}},
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


class PlayedSpotify(PlayedService):
    """Attributes:
    client_id, client_secret: The only app that it knows.
    tokens: Those given out and still good -> when each one ends (wall clock).
    lasts: Seconds that a new token is good for.
    tracks, playlists: Id -> resource; a playlist's entries are in `entries`.
    entry_key: The name of the track in an entry: `item`, for older apps `track`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.client_id, self.client_secret = "the-app", "the-secret"
        self.tokens: dict[str, float] = {}
        self.lasts = 3600
        self.tracks: dict[str, dict[str, Any]] = {}
        self.playlists: dict[str, dict[str, Any]] = {}
        self.entries: dict[str, list[dict[str, Any] | None]] = {}
        self.entry_key = "item"
        self._numbers = itertools.count(1)

    def add_track(self, id: str, title: str = "A song") -> dict[str, Any]:
        """A track of 3:05.5."""
        self.tracks[id] = {
            "type": "track",
            "id": id,
            "name": title,
            "artists": [{"id": "a" * 22, "name": "First"}, {"id": "b" * 22, "name": "Second"}],
            "album": {"id": "c" * 22, "name": "The album", "release_date": "1999-12-31"},
            "duration_ms": 185_500,
            "explicit": False,
            "disc_number": 1,
            "track_number": 4,
            "external_ids": {"isrc": "DEA123456789"},
        }
        return self.tracks[id]

    def add_playlist(self, id: str, entries: list[dict[str, Any] | None]) -> None:
        """A playlist with these tracks (None: one that was taken away)."""
        owner = {"id": "owner", "display_name": "The owner"}
        self.playlists[id] = {"id": id, "name": "Songs", "description": "", "snapshot_id": "s1", "owner": owner}
        self.entries[id] = entries

    @property
    def calls(self) -> list[Request]:
        """What was asked of the Web API."""
        return [request for request in self.requests if request.path.startswith("/v1/")]

    def is_played(self, request: Request) -> bool:
        """Errors are those of the Web API; `refuse_tokens` is for the other one."""
        return request.path.startswith("/v1/") or self.refuse_tokens

    refuse_tokens = False
    """Whether `play` is about tokens too."""

    def check(self, request: Request) -> list[str]:
        """By the documentation."""
        if request.path == "/api/token":
            return self._check_token(request)
        if request.method != "GET":
            return ["only GET is played"]
        for pattern, (_, known) in PATHS.items():
            if re.fullmatch(pattern, request.path):
                return _problems_of(request, known)
        return ["there is no such path"]

    def _check_token(self, request: Request) -> list[str]:
        problems = [] if request.method == "POST" and not request.query else ["a token is asked for by POST"]
        if not request.headers.get("authorization", "").startswith("Basic "):
            problems.append("the app's id and secret belong into the header Authorization: Basic")
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            problems.append("the body is a form")
        if parse_qs(request.body) != {"grant_type": ["client_credentials"]}:
            problems.append(f"the body is grant_type=client_credentials, not {request.body}")
        return problems

    def answer(self, request: Request) -> Answer:
        """From what was added."""
        if request.path == "/api/token":
            return self._token(request)
        token = request.headers["authorization"].removeprefix("Bearer ")
        if token not in self.tokens:
            return error(401, "Invalid access token")
        if self.tokens[token] < time.time():
            return error(401, "The access token expired")
        for pattern, (name, _) in PATHS.items():
            if match := re.fullmatch(pattern, request.path):
                found = {"track": self.tracks, "playlist": self.playlists, "items": self.playlists}[name].get(
                    match["id"]
                )
                if found is None:
                    return error(404, "Resource not found")
                return Answer(200, self._items(request, match["id"]) if name == "items" else found)
        raise AssertionError(request.path)

    def _token(self, request: Request) -> Answer:
        sent = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        if sent != f"{self.client_id}:{self.client_secret}":
            return Answer(400, {"error": "invalid_client", "error_description": "Invalid client secret"})
        token = f"token-{next(self._numbers)}"
        self.tokens[token] = time.time() + self.lasts
        return Answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lasts})

    def _items(self, request: Request, id: str) -> dict[str, Any]:
        entries = self.entries[id]
        limit, offset = (
            int(request.query.get(name, [default])[0]) for name, default in (("limit", "20"), ("offset", "0"))
        )
        after = offset + limit
        return {
            "total": len(entries),
            "limit": limit,
            "offset": offset,
            "next": f"{self.address}{request.path}?offset={after}&limit={limit}" if after < len(entries) else None,
            "items": [{"added_at": "2024-01-02T03:04:05Z", self.entry_key: entry} for entry in entries[offset:after]],
        }


def _problems_of(request: Request, known: set[str]) -> list[str]:
    problems = [f"there is no parameter {name}" for name in request.query if name not in known]
    if not request.headers.get("authorization", "").startswith("Bearer "):
        problems.append("there is no bearer token")
    for name, values in request.query.items():
        if len(values) != 1 or not values[0]:
            problems.append(f"{name} is given {len(values)} times, or empty")
        if name in BOUNDS and not (values[0].isdecimal() and BOUNDS[name][0] <= int(values[0]) <= BOUNDS[name][1]):
            problems.append(f"{name}={values[0]} is no whole number from {BOUNDS[name][0]} to {BOUNDS[name][1]}")
    if not re.fullmatch("[A-Z]{2}", request.query.get("market", ["DE"])[0]):
        problems.append("market is a country's two letters")
    if not set(request.query.get("additional_types", ["track"])[0].split(",")) <= {"track", "episode"}:
        problems.append("additional_types are track and episode")
    return problems
