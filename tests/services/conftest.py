"""The services that the platform workers speak to, played by local servers that check every request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are no package: this is how they share the played services
from played_spotify import PlayedSpotify
from played_youtube import PlayedYouTube


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedYouTube]:
    """YouTube, with its address and a key in the environment. A request against its contract fails the test."""
    pytest.importorskip("googleapiclient", reason="the extra `youtube` is not installed")
    with PlayedYouTube() as service:
        monkeypatch.setenv("WORKERHOST_YOUTUBE_URL", service.address)
        monkeypatch.setenv("YOUTUBE_API_KEY", service.key)
        yield service
    assert service.violations == []


@pytest.fixture
def spotify(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedSpotify]:
    """Spotify, with its addresses and an app in the environment. A request against its contract fails the test."""
    pytest.importorskip("spotipy", reason="the extra `spotify` is not installed")
    with PlayedSpotify() as service:
        monkeypatch.setenv("WORKERHOST_SPOTIFY_URL", f"{service.address}/v1")
        monkeypatch.setenv("WORKERHOST_SPOTIFY_TOKEN_URL", f"{service.address}/api/token")
        monkeypatch.setenv("SPOTIFY_CLIENT_ID", service.client_id)
        monkeypatch.setenv("SPOTIFY_CLIENT_SECRET", service.client_secret)
        yield service
    assert service.violations == []
