"""Which worker of a pool runs a task: the most specific that takes it, else the level above, one without type last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workerhost import BaseWorker, Task, WorkerHost


class Anything(BaseWorker):
    """A worker without type: it is asked when nobody else takes a task."""

    def can_handle(self, task: Task) -> bool:
        return task.params != "nobody"

    def execute(self, task: Task) -> str:
        return "without type"


class Video(BaseWorker):
    """The media level: it takes whatever lies below it and is not left to others."""

    type = "video"

    def can_handle(self, task: Task) -> bool:
        return task.params not in ("anything", "nobody")

    def execute(self, task: Task) -> str:
        return "media"


class YouTube(BaseWorker):
    """The platform."""

    type = "video.youtube"

    def can_handle(self, task: Task) -> bool:
        return task.params in ("platform", "endpoint")

    def execute(self, task: Task) -> str:
        return "platform"


class Channel(BaseWorker):
    """The endpoint."""

    type = "video.youtube.channel"

    def can_handle(self, task: Task) -> bool:
        return task.params == "endpoint"

    def execute(self, task: Task) -> str:
        return "endpoint"


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_the_most_specific_worker_that_takes_a_task_runs_it_and_what_nobody_takes_waits(
    isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # where a slot's process finds this file
    config = {"host": {"isolation": isolation, "slots": 1}}
    with WorkerHost(config, workers=[Anything, Video, YouTube, Channel]) as pool:
        expected = {
            ("video.youtube.channel", "endpoint"): "endpoint",
            ("video.youtube.channel", "platform"): "platform",
            ("video.youtube.channel", "media"): "media",
            ("video.youtube.channel", "anything"): "without type",
            ("video.youtube.playlist", "endpoint"): "platform",
            ("video.vimeo.channel", "platform"): "media",
            ("audio.cut", "media"): "without type",
        }
        handles: dict[Any, Any] = {key: pool.client.send(*key) for key in expected}
        assert {key: handle.result(timeout=30) for key, handle in handles.items()} == expected

        odd = pool.client.send("video.youtube.channel", "nobody")
        after = pool.client.send("video.youtube.channel", "endpoint")
        assert after.result(timeout=30) == "endpoint", "it is in nobody's way"
        (note,) = pool.client.status()["notes"]
        assert note.startswith("1 of video.youtube.channel wait for another host or new code; declined once")
        assert "Channel" in note
        assert "cannot handle it" in note
        assert odd.cancel()
