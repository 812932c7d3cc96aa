"""YouTube as far as reading goes, played from its own description: the discovery document that Google's library ships.

Paths, parameters, their types, bounds and values, the parts of a resource and the fields of an answer are read from
there; what only the reference says in words (filters exclude each other, 50 ids at most) stands in tables here.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from played_service import Answer, PlayedService, Request

FILTERS: Final = {
    "videos": ("id", "chart", "myRating"),
    "channels": ("id", "forHandle", "forUsername", "categoryId", "managedByMe", "mine", "mySubscribers"),
    "playlistItems": ("id", "playlistId"),
    "commentThreads": ("id", "videoId", "allThreadsRelatedToChannelId"),
}
"""Of each resource: exactly one of these parameters has to be there."""

IDS_MAX: Final = 50
NO_PARTS: Final = frozenset({"etag", "kind"})


@cache
def document() -> dict[str, Any]:
    """The description of the API, as Google's library ships it."""
    spec = importlib.util.find_spec("googleapiclient")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).with_name("discovery_cache") / "documents" / "youtube.v3.json"
    return json.loads(path.read_text(encoding="utf-8"))


def error(status: int, reason: str, message: str, *, detail: str = "", **headers: str) -> Answer:
    """An error as Google's APIs send them."""
    body: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": "youtube", "reason": reason}],
    }
    if detail:
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": detail, "domain": "googleapis.com"}
        body["details"] = [info]
    return Answer(status, {"error": body}, {name.replace("_", "-"): value for name, value in headers.items()})


