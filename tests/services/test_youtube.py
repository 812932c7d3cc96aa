"""The YouTube workers against a played YouTube that holds every request to the API's own description."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from played_service import CUT_OFF, HUNG_UP, SLOW, Answer
from played_youtube import PlayedYouTube, error

from workerhost.workers import runner, values
from workerhost.workers.registry import Worker, load
from workerhost.workers.runner import Runner
from workerhost.workers.task import Task
from workerhost.workers.youtube import YouTubeChannelWorker, YouTubeVideoWorker, YouTubeWorker, seconds_of
from workerhost.workers.youtube_errors import fail_of, seconds_until_reset

CHANNEL = "UC0123456789abcdefghij"
COMPLETED = 0


class Impatient(YouTubeVideoWorker):
    """Does not wait for long."""

    answer_within = 0.3


def end_of(worker: Worker, **params: Any) -> runner.AttemptEnd:
    type = getattr(worker, "type", "")
    return runner.run(worker, Task(1, type, params))


def result(worker: Worker, **params: Any) -> Any:
    end = end_of(worker, **params)
    assert end.outcome == COMPLETED, end.detail
    return values.unpack(end.body)


def failure(worker: Worker, **params: Any) -> tuple[str, float | None, str]:
    """Kind, after and message."""
    end = end_of(worker, **params)
    assert end.detail is not None, values.unpack(end.body)
    assert end.detail["error_type"] == "Fail", end.detail["traceback"]
    return end.detail.get("kind") or "", end.detail.get("after"), end.detail["message"]


def unheard(attempt: runner.Attempt, fraction: float, note: str) -> None:
    """Progress that nobody asked for."""


# Videos.


def test_metadata_of_a_video(youtube: PlayedYouTube) -> None:
    youtube.add_video("dQw4w9WgXcQ", "A <film>", commentCount="7")
    assert result(YouTubeVideoWorker, id="dQw4w9WgXcQ") == {
        "videos": [
            {
                "id": "dQw4w9WgXcQ",
                "title": "A <film>",
                "description": "About A <film>",
                "channel": "The channel",
                "channel_id": "UC0123456789abcdefghij",
                "published_at": "2024-05-06T07:08:09Z",
                "live": False,
                "tags": ["one", "two"],
                "duration": 3723,
                "definition": "hd",
                "captions": True,
                "views": 1000,
                "likes": 50,
                "comments": 7,
                "privacy": "public",
                "license": "youtube",
            }
        ],
        "missing": [],
    }


def test_many_videos_are_asked_for_in_batches_of_fifty_and_keep_their_order(youtube: PlayedYouTube) -> None:
    ids = [f"film-{number:05}" for number in range(120)]
    for id in ids:
        youtube.add_video(id)
    wanted = [*reversed(ids), "no-such-film", ids[3]]
    told: list[tuple[float, str]] = []
    task = Task(1, "video.youtube.video", {"ids": wanted})
    end = runner.run(YouTubeVideoWorker, task, on_progress=lambda fraction, note: told.append((fraction, note)))
    found = values.unpack(end.body)
    assert [video["id"] for video in found["videos"]] == ids[::-1]
    assert found["missing"] == ["no-such-film"]
    assert [len(request.query["id"][0].split(",")) for request in youtube.requests] == [50, 50, 21]
    assert told == [(50 / 121, "50 of 121 videos"), (100 / 121, "100 of 121 videos"), (1.0, "121 of 121 videos")]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "video.youtube.video: give either id or ids"),
        ({"id": "a" * 11, "ids": []}, "video.youtube.video: give either id or ids"),
        ({"ids": []}, "video.youtube.video: ids must be a list of 1 to 200 texts; got []"),
        (
            {"ids": ["film-00000", 7]},
            "video.youtube.video: ids must be a list of 1 to 200 texts; got ['film-00000', 7]",
        ),
        ({"id": "a,b"}, "video.youtube.video: a,b is no video's id, such as dQw4w9WgXcQ"),
        ({"key": "AIza"}, "video.youtube.video: unknown parameter key; it knows id, ids"),
    ],
)
def test_wrong_params_are_named_and_cost_no_call(youtube: PlayedYouTube, params: dict[str, Any], message: str) -> None:
    assert failure(YouTubeVideoWorker, **params)[2] == message
    assert youtube.requests == []


# Channels.


def test_a_channel_with_its_uploads_page_by_page(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 130)
    told: list[str] = []
    task = Task(1, "video.youtube.channel", {"handle": "@channel", "limit": 120})
    end = runner.run(YouTubeChannelWorker, task, on_progress=lambda _, note: told.append(note))
    channel = values.unpack(end.body)
    uploads = channel.pop("uploads")
    assert channel == {
        "id": CHANNEL,
        "title": "The channel",
        "description": "Films",
        "handle": "@channel",
        "country": "DE",
        "published_at": "2010-01-02T03:04:05Z",
        "subscribers": 77,
        "videos": 130,
        "views": 12345678901,
        "uploads_playlist": "UU0123456789abcdefghij",
    }
    assert [upload["id"] for upload in uploads] == [f"film-{number:05}" for number in range(120)]
    assert uploads[5] == {"id": "film-00005", "title": "Film 5", "published_at": "2024-05-06T07:08:09Z"}
    assert told == ["50 of 120 uploads", "100 of 120 uploads", "120 of 120 uploads"]
    assert [request.path.rpartition("/")[2] for request in youtube.requests] == ["channels", *["playlistItems"] * 3]


def test_without_a_limit_a_channel_costs_the_two_units_that_it_says(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 300)
    assert len(result(YouTubeChannelWorker, id=CHANNEL)["uploads"]) == 50
    assert len(youtube.requests) == YouTubeChannelWorker.quota_cost == 2


def test_pages_with_gaps_are_read_on_and_an_upload_meanwhile_is_not_counted_twice(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 90)
    playlist = youtube.uploads["UU0123456789abcdefghij"]
    for private in playlist[10:40]:
        del youtube.videos[private]
    playlist[60] = playlist[5]
    ids = [upload["id"] for upload in result(YouTubeChannelWorker, id=CHANNEL, limit=100)["uploads"]]
    assert ids == [film for number, film in enumerate(playlist) if not 10 <= number < 40 and number != 60]


def test_a_next_attempt_goes_on_where_the_last_one_was(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 220)
    saved: list[Any] = []

    def attempt(checkpoint: Any) -> runner.AttemptEnd:
        task = Task(1, "video.youtube.channel", {"id": CHANNEL, "limit": 200}, checkpoint=checkpoint)
        return runner.run(YouTubeChannelWorker, task, on_checkpoint=saved.append)

    youtube.answers_until(4, error(403, "quotaExceeded", "You have exceeded your quota."))
    assert attempt(None).outcome != COMPLETED
    assert [len(one["uploads"]) for one in saved] == [50, 100, 150]
    before = len(youtube.requests)
    end = attempt(saved[-1])
    assert [upload["id"] for upload in values.unpack(end.body)["uploads"]] == [f"film-{n:05}" for n in range(200)]
    assert [request.query.get("pageToken") for request in youtube.requests[before:]] == [["P150"]]


def test_a_page_that_youtube_no_longer_knows_is_no_failure_but_a_new_beginning(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 60)
    youtube.play(error(400, "invalidPageToken", "The request specifies an invalid page token."))
    saved: dict[str, Any] = {
        "channel": {"videos": 60, "uploads_playlist": "UU0123456789abcdefghij"},
        "uploads": [],
        "page": "P50",
    }
    task = Task(1, "video.youtube.channel", {"id": CHANNEL, "limit": 60}, checkpoint=saved)
    end = runner.run(YouTubeChannelWorker, task)
    assert len(values.unpack(end.body)["uploads"]) == 60


def test_more_than_a_checkpoint_holds_is_read_all_the_same(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 1500)
    for film in youtube.videos.values():
        film["snippet"]["title"] = "A long title " * 7
    saved: list[Any] = []
    task = Task(1, "video.youtube.channel", {"id": CHANNEL, "limit": 1500})
    end = runner.run(YouTubeChannelWorker, task, on_checkpoint=saved.append)
    assert len(values.unpack(end.body)["uploads"]) == 1500
    assert 300 < len(saved[-1]["uploads"]) < 1500


def test_a_channel_without_uploads_and_one_that_is_not_there(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 0)
    assert result(YouTubeChannelWorker, id=CHANNEL)["uploads"] == []
    assert failure(YouTubeChannelWorker, handle="@nobody") == (
        "permanent",
        None,
        "YouTube: there is no channel @nobody",
    )


def test_a_channel_is_named_once_and_by_something_that_is_a_name(youtube: PlayedYouTube) -> None:
    for params in ({}, {"id": CHANNEL, "handle": "@channel"}):
        assert (
            failure(YouTubeChannelWorker, **params)[2] == "video.youtube.channel: name the channel by id or by handle"
        )
    assert failure(YouTubeChannelWorker, id="@channel")[2].startswith(
        "video.youtube.channel: @channel is no channel's id"
    )
    assert youtube.requests == []


# What the service's errors mean.


PACIFIC_NOON = datetime(2026, 7, 14, 19, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("answer", "kind", "after"),
    [
        (error(403, "quotaExceeded", 'You have exceeded your <a href="/x">quota</a>.'), "quota", 12 * 3600.0),
        (error(403, "dailyLimitExceeded", "Daily Limit Exceeded."), "quota", 12 * 3600.0),
        (error(403, "rateLimitExceeded", "Too fast.", Retry_After="7"), "transient", 7.0),
        (error(429, "rateLimitExceeded", "Too fast.", Retry_After="9"), "transient", 9.0),
        (error(429, "tooManyRequests", "Too fast."), "transient", None),
        (error(400, "badRequest", "API key not valid.", detail="API_KEY_INVALID"), "auth", None),
        (error(400, "keyInvalid", "Bad Request"), "auth", None),
        (error(401, "authError", "Invalid Credentials"), "auth", None),
        (error(403, "accessNotConfigured", "YouTube Data API has not been used in project 1."), "auth", None),
        (error(403, "forbidden", "Access forbidden."), "permanent", None),
        (error(404, "playlistNotFound", "The playlist cannot be found."), "permanent", None),
        (error(400, "invalidPageToken", "The request specifies an invalid page token."), "permanent", None),
        (error(500, "backendError", "Backend Error"), "transient", None),
        (error(503, "backendError", "Backend Error", Retry_After="30"), "transient", 30.0),
        (Answer(502, b"<html>Bad Gateway</html>"), "transient", None),
        (Answer(403, {"error": "quotaExceeded"}), "permanent", None),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Answer) else str(value),
)
def test_every_error_is_told_for_what_it_is(
    youtube: PlayedYouTube, answer: Answer, kind: str, after: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workerhost.workers.youtube.time.time", lambda: PACIFIC_NOON)
    youtube.play(answer)
    found_kind, found_after, message = failure(YouTubeVideoWorker, id="dQw4w9WgXcQ")
    assert (found_kind, found_after) == (kind, after)
    assert f"(HTTP {answer.status}" in message
    assert "<" not in message
    assert youtube.key not in message
    assert len(youtube.requests) == 1, "when to try again is the pool's business"


def test_a_wrong_key_is_told_from_everything_else(youtube: PlayedYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOUTUBE_API_KEY", "AIza-another-one")
    kind, _, message = failure(YouTubeVideoWorker, id="dQw4w9WgXcQ")
    assert kind == "auth"
    assert message == (
        "YouTube: API key not valid. Please pass a valid API key (HTTP 400, API_KEY_INVALID, badRequest); "
        "see to $YOUTUBE_API_KEY, then resume"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (SLOW, "no answer within 0.3 s"),
        (CUT_OFF, "the connection broke (IncompleteRead)"),
        (Answer(403, ["what", "is", "this"]), "its answer is not what the API promises"),
        (Answer(200, b"<html>Log in to the hotel</html>"), "its answer is not what the API promises"),
    ],
    ids=["slow", "cut off", "odd JSON", "no JSON"],
)
def test_a_call_without_a_whole_answer_is_tried_again(youtube: PlayedYouTube, answer: Answer, reason: str) -> None:
    youtube.play(answer)
    assert failure(Impatient, id="dQw4w9WgXcQ") == ("transient", None, f"YouTube: {reason}")


def test_a_service_that_hangs_up_or_is_gone_is_tried_again(youtube: PlayedYouTube) -> None:
    youtube.play(*[HUNG_UP] * 5)
    kind, _, message = failure(Impatient, id="dQw4w9WgXcQ")
    assert (kind, message) == ("transient", "YouTube: the connection broke (RemoteDisconnected)")
    youtube.close()
    kind, _, message = failure(Impatient, id="dQw4w9WgXcQ")
    assert (kind, message) == ("transient", "YouTube: the connection broke (ConnectionRefusedError)")


def test_one_worker_goes_on_after_an_error(youtube: PlayedYouTube) -> None:
    youtube.add_video("dQw4w9WgXcQ")
    youtube.play(error(500, "backendError", "Backend Error"), CUT_OFF)
    offer = load("workerhost.workers.youtube")
    one = Runner(offer)
    outcomes = [
        one.attempt(runner.Attempt(None, unheard, task=Task(1, "video.youtube.video", {"id": "dQw4w9WgXcQ"}))).outcome
        for _ in range(4)
    ]
    one.close()
    assert outcomes == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        ("2026-07-14T19:00:00+00:00", 12.0),
        ("2026-01-14T08:00:00+00:00", 24.0),
        ("2026-01-14T07:59:00+00:00", 1 / 60),
        ("2026-03-08T08:00:00+00:00", 23.0),  # the day that summer time begins
        ("2026-11-01T07:00:00+00:00", 25.0),  # the day that it ends
    ],
)
def test_the_quota_comes_back_at_midnight_in_california(now: str, hours: float) -> None:
    assert seconds_until_reset(datetime.fromisoformat(now).timestamp()) == pytest.approx(hours * 3600)


def test_a_date_as_retry_after_counts_from_now() -> None:
    wall = datetime.now(UTC).timestamp()
    date = datetime.fromtimestamp(wall + 100, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert fail_of(429, {"retry-after": date}, b"", wall).after == pytest.approx(100, abs=3)
    for nonsense in ("soon", "nan", "inf", ""):
        assert fail_of(429, {"Retry-After": nonsense}, b"", wall).after is None
    assert fail_of(429, {"Retry-After": "1e9"}, b"", wall).after == 86_400
    assert fail_of(429, {"Retry-After": "-5"}, b"", wall).after == 0


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("PT15S", 15), ("PT1H2M3S", 3723), ("P1DT1S", 86_401), ("P2W", 1_209_600), ("", None), (None, None)],
)
def test_durations_become_seconds(duration: str | None, seconds: int | None) -> None:
    assert seconds_of(duration) == seconds


# What a host has to have.


def test_the_key_may_be_in_a_file(youtube: PlayedYouTube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    youtube.add_video("dQw4w9WgXcQ")
    monkeypatch.delenv("YOUTUBE_API_KEY")
    file = tmp_path / "key"
    monkeypatch.setenv("YOUTUBE_API_KEY_FILE", str(file))
    cure = "set $YOUTUBE_API_KEY, or $YOUTUBE_API_KEY_FILE to a file that holds it, and start the host again"
    assert failure(YouTubeVideoWorker, id="dQw4w9WgXcQ") == (
        "configuration",
        None,
        f"{file}, named by $YOUTUBE_API_KEY_FILE, cannot be read: No such file or directory",
    )
    file.write_text("\n")
    assert failure(YouTubeVideoWorker, id="dQw4w9WgXcQ")[2] == f"{file} is not set on this host; {cure}"
    file.write_text(f"{youtube.key}\n")
    assert len(result(YouTubeVideoWorker, id="dQw4w9WgXcQ")["videos"]) == 1


def test_a_host_without_a_key_does_not_offer_the_types(youtube: PlayedYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = load("workerhost.workers.youtube")
    assert sorted(offer.types) == ["video.youtube.channel", "video.youtube.video"]
    assert Runner(offer).health() == {}
    monkeypatch.delenv("YOUTUBE_API_KEY")
    assert set(Runner(offer).health()) == {"video.youtube.channel", "video.youtube.video"}
    assert "$YOUTUBE_API_KEY is not set on this host; " in Runner(offer).health()["video.youtube.video"]


def test_an_address_that_is_none_is_named(youtube: PlayedYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERHOST_YOUTUBE_URL", "localhost:80")
    kind, _, message = failure(YouTubeVideoWorker, id="dQw4w9WgXcQ")
    assert kind == "configuration"
    assert message == "$WORKERHOST_YOUTUBE_URL=localhost:80 is no address: it begins with http:// or https://"


def test_without_the_extra_it_loads_and_says_what_to_install_when_it_is_used() -> None:
    program = """
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("googleapiclient", "httplib2", "spotipy", "requests"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from workerhost.workers.runner import run
from workerhost.workers.spotify import SpotifyTrackWorker
from workerhost.workers.task import Task
from workerhost.workers.youtube import YouTubeVideoWorker
for worker in (YouTubeVideoWorker, SpotifyTrackWorker):
    detail = run(worker, Task(1, worker.type, {"id": "dQw4w9WgXcQ"})).detail
    print(detail["kind"], detail["message"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == [
        "configuration YouTubeVideoWorker needs googleapiclient: pip install 'workerhost[youtube]'",
        "configuration SpotifyTrackWorker needs spotipy: pip install 'workerhost[spotify]'",
    ]


def test_the_platform_serves_nothing_by_itself() -> None:
    found = load("workerhost.workers.youtube:YouTubeWorker")
    assert found.types == {}
    assert YouTubeWorker.type == "video.youtube"
