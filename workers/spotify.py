"""Work with Spotify through its Web API.

    audio.spotify.track     id (also a link or a URI), market
    audio.spotify.playlist  id (also a link or a URI), market, limit (10000)

The app's `$SPOTIFY_CLIENT_ID` and `$SPOTIFY_CLIENT_SECRET` are on the host, or in files that `$SPOTIFY_CLIENT_ID_FILE`
and `$SPOTIFY_CLIENT_SECRET_FILE` name; `$WORKERHOST_SPOTIFY_URL` and `$WORKERHOST_SPOTIFY_TOKEN_URL` name other
addresses than Spotify's. What the service's errors mean stands in `spotify_errors`. Needs the extra `spotify`
(spotipy), which is imported when a task runs, so that this module loads without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, cast

from .errors import plain
from .options import Options
from .service import ServiceWorker, address, secret
from .spotify_errors import fail_of, fail_of_token
from .task import Task

API: Final = "https://api.spotify.com/v1"
TOKENS: Final = "https://accounts.spotify.com/api/token"
ITEMS_PER_CALL: Final = 50
ITEMS_MAX: Final = 10_000
"""What a playlist can hold."""
FIELDS: Final = "id,name,description,snapshot_id,owner(id,display_name)"
"""Of a playlist; its entries come page by page."""


class SpotifyWorker(ServiceWorker):
    """The platform: the app's token, renewed when it ends, and the client. Endpoints extend it with `execute`."""

    type = "audio.spotify"
    service = "Spotify"
    module, extra = "spotipy", "spotify"
    secrets = ("SPOTIFY_CLIENT_ID", "SPOTIFY_CLIENT_SECRET")
    _client: Any = None

    def call(self, method: str, *args: Any, **params: Any) -> dict[str, Any]:
        """Call a method of spotipy's client once; once more with a new token where Spotify no longer takes the old one.

        Args:
            method: Such as `track`.
            args: What the method takes.
            params: What the method takes.

        Returns:
            The answer.

        Raises:
            Fail: The service refused, or gave no whole answer; its `kind` says what follows from that.
        """
        client = self._client or self._connect()
        spotipy: Any = importlib.import_module("spotipy")
        bound: Callable[..., Any] = getattr(client, method)
        for token_is_new in (False, True):
            try:
                answer = bound(*args, **params)
            except spotipy.SpotifyException as error:
                if error.http_status == 401 and not token_is_new:
                    client.auth_manager.cache_handler.save_token_to_cache(None)
                    continue
                raise fail_of(error.http_status, error.headers, error.msg) from None
            except spotipy.SpotifyOauthError as error:
                raise fail_of_token(error) from None
            except importlib.import_module("requests").Timeout:
                raise self.said_nothing(f"no answer within {self.answer_within:g} s") from None
            except OSError as error:  # all errors of requests are
                raise self.said_nothing(f"the connection broke ({type(error).__name__})") from None
            if not isinstance(answer, dict):
                raise self.said_nothing("its answer is not what the API promises")
            return cast("dict[str, Any]", answer)
        raise AssertionError("unreachable: the second round returns or raises")

    def _connect(self) -> Any:
        """The service's client; no call is made."""
        self.need_library()
        id, code = (secret(name) for name in self.secrets)
        place, tokens = address("WORKERHOST_SPOTIFY_URL", API), address("WORKERHOST_SPOTIFY_TOKEN_URL", TOKENS)
        spotipy: Any = importlib.import_module("spotipy")
        memory = importlib.import_module("spotipy.cache_handler").MemoryCacheHandler()
        manager = spotipy.SpotifyClientCredentials(id, code, requests_timeout=self.answer_within, cache_handler=memory)
        manager.OAUTH_TOKEN_URL = tokens
        # A session of our own has no retries: spotipy's would hide Retry-After, and when to try again is the pool's
        # business.
        session = importlib.import_module("requests").Session()
        self._client = spotipy.Spotify(
            auth_manager=manager, requests_session=session, requests_timeout=self.answer_within
        )
        self._client.prefix = f"{place}/"
        return self._client


