"""The Spotify workers against a played Spotify that holds every request to the documented contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from played_service import CUT_OFF, HUNG_UP, SLOW, Answer
from played_spotify import PlayedSpotify, error

from workerhost.workers import runner, values
from workerhost.workers.registry import Worker, load
from workerhost.workers.runner import Runner
from workerhost.workers.spotify import SpotifyPlaylistWorker, SpotifyTrackWorker
from workerhost.workers.task import Task

TRACK, LIST = "6rqhFgbbKwnb9MLmUQDhG6", "37i9dQZF1DXcBWIGoYBM5M"


class Impatient(SpotifyTrackWorker):
    """Does not wait for long."""

    answer_within = 0.3


def end_of(worker: Worker, **params: Any) -> runner.AttemptEnd:
    return runner.run(worker, Task(1, getattr(worker, "type", ""), params))


def result(worker: Worker, **params: Any) -> Any:
    end = end_of(worker, **params)
    assert end.outcome == 0, end.detail
    return values.unpack(end.body)


def failure(worker: Worker, **params: Any) -> tuple[str, float | None, str]:
    """Kind, after and message."""
    end = end_of(worker, **params)
    assert end.detail is not None, values.unpack(end.body)
    assert end.detail["error_type"] == "Fail", end.detail["traceback"]
    return end.detail.get("kind") or "", end.detail.get("after"), end.detail["message"]


def unheard(attempt: runner.Attempt, fraction: float, note: str) -> None:
    """Progress that nobody asked for."""


class Slot:
    """One slot's workers, which keep their token from task to task."""

    def __init__(self) -> None:
        self._runner = Runner(load("workerhost.workers.spotify"))

    def run(self, type: str, **params: Any) -> runner.AttemptEnd:
        return self._runner.attempt(runner.Attempt(None, unheard, task=Task(1, type, params)))


# Tracks.


@pytest.mark.parametrize(
    "id",
    [
        TRACK,
        f"spotify:track:{TRACK}",
        f"https://open.spotify.com/track/{TRACK}?si=1",
        f"open.spotify.com/intl-de/track/{TRACK}",
    ],
)
def test_metadata_of_a_track(spotify: PlayedSpotify, id: str) -> None:
    spotify.add_track(TRACK, "A <song>")
    assert result(SpotifyTrackWorker, id=id, market="DE") == {
        "id": TRACK,
        "title": "A <song>",
        "artists": ["First", "Second"],
        "album": "The album",
        "album_id": "c" * 22,
        "released": "1999-12-31",
        "duration": 185.5,
        "explicit": False,
        "disc": 1,
        "number": 4,
        "isrc": "DEA123456789",
        "playable": None,
    }
    assert [request.query for request in spotify.calls] == [{"market": ["DE"]}]


def test_what_spotify_no_longer_says_to_newer_apps_is_none(spotify: PlayedSpotify) -> None:
    track = spotify.add_track(TRACK)
    for name in ("external_ids", "album", "artists"):
        del track[name]
    found = result(SpotifyTrackWorker, id=TRACK)
    assert (found["isrc"], found["album"], found["artists"]) == (None, None, [])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "audio.spotify.track: the parameter id is missing; an id, a link or a URI of Spotify"),
        ({"id": f"spotify:album:{TRACK}"}, "Spotify: Unexpected Spotify URI type (HTTP 400)"),
        ({"id": "../me"}, "Spotify: Unsupported URL / URI (HTTP 400)"),
        (
            {"id": TRACK, "market": "Germany"},
            "audio.spotify.track: market must be a country's two letters, such as DE; got Germany",
        ),
        ({"id": TRACK, "token": "x"}, "audio.spotify.track: unknown parameter token; it knows id, market"),
    ],
)
def test_wrong_params_are_named_and_cost_no_call(spotify: PlayedSpotify, params: dict[str, Any], message: str) -> None:
    assert failure(SpotifyTrackWorker, **params)[2] == message
    assert spotify.requests == []


# Playlists.