class PlayedYouTube(PlayedService):
    """Attributes:
    key: The only key that it takes.
    videos: Id -> the whole resource; what is asked for by `part` is cut out of it.
    channels: The same.
    uploads: Playlist -> ids of videos, the latest first.
    page: How many entries a page of uploads holds at most; ids that are not in `videos` are left out of it.
    comments: Video -> the texts below it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.key = "AIza-the-only-key"
        self.videos: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, list[str]] = {}
        self.comments: dict[str, list[str]] = {}
        self.page = 50

    def add_video(self, id: str, title: str = "A film", **statistics: str) -> None:
        """A public film of 1:02:03."""
        self.videos[id] = {
            "kind": "youtube#video",
            "id": id,
            "snippet": {
                "title": title,
                "description": f"About {title}",
                "channelId": "UC0123456789abcdefghij",
                "channelTitle": "The channel",
                "publishedAt": "2024-05-06T07:08:09Z",
                "liveBroadcastContent": "none",
                "tags": ["one", "two"],
            },
            "contentDetails": {"duration": "PT1H2M3S", "definition": "hd", "caption": "true"},
            "statistics": {"viewCount": "1000", "likeCount": "50", **statistics},
            "status": {"privacyStatus": "public", "license": "youtube"},
        }

    def add_channel(self, id: str, count: int) -> None:
        """A channel with films `<id's end>-00000` and so on."""
        playlist = "UU" + id[2:]
        self.uploads[playlist] = [f"film-{number:05}" for number in range(count)]
        for number, film in enumerate(self.uploads[playlist]):
            self.add_video(film, f"Film {number}")
        self.channels[id] = {
            "kind": "youtube#channel",
            "id": id,
            "snippet": {
                "title": "The channel",
                "description": "Films",
                "customUrl": "@channel",
                "country": "DE",
                "publishedAt": "2010-01-02T03:04:05Z",
            },
            "contentDetails": {"relatedPlaylists": {"uploads": playlist, "likes": ""}},
            "statistics": {
                "subscriberCount": "77",
                "hiddenSubscriberCount": False,
                "videoCount": str(count),
                "viewCount": "12345678901",
            },
        }

    def check(self, request: Request) -> list[str]:
        """By the discovery document."""
        method = _method_at(request.path)
        if method is None:
            return ["there is no such path"]
        known = {**document()["parameters"], **method["parameters"]}
        problems = [] if request.method == method["httpMethod"] else [f"the method is {method['httpMethod']}"]
        problems += [
            f"{name} is required" for name, one in known.items() if one.get("required") and not request.query.get(name)
        ]
        if "key" not in request.query:
            problems.append("there is no key")
        for name, values in request.query.items():
            problems += _problems_of(name, values, known.get(name))
        resource = request.path.rpartition("/")[2]
        parts = {part for value in request.query.get("part", ()) for part in value.split(",")}
        problems += [f"{resource} has no part {part}" for part in parts - _parts_of(method)]
        given = [name for name in FILTERS.get(resource, ()) if name in request.query]
        if resource in FILTERS and len(given) != 1:
            problems.append(f"exactly one of {FILTERS[resource]} is wanted, not {given}")
        if len(_ids(request)) > IDS_MAX:
            problems.append(f"{len(_ids(request))} ids, {IDS_MAX} at most")
        if resource == "videos" and "id" in request.query and {"maxResults", "pageToken"} & set(request.query):
            problems.append("maxResults and pageToken are not supported together with id")
        return problems

    def answer(self, request: Request) -> Answer:
        """From what was added; checked against the description as well, so that nothing is played that is not there."""
        if request.query["key"] != [self.key]:
            return error(400, "badRequest", "API key not valid. Please pass a valid API key.", detail="API_KEY_INVALID")
        resource = request.path.rpartition("/")[2]
        answer: Answer = getattr(self, f"_{resource.lower()}")(request)
        method = _method_at(request.path)
        if answer.status == 200 and method is not None:
            wrong = list(_unknown_fields(answer.body, method["response"]["$ref"]))
            self.violations.extend(f"the played answer: {one}" for one in wrong)
        return answer

    def _videos(self, request: Request) -> Answer:
        found = [self.videos[id] for id in _ids(request) if id in self.videos]
        return _list_of("youtube#videoListResponse", [_cut(item, request) for item in found], len(found))

    def _channels(self, request: Request) -> Answer:
        handles = {item["snippet"]["customUrl"].lstrip("@"): id for id, item in self.channels.items()}
        handle = request.query.get("forHandle", [""])[0].lstrip("@")
        ids = _ids(request) or [handles.get(handle, "")]
        found = [self.channels[id] for id in ids if id in self.channels]
        return _list_of("youtube#channelListResponse", [_cut(item, request) for item in found], len(found))

    def _playlistitems(self, request: Request) -> Answer:
        films = self.uploads.get(request.query["playlistId"][0])
        if not films:
            return error(
                404, "playlistNotFound", "The playlist identified with the request's <code>playlistId</code> ..."
            )
        start = int(request.query.get("pageToken", ["P0"])[0].removeprefix("P"))
        size = min(self.page, int(request.query.get("maxResults", ["5"])[0]))
        shown = [film for film in films[start : start + size] if film in self.videos]
        items = [
            {
                "kind": "youtube#playlistItem",
                "id": f"item-{film}",
                "snippet": {"title": self.videos[film]["snippet"]["title"], "position": start + number},
                "contentDetails": {"videoId": film, "videoPublishedAt": "2024-05-06T07:08:09Z"},
            }
            for number, film in enumerate(shown)
        ]
        answer = _list_of("youtube#playlistItemListResponse", [_cut(item, request) for item in items], len(films))
        if start + size < len(films):
            answer.body["nextPageToken"] = f"P{start + size}"
        return answer

    def _commentthreads(self, request: Request) -> Answer:
        video = request.query["videoId"][0]
        items = [
            {
                "kind": "youtube#commentThread",
                "id": f"thread-{number}",
                "snippet": {"videoId": video, "topLevelComment": {"id": "c", "snippet": {"textOriginal": text}}},
            }
            for number, text in enumerate(self.comments.get(video, ()))
        ]
        return _list_of("youtube#commentThreadListResponse", [_cut(item, request) for item in items], len(items))


def _method_at(path: str) -> dict[str, Any] | None:
    """The reading method of a path; others are not played."""
    for resource in document()["resources"].values():
        method = resource.get("methods", {}).get("list")
        if method is not None and "/" + method["path"] == path:
            return method
    return None


def _problems_of(name: str, values: list[str], described: dict[str, Any] | None) -> list[str]:
    if described is None:
        return [f"there is no parameter {name}"]
    problems = [f"{name} is deprecated"] if described.get("deprecated") else []
    if len(values) > 1 and not described.get("repeated"):
        problems.append(f"{name} is given {len(values)} times")
    for value in values:
        if "enum" in described and value not in described["enum"]:
            problems.append(f"{name}={value} is none of {described['enum']}")
        if described["type"] == "integer":
            low, high = int(described.get("minimum", 0)), int(described.get("maximum", 1 << 31))
            if not value.isdecimal() or not low <= int(value) <= high:
                problems.append(f"{name}={value} is no whole number from {low} to {high}")
        if described["type"] == "boolean" and value not in ("true", "false"):
            problems.append(f"{name}={value} is no boolean")
        if not value:
            problems.append(f"{name} is empty")
    return problems


def _parts_of(method: dict[str, Any]) -> set[str]:
    """The parts that may be asked for: the fields of the resource that the method's answer lists."""
    schemas = document()["schemas"]
    listed = schemas[method["response"]["$ref"]]["properties"]["items"]["items"]["$ref"]
    return set(schemas[listed]["properties"]) - NO_PARTS


def _unknown_fields(value: Any, name: str, where: str = "") -> Any:
    """What in an answer the description does not know, or has in another type."""
    properties = document()["schemas"][name].get("properties", {})
    for key, inner in value.items():
        described = properties.get(key)
        if described is None:
            yield f"{where}{key} is no field of {name}"
        elif "$ref" in described:
            yield from _unknown_fields(inner, described["$ref"], f"{where}{key}.")
        elif described["type"] == "array" and "$ref" in described["items"]:
            for one in inner:
                yield from _unknown_fields(one, described["items"]["$ref"], f"{where}{key}.")
        elif not isinstance(
            inner, {"string": str, "integer": int, "boolean": bool, "array": list}.get(described["type"], object)
        ):
            yield f"{where}{key} is no {described['type']}"


def _ids(request: Request) -> list[str]:
    return [id for value in request.query.get("id", ()) for id in value.split(",")]


def _cut(item: dict[str, Any], request: Request) -> dict[str, Any]:
    """A resource with the parts that were asked for."""
    parts = {part for value in request.query["part"] for part in value.split(",")}
    return {key: value for key, value in item.items() if key in parts | {"id", "kind"}}


def _list_of(kind: str, items: list[dict[str, Any]], total: int) -> Answer:
    return Answer(
        200, {"kind": kind, "items": items, "pageInfo": {"totalResults": total, "resultsPerPage": len(items)}}
    )