class SpotifyTrackWorker(SpotifyWorker):
    """Metadata of a track: `{id, title, artists, album, duration, ...}`. One call."""

    type = "audio.spotify.track"

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A track that does not exist is a permanent failure."""
        options = Options(task, ["id", "market"])
        return track_of(self.call("track", needed(options), market=market_of(options)))


class SpotifyPlaylistWorker(SpotifyWorker):
    """A playlist and its tracks in order: `{id, title, ..., total, tracks: [...]}`.

    One call for the playlist and one for each 50 entries. What is no track (an episode, one taken away) is left out.
    """

    type = "audio.spotify.playlist"

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A playlist that does not exist, or is not shown to this app, is a permanent failure."""
        options = Options(task, ["id", "market", "limit"])
        id, market = needed(options), market_of(options)
        limit = options.whole("limit", ITEMS_MAX, 0, ITEMS_MAX)
        playlist = self.call("playlist", id, fields=FIELDS, market=market)
        tracks: list[dict[str, Any]] = []
        total = limit
        for offset in range(0, limit, ITEMS_PER_CALL):
            size = min(ITEMS_PER_CALL, limit - offset)
            page = self.call(
                "playlist_items", id, limit=size, offset=offset, market=market, additional_types=("track",)
            )
            entries: list[dict[str, Any]] = page.get("items") or []
            total = int(page.get("total") or 0)
            tracks.extend(entry for entry in map(entry_of, entries) if entry is not None)
            done, all = offset + len(entries), min(limit, total)
            self.report_progress(min(1.0, done / all) if all else 1.0, f"{done} of {all} entries")
            if self.cancelled:
                return {}
            if not entries or not page.get("next"):
                break
        owner: dict[str, Any] = playlist.get("owner") or {}
        return {
            "id": playlist.get("id"),
            "title": playlist.get("name"),
            "description": playlist.get("description"),
            "owner": owner.get("display_name") or owner.get("id"),
            "snapshot": playlist.get("snapshot_id"),
            "total": total if limit else None,
            "tracks": tracks,
        }


def track_of(item: dict[str, Any]) -> dict[str, Any]:
    """A track of the API as its metadata, in the words of the media workers: `duration` in seconds."""
    ids: dict[str, Any] = item.get("external_ids") or {}
    album: dict[str, Any] = item.get("album") or {}
    return {
        "id": item.get("id"),
        "title": item.get("name"),
        "artists": [artist.get("name") for artist in item.get("artists") or ()],
        "album": album.get("name"),
        "album_id": album.get("id"),
        "released": album.get("release_date"),
        "duration": round((item.get("duration_ms") or 0) / 1000, 3),
        "explicit": bool(item.get("explicit")),
        "disc": item.get("disc_number"),
        "number": item.get("track_number"),
        "isrc": ids.get("isrc"),
        "playable": item.get("is_playable"),
    }


def entry_of(entry: dict[str, Any]) -> dict[str, Any] | None:
    """An entry of a playlist, or None if it is no track. The track is in `item`, for older apps in `track`."""
    item: dict[str, Any] = entry.get("item") or entry.get("track") or {}
    if item.get("type", "track") != "track" or not item.get("name"):
        return None
    artists = [artist.get("name") for artist in item.get("artists") or ()]
    return {
        "id": item.get("id"),  # None: a file of the owner's own
        "title": item.get("name"),
        "artists": artists,
        "duration": round((item.get("duration_ms") or 0) / 1000, 3),
        "added_at": entry.get("added_at"),
    }


def needed(options: Options) -> str:
    """The required parameter `id`."""
    id = options.text("id")
    if id is None:
        raise options.wrong("the parameter id is missing; an id, a link or a URI of Spotify")
    return id


def market_of(options: Options) -> str | None:
    """The parameter `market`: a country whose catalogue is meant."""
    market = options.text("market")
    if market is not None and not (len(market) == 2 and market.isascii() and market.isalpha() and market.isupper()):
        raise options.wrong(f"market must be a country's two letters, such as DE; got {plain(market, 40)}")
    return market