@pytest.mark.parametrize("key", ["item", "track"])
def test_a_playlist_with_its_tracks_page_by_page(spotify: PlayedSpotify, key: str) -> None:
    spotify.entry_key = key
    tracks: list[dict[str, Any] | None] = [
        spotify.add_track(f"{number:022}", f"Song {number}") for number in range(120)
    ]
    tracks[7] = None
    tracks[8] = {"type": "episode", "id": "e" * 22, "name": "An episode"}
    tracks[9] = {**spotify.tracks[f"{9:022}"], "id": None}  # a file of the owner's own
    spotify.add_playlist(LIST, tracks)
    told: list[tuple[float, str]] = []
    task = Task(1, "audio.spotify.playlist", {"id": f"spotify:playlist:{LIST}"})
    end = runner.run(SpotifyPlaylistWorker, task, on_progress=lambda fraction, note: told.append((fraction, note)))
    playlist = values.unpack(end.body)
    found = playlist.pop("tracks")
    assert playlist == {
        "id": LIST,
        "title": "Songs",
        "description": "",
        "owner": "The owner",
        "snapshot": "s1",
        "total": 120,
    }
    assert [track["title"] for track in found] == [f"Song {number}" for number in range(120) if number not in (7, 8)]
    assert found[0] == {
        "id": f"{0:022}",
        "title": "Song 0",
        "artists": ["First", "Second"],
        "duration": 185.5,
        "added_at": "2024-01-02T03:04:05Z",
    }
    assert found[7]["id"] is None
    assert told == [(50 / 120, "50 of 120 entries"), (100 / 120, "100 of 120 entries"), (1.0, "120 of 120 entries")]
    assert [request.query.get("offset") for request in spotify.calls] == [None, ["0"], ["50"], ["100"]]


def test_a_limit_is_kept_and_saves_calls(spotify: PlayedSpotify) -> None:
    spotify.add_playlist(LIST, [spotify.add_track(f"{number:022}") for number in range(120)])
    assert len(result(SpotifyPlaylistWorker, id=LIST, limit=60)["tracks"]) == 60
    assert [request.query.get("limit") for request in spotify.calls] == [None, ["50"], ["10"]]


def test_an_empty_playlist_and_one_that_is_not_there(spotify: PlayedSpotify) -> None:
    spotify.add_playlist(LIST, [])
    assert result(SpotifyPlaylistWorker, id=LIST)["tracks"] == []
    assert failure(SpotifyPlaylistWorker, id="0" * 22) == ("permanent", None, "Spotify: Resource not found (HTTP 404)")


# Tokens.


def test_a_token_serves_many_tasks_and_is_renewed_before_it_ends(spotify: PlayedSpotify) -> None:
    spotify.add_track(TRACK)
    slot = Slot()
    for _ in range(3):
        assert slot.run("audio.spotify.track", id=TRACK).outcome == 0
    assert len(spotify.tokens) == 1
    spotify.lasts = 30  # spotipy takes no token that ends within a minute
    slot = Slot()
    for _ in range(3):
        assert slot.run("audio.spotify.track", id=TRACK).outcome == 0
    assert len(spotify.tokens) == 4


def test_a_token_that_spotify_takes_back_is_renewed_once(spotify: PlayedSpotify) -> None:
    spotify.add_track(TRACK)
    slot = Slot()
    assert slot.run("audio.spotify.track", id=TRACK).outcome == 0
    spotify.tokens.clear()
    assert slot.run("audio.spotify.track", id=TRACK).outcome == 0
    assert len([request for request in spotify.requests if request.path == "/api/token"]) == 2


def test_an_app_that_spotify_no_longer_knows_is_told(spotify: PlayedSpotify) -> None:
    spotify.client_secret = "another"
    kind, after, message = failure(SpotifyTrackWorker, id=TRACK)
    assert (kind, after) == ("auth", None)
    assert message == (
        "Spotify gives no token: Invalid client secret (HTTP 400); "
        "see to $SPOTIFY_CLIENT_ID and $SPOTIFY_CLIENT_SECRET, then resume"
    )
    assert spotify.calls == []


