"""Work with YouTube through its Data API, version 3.

    video.youtube.video    id or ids (up to 200)
    video.youtube.channel  id or handle, limit (50)

The key is `$YOUTUBE_API_KEY` on the host, or in the file that `$YOUTUBE_API_KEY_FILE` names; `$WORKERHOST_YOUTUBE_URL`
names another address than Google's. What the service's errors mean stands in `youtube_errors`. Needs the extra
`youtube` (google-api-python-client), which is imported when a task runs, so that this module loads without it.
"""

from __future__ import annotations

import http.client
import importlib
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, cast

from .errors import Fail, TooLarge, plain
from .options import Options
from .service import ServiceWorker, address, secret
from .task import Task
from .youtube_errors import fail_of

GOOGLE: Final = "https://youtube.googleapis.com"
IDS_PER_CALL: Final = 50
IDS_MAX: Final = 200
"""Videos of one task: with the longest descriptions there are (5,000 characters) they fit into one result."""
UPLOADS_MAX: Final = 5000

_VIDEO: Final = re.compile(r"[A-Za-z0-9_-]{6,32}\Z")
_CHANNEL: Final = re.compile(r"UC[A-Za-z0-9_-]{10,40}\Z")
_DURATION: Final = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?\Z")


class YouTubeWorker(ServiceWorker):
    """The platform: the key, the client, and what the service's errors mean. Endpoints extend it with `execute`.

    A call of a `list` method costs a unit of YouTube's quota (10,000 a day); `quota_cost` says how many a task makes.
    """

    type = "video.youtube"
    service = "YouTube"
    module, extra = "googleapiclient", "youtube"
    secrets = ("YOUTUBE_API_KEY",)
    _client: Any = None

    def call(self, resource: str, method: str = "list", **params: Any) -> dict[str, Any]:
        """Call a method of the API once.

        Args:
            resource: Such as `videos`.
            method: Such as `list`.
            params: As the API's reference names them.

        Returns:
            The answer.

        Raises:
            Fail: The service refused, or gave no whole answer; its `kind` says what follows from that.
            TypeError: The API has no such parameter.
        """
        client = self._client or self._connect()
        request = getattr(getattr(client, resource)(), method)(**params)
        google: Any = importlib.import_module("googleapiclient.errors")
        try:
            answer = request.execute(num_retries=0)  # when to try again is the pool's business
        except google.HttpError as error:
            # Its own text holds the address, and that the key.
            raise fail_of(int(error.resp.status), error.resp, error.content, time.time()) from None
        except TimeoutError:
            raise self.said_nothing(f"no answer within {self.answer_within:g} s") from None
        except (OSError, http.client.HTTPException, importlib.import_module("httplib2").HttpLib2Error) as error:
            raise self.said_nothing(f"the connection broke ({type(error).__name__})") from None
        except (ValueError, TypeError, LookupError, AttributeError):  # the library trips over what it does not expect
            answer = None
        if not isinstance(answer, dict):
            raise self.said_nothing("its answer is not what the API promises")
        return cast("dict[str, Any]", answer)

    def pages(self, resource: str, pages_max: int, **params: Any) -> Iterator[dict[str, Any]]:
        """The answers of a `list` method, page after page, `pages_max` at most; each one is a call.

        A parameter that is None is left out: so `pageToken` may be that of a page to begin with.
        """
        params = {name: value for name, value in params.items() if value is not None}
        for _ in range(pages_max):
            page = self.call(resource, **params)
            yield page
            if not page.get("nextPageToken"):
                return
            params["pageToken"] = page["nextPageToken"]

    def _connect(self) -> Any:
        """The service's client, from the description of the API that the library ships: no call is made."""
        self.need_library()
        key, place = secret("YOUTUBE_API_KEY"), address("WORKERHOST_YOUTUBE_URL", GOOGLE)
        http_library: Any = importlib.import_module("httplib2")
        discovery: Any = importlib.import_module("googleapiclient.discovery")
        self._client = discovery.build(
            "youtube",
            "v3",
            developerKey=key,
            http=http_library.Http(timeout=self.answer_within),
            client_options={"api_endpoint": f"{place}/"},
            static_discovery=True,
            cache_discovery=False,
        )
        return self._client


