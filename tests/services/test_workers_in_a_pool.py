"""The platform workers in a real pool with slots that are processes, and what the page about them promises."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from played_spotify import PlayedSpotify
from played_youtube import PlayedYouTube, error

from workerhost import TaskFailed, WorkerHost
from workerhost.workers.youtube_errors import seconds_until_reset

SECONDS = 30.0
"""Longer than anything here takes; a wait of that length has failed."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "workers.md"
OWN_WORKER = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
OWN_ENTRY = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
CHANNEL = "UC0123456789abcdefghij"


def configured(**workers: dict[str, Any]) -> dict[str, Any]:
    """A pool whose slots are processes, with this tree."""
    names = {name.replace("__", "."): settings for name, settings in workers.items()}
    return {"host": {"slots": 2, "isolation": "process"}, "workers": names}


def test_both_platforms_work_in_one_pool(youtube: PlayedYouTube, spotify: PlayedSpotify) -> None:
    youtube.add_channel(CHANNEL, 60)
    spotify.add_playlist("1" * 22, [spotify.add_track(f"{number:022}") for number in range(3)])
    config = configured(
        video__youtube={"max_concurrent": 2, "timeout": "20s"},
        video__youtube__video={"class": "workerhost.workers.youtube:YouTubeVideoWorker"},
        video__youtube__channel={"class": "workerhost.workers.youtube:YouTubeChannelWorker"},
        audio__spotify__playlist={"class": "workerhost.workers.spotify:SpotifyPlaylistWorker"},
    )
    with WorkerHost(config) as pool:
        channel = pool.client.send("video.youtube.channel", {"handle": "@channel", "limit": 60})
        playlist = pool.client.send("audio.spotify.playlist", {"id": "1" * 22})
        ids = [upload["id"] for upload in channel.result(SECONDS)["uploads"]]
        assert len(ids) == 60
        films = pool.client.send("video.youtube.video", {"ids": ids}).result(SECONDS)
        assert [film["title"] for film in films["videos"]] == [f"Film {number}" for number in range(60)]
        assert len(playlist.result(SECONDS)["tracks"]) == 3
        assert channel.progress.note.endswith(" of 60 uploads")


def test_what_may_pass_is_tried_again_and_what_is_final_is_not(youtube: PlayedYouTube) -> None:
    youtube.add_video("film-00000")
    youtube.play(error(503, "backendError", "Backend Error"), error(429, "rateLimitExceeded", "Fast", Retry_After="0"))
    endpoint = {
        "class": "workerhost.workers.youtube:YouTubeVideoWorker",
        "retry": {"max_attempts": 3, "base": "10ms", "jitter": 0},
    }
    with WorkerHost(configured(video__youtube__video=endpoint)) as pool:
        handle = pool.client.send("video.youtube.video", {"id": "film-00000"})
        assert len(handle.result(SECONDS)["videos"]) == 1
        assert [attempt["outcome"] for attempt in pool.client.show(handle.id)["attempts"]] == [
            "failed",
            "failed",
            "completed",
        ]
        youtube.play(error(403, "forbidden", "Access forbidden."))
        with pytest.raises(TaskFailed, match=r"YouTube: Access forbidden \(HTTP 403, forbidden\)") as caught:
            pool.client.send("video.youtube.video", {"id": "film-00000"}).result(SECONDS)
        assert caught.value.attempts == 1


def test_a_channel_goes_on_at_the_page_where_the_connection_broke(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 130)
    youtube.answers_until(2, error(503, "backendError", "Backend Error"))
    endpoint = {
        "class": "workerhost.workers.youtube:YouTubeChannelWorker",
        "retry": {"max_attempts": 3, "base": "10ms", "jitter": 0},
    }
    with WorkerHost(configured(video__youtube__channel=endpoint)) as pool:
        handle = pool.client.send("video.youtube.channel", {"id": CHANNEL, "limit": 130})
        assert len(handle.result(SECONDS)["uploads"]) == 130
    pages = [request.query.get("pageToken", ["P0"])[0] for request in youtube.requests if "playlistId" in request.query]
    assert pages == ["P0", "P50", "P50", "P100"]


def test_what_a_task_costs_is_taken_from_the_quota_of_its_platform(youtube: PlayedYouTube) -> None:
    youtube.add_channel(CHANNEL, 1)
    config = configured(
        video__youtube={"quota": "3/day"},
        video__youtube__video={"class": "workerhost.workers.youtube:YouTubeVideoWorker"},
        video__youtube__channel={"class": "workerhost.workers.youtube:YouTubeChannelWorker"},
    )
    with WorkerHost(config) as pool:
        assert len(pool.client.send("video.youtube.channel", {"id": CHANNEL}).result(SECONDS)["uploads"]) == 1
        second = pool.client.send("video.youtube.channel", {"id": CHANNEL})  # two of the one unit that is left
        film = pool.client.send("video.youtube.video", {"id": "film-00000"})
        assert len(film.result(SECONDS)["videos"]) == 1
        assert not second.wait(0.2)
        assert second.cancel()
    assert len(youtube.requests) == 3


def test_a_spent_quota_costs_no_attempt_and_the_task_waits_for_the_next_day(youtube: PlayedYouTube) -> None:
    youtube.play(error(403, "quotaExceeded", "You have exceeded your quota."))
    endpoint = {"class": "workerhost.workers.youtube:YouTubeVideoWorker", "retry": {"max_attempts": 1}}
    with WorkerHost(configured(video__youtube__video=endpoint)) as pool:
        before = time.time()
        handle = pool.client.send("video.youtube.video", {"id": "film-00000"})
        while not (attempts := (shown := pool.client.show(handle.id))["attempts"]) or attempts[0]["ended_at"] is None:
            assert not handle.wait(0.05)
            assert time.time() < before + SECONDS
        assert (shown["state"], shown["failures"], attempts[0]["outcome"]) == ("queued", 0, "released")
        until = [reason["until"] for reason in pool.client.why(handle.id)["reasons"] if reason["until"] is not None]
        assert until == [pytest.approx(before + seconds_until_reset(before), abs=SECONDS)]
        assert handle.cancel()


def test_a_worker_of_your_own_as_the_page_shows_it(
    youtube: PlayedYouTube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = OWN_WORKER[OWN_WORKER.index("class ") :].strip().splitlines()
    assert len(body) < 20
    (tmp_path / "comments.py").write_text(OWN_WORKER)
    monkeypatch.chdir(tmp_path)
    youtube.comments["film-00000"] = ["First!", "Nice."]
    with WorkerHost({**configured(), **yaml.safe_load(OWN_ENTRY)}) as pool:
        handle = pool.client.send("video.youtube.comment", {"video": "film-00000"})
        assert handle.result(SECONDS) == ["First!", "Nice."]
    assert youtube.requests[0].query["maxResults"] == ["100"]