def test_an_accounts_service_in_trouble_is_not_the_apps_fault(spotify: PlayedSpotify) -> None:
    spotify.refuse_tokens = True
    spotify.play(
        Answer(503, {"error": "server_error", "error_description": "Try later"}, {"Retry-After": "4"}),
        Answer(429, {"error": "too_many"}, {"Retry-After": "6"}),
        CUT_OFF,
        SLOW,
    )
    assert failure(Impatient, id=TRACK)[:2] == ("transient", 4.0)
    assert failure(Impatient, id=TRACK)[:2] == ("quota", 6.0)
    assert failure(Impatient, id=TRACK)[:2] == ("transient", None)
    assert failure(Impatient, id=TRACK) == ("transient", None, "Spotify: no answer within 0.3 s")


# What the service's errors mean.


@pytest.mark.parametrize(
    ("answer", "kind", "after"),
    [
        (error(429, "API rate limit exceeded", Retry_After="17"), "quota", 17.0),
        (error(429, "API rate limit exceeded"), "quota", 30.0),
        (Answer(429, b"Too many requests", {"Retry-After": "3"}), "quota", 3.0),
        (error(403, "Forbidden"), "permanent", None),
        (error(404, "Resource not found"), "permanent", None),
        (error(400, "Invalid base62 id"), "permanent", None),
        (error(500, "Server error"), "transient", None),
        (error(503, "Service unavailable", Retry_After="5"), "transient", 5.0),
        (Answer(502, b"<html>Bad Gateway</html>"), "transient", None),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Answer) else str(value),
)
def test_every_error_is_told_for_what_it_is(
    spotify: PlayedSpotify, answer: Answer, kind: str, after: float | None
) -> None:
    spotify.play(answer)
    found_kind, found_after, message = failure(SpotifyTrackWorker, id=TRACK)
    assert (found_kind, found_after) == (kind, after)
    assert f"(HTTP {answer.status})" in message
    assert spotify.address not in message
    assert len(spotify.calls) == 1, "when to try again is the pool's business"


def test_two_refusals_in_a_row_are_a_matter_of_the_app(spotify: PlayedSpotify) -> None:
    spotify.play(error(401, "Invalid access token"), error(401, "Invalid access token"))
    assert failure(SpotifyTrackWorker, id=TRACK)[0] == "auth"
    assert len(spotify.calls) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (SLOW, "no answer within 0.3 s"),
        (CUT_OFF, "the connection broke (ChunkedEncodingError)"),
        (HUNG_UP, "the connection broke (ConnectionError)"),
        (Answer(200, b"<html>Log in to the hotel</html>"), "its answer is not what the API promises"),
        (Answer(200, ["a"]), "its answer is not what the API promises"),
    ],
    ids=["slow", "cut off", "hung up", "no JSON", "odd JSON"],
)
def test_a_call_without_a_whole_answer_is_tried_again(spotify: PlayedSpotify, answer: Answer, reason: str) -> None:
    spotify.play(answer)
    assert failure(Impatient, id=TRACK) == ("transient", None, f"Spotify: {reason}")


def test_a_service_that_is_gone_is_tried_again(spotify: PlayedSpotify) -> None:
    spotify.close()
    assert failure(Impatient, id=TRACK) == ("transient", None, "Spotify: the connection broke (ConnectionError)")


# What a host has to have.


def test_the_secret_may_be_in_a_file(spotify: PlayedSpotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spotify.add_track(TRACK)
    monkeypatch.delenv("SPOTIFY_CLIENT_SECRET")
    assert failure(SpotifyTrackWorker, id=TRACK)[2] == (
        "$SPOTIFY_CLIENT_SECRET is not set on this host; "
        "set $SPOTIFY_CLIENT_SECRET, or $SPOTIFY_CLIENT_SECRET_FILE to a file that holds it, and start the host again"
    )
    (tmp_path / "secret").write_text(f"{spotify.client_secret}\n")
    monkeypatch.setenv("SPOTIFY_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    assert result(SpotifyTrackWorker, id=TRACK)["id"] == TRACK


def test_nothing_of_the_app_is_left_on_disk(
    spotify: PlayedSpotify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spotify.add_track(TRACK)
    result(SpotifyTrackWorker, id=TRACK)
    assert list(tmp_path.iterdir()) == []