class YouTubeVideoWorker(YouTubeWorker):
    """Metadata of videos: `{videos: [...], missing: [id]}`, in the order of `ids`. One call for each 50."""

    type = "video.youtube.video"

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. Ids that YouTube does not know, or does not show, are in `missing`; nothing else fails there."""
        ids = _ids(Options(task, ["id", "ids"]))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), IDS_PER_CALL):
            part = ids[start : start + IDS_PER_CALL]
            answer = self.call("videos", part="snippet,contentDetails,statistics,status", id=",".join(part))
            found.update((item["id"], video_of(item)) for item in answer.get("items", ()))
            done = start + len(part)
            self.report_progress(done / len(ids), f"{done} of {len(ids)} videos")
            if self.cancelled:
                return {}
        return {
            "videos": [found[id] for id in ids if id in found],
            "missing": [id for id in ids if id not in found],
        }


class YouTubeChannelWorker(YouTubeWorker):
    """A channel and its uploads, the latest first: `{id, title, ..., uploads: [{id, title, published_at}]}`.

    One call for the channel and one for each 50 uploads.
    """

    type = "video.youtube.channel"
    quota_cost = 2

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A channel that does not exist is a permanent failure. A next attempt goes on at the page that
        the last one was at, so that a spent quota or a broken connection costs no page twice.
        """
        options = Options(task, ["id", "handle", "limit"])
        limit, name = options.whole("limit", IDS_PER_CALL, 0, UPLOADS_MAX), _name_of_channel(options)
        try:
            return self._read(name, limit, task.checkpoint or {})
        except Fail as error:
            if error.kind != "permanent" or not task.checkpoint:
                raise
            return self._read(name, limit, {})  # YouTube may know the page no longer: from the beginning

    def _read(self, name: dict[str, str], limit: int, saved: dict[str, Any]) -> dict[str, Any]:
        channel: dict[str, Any] = saved.get("channel") or self._channel(**name)
        # By id: a new upload meanwhile pushes others onto the next page.
        uploads: dict[str, dict[str, Any]] = {upload["id"]: upload for upload in saved.get("uploads", ())}
        wanted = min(limit, channel["videos"] or 0) if channel["uploads_playlist"] else 0
        if not wanted:
            return {**channel, "uploads": []}
        for page in self.pages(
            "playlistItems",
            2 * (limit // IDS_PER_CALL + 1),  # a page may hold fewer than 50: private ones are left out
            part="snippet,contentDetails",
            playlistId=channel["uploads_playlist"],
            maxResults=min(IDS_PER_CALL, limit),
            pageToken=saved.get("page"),
        ):
            uploads.update((item["contentDetails"]["videoId"], upload_of(item)) for item in page.get("items", ()))
            done, following = min(wanted, len(uploads)), page.get("nextPageToken")
            self.report_progress(done / wanted, f"{done} of {wanted} uploads")
            if self.cancelled:
                return {}
            if len(uploads) >= limit:
                break
            with suppress(TooLarge):  # after some 600 uploads: then the last one that fitted is gone on from
                self.checkpoint({"channel": channel, "uploads": list(uploads.values()), "page": following})
        return {**channel, "uploads": list(uploads.values())[:limit]}

    def _channel(self, **name: str) -> dict[str, Any]:
        answer = self.call("channels", part="snippet,contentDetails,statistics", **name)
        for item in answer.get("items", ()):
            return channel_of(item)
        raise Fail(f"YouTube: there is no channel {next(iter(name.values()))}", kind="permanent")


def video_of(item: dict[str, Any]) -> dict[str, Any]:
    """A `video` of the API as its metadata, in the words of the media workers: `duration` in seconds."""
    snippet, content = item.get("snippet", {}), item.get("contentDetails", {})
    counts, status = item.get("statistics", {}), item.get("status", {})
    return {
        "id": item["id"],
        "title": snippet.get("title"),
        "description": snippet.get("description"),
        "channel": snippet.get("channelTitle"),
        "channel_id": snippet.get("channelId"),
        "published_at": snippet.get("publishedAt"),
        "live": snippet.get("liveBroadcastContent") == "live",
        "tags": snippet.get("tags", []),
        "duration": seconds_of(content.get("duration")),
        "definition": content.get("definition"),
        "captions": content.get("caption") == "true",
        "views": _count(counts, "viewCount"),
        "likes": _count(counts, "likeCount"),
        "comments": _count(counts, "commentCount"),
        "privacy": status.get("privacyStatus"),
        "license": status.get("license"),
    }


def channel_of(item: dict[str, Any]) -> dict[str, Any]:
    """A `channel` of the API as its metadata. What YouTube hides is None."""
    snippet, counts = item.get("snippet", {}), item.get("statistics", {})
    return {
        "id": item["id"],
        "title": snippet.get("title"),
        "description": snippet.get("description"),
        "handle": snippet.get("customUrl"),
        "country": snippet.get("country"),
        "published_at": snippet.get("publishedAt"),
        "subscribers": None if counts.get("hiddenSubscriberCount") else _count(counts, "subscriberCount"),
        "videos": _count(counts, "videoCount"),
        "views": _count(counts, "viewCount"),
        "uploads_playlist": item.get("contentDetails", {}).get("relatedPlaylists", {}).get("uploads"),
    }


def upload_of(item: dict[str, Any]) -> dict[str, Any]:
    """A `playlistItem` of the API as an upload."""
    content = item["contentDetails"]
    return {
        "id": content["videoId"],
        "title": item["snippet"].get("title"),
        "published_at": content.get("videoPublishedAt"),
    }


def seconds_of(duration: str | None) -> int | None:
    """`PT1H2M3S` -> 3723; None where there is none (a stream that is still live)."""
    match = _DURATION.match(duration or "")
    if match is None:
        return None
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds


def _count(counts: dict[str, Any], name: str) -> int | None:
    """The API sends numbers as text, and leaves out what is hidden."""
    return int(counts[name]) if str(counts.get(name, "")).isdecimal() else None


def _ids(options: Options) -> list[str]:
    """The videos that a task names, each once, in its order."""
    ids = options.one_or_many("id", "ids", IDS_MAX)
    for id in ids:
        if not _VIDEO.match(id):
            raise options.wrong(f"{plain(id, 60)} is no video's id, such as dQw4w9WgXcQ")
    return list(dict.fromkeys(ids))


def _name_of_channel(options: Options) -> dict[str, str]:
    id, handle = options.text("id"), options.text("handle")
    if (id is None) == (handle is None):
        raise options.wrong("name the channel by id or by handle")
    if id is not None and not _CHANNEL.match(id):
        raise options.wrong(f"{plain(id, 60)} is no channel's id, such as UC_x5XG1OV2P6uZZ5FSM9Ttw")
    return {"id": id} if id is not None else {"forHandle": str(handle)}
