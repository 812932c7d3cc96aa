"""The played services notice what the real ones would refuse. A check that finds nothing proves nothing."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest
from played_service import PlayedService
from played_spotify import PlayedSpotify
from played_youtube import PlayedYouTube

TRACK = "/v1/tracks/6rqhFgbbKwnb9MLmUQDhG6"
ITEMS = "/v1/playlists/37i9dQZF1DXcBWIGoYBM5M/items"


def ask(service: PlayedService, path: str, method: str = "GET", body: str = "", **headers: str) -> list[str]:
    """What the service finds wrong with one request."""
    before = len(service.violations)
    connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=5)
    connection.request(method, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    found = [violation.partition(": ")[2] for violation in service.violations[before:]]
    assert (status == 400) == bool(found)
    return found


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("videos?part=snippet&id=a&key=k&alt=json", []),
        ("videos?part=snippet&id=a", ["there is no key"]),
        ("videos?id=a&key=k", ["part is required"]),
        ("videos?part=snippets&id=a&key=k", ["videos has no part snippets"]),
        ("videos?part=snippet&id=a&key=k&idd=b", ["there is no parameter idd"]),
        ("videos?part=snippet&key=k", ["exactly one of ('id', 'chart', 'myRating') is wanted, not []"]),
        (
            "videos?part=snippet&id=a&maxResults=5&key=k",
            ["maxResults and pageToken are not supported together with id"],
        ),
        (f"videos?part=snippet&key=k&id={','.join(['a'] * 51)}", ["51 ids, 50 at most"]),
        ("playlistItems?part=id&playlistId=UU&maxResults=51&key=k", ["maxResults=51 is no whole number from 0 to 50"]),
        ("playlistItems?part=id&playlistId=UU&playlistId=UX&key=k", ["playlistId is given 2 times"]),
        ("videos?part=id&chart=best&key=k", ["chart=best is none of ['chartUnspecified', 'mostPopular']"]),
        ("channels?part=id&mine=1&key=k", ["mine=1 is no boolean"]),
        ("films?part=id&key=k", ["there is no such path"]),
    ],
)
def test_what_youtube_would_refuse(address: str, found: list[str]) -> None:
    pytest.importorskip("googleapiclient", reason="the extra `youtube` is not installed")
    with PlayedYouTube() as service:
        service.key = "k"
        assert ask(service, f"/youtube/v3/{address}") == found


def test_an_answer_that_the_api_does_not_give_is_noticed() -> None:
    pytest.importorskip("googleapiclient", reason="the extra `youtube` is not installed")
    with PlayedYouTube() as service:
        service.add_video("film-00001")
        service.videos["film-00001"]["snippet"]["lenght"] = 7
        service.videos["film-00001"]["statistics"]["viewCount"] = 7
        ask_for = f"/youtube/v3/videos?part=snippet,statistics&id=film-00001&key={service.key}"
        connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=5)
        connection.request("GET", ask_for)
        assert connection.getresponse().status == 200
        connection.close()
        assert service.violations == [
            "the played answer: items.snippet.lenght is no field of VideoSnippet",
            "the played answer: items.statistics.viewCount is no string",
        ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"{TRACK}?market=DE", []),
        (f"{TRACK}?market=de", ["market is a country's two letters"]),
        (f"{TRACK}?country=DE", ["there is no parameter country"]),
        (f"{ITEMS}?limit=50&offset=0&additional_types=track", []),
        (f"{ITEMS}?limit=51", ["limit=51 is no whole number from 1 to 50"]),
        (f"{ITEMS}?additional_types=song", ["additional_types are track and episode"]),
        ("/v1/tracks/short", ["there is no such path"]),
        ("/v1/playlists/37i9dQZF1DXcBWIGoYBM5M/tracks", ["there is no such path"]),
    ],
)
def test_what_spotify_would_refuse(path: str, found: list[str]) -> None:
    with PlayedSpotify() as service:
        assert ask(service, path, Authorization="Bearer x") == found


def test_spotify_wants_a_token_and_gives_one_only_as_documented() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    basic = {"Authorization": "Basic dGhlLWFwcDp0aGUtc2VjcmV0"}
    grant = "grant_type=client_credentials"
    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({"body": grant, **form, **basic}, []),
        ({"body": grant, **form}, ["the app's id and secret belong into the header Authorization: Basic"]),
        ({"body": grant, **basic}, ["the body is a form"]),
        (
            {"body": "grant_type=password", **form, **basic},
            ["the body is grant_type=client_credentials, not grant_type=password"],
        ),
    ]
    with PlayedSpotify() as service:
        assert ask(service, TRACK) == ["there is no bearer token"]
        for arguments, found in wanted:
            assert ask(service, "/api/token", "POST", **arguments) == found
        assert len(service.tokens) == 1
