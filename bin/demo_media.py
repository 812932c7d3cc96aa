"""Which files the demonstration works on, and which tasks each of them makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..workers.errors import Fail
from ..workers.media import MediaFile

FILMS: Final = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905 -- readable
)
SOUNDS: Final = frozenset(
    ".aac .aif .aiff .flac .m4a .mka .mp3 .oga .ogg .opus .wav .wma".split()  # noqa: SIM905 -- readable
)

SHEET: Final = {"width": 200}
"""Small enough that the sheets of a dozen films make no heavy page."""

ORDER: Final = (
    "video.probe",
    "audio.probe",
    "audio.loudness",
    "video.contact_sheet",
    "audio.waveform",
    "video.thumbnail",
)
"""The types in the order in which they are sent: the long ones in the middle, where a host is killed."""

PICTURES: Final = {"video.thumbnail": ".jpg", "video.contact_sheet": ".jpg", "audio.waveform": ".png"}


@dataclass(frozen=True, slots=True)
class MediaFound:
    """One file.

    Attributes:
        path: Where it is (absolute).
        name: How it is shown: its path below the folder.
        readable: Whether it could be opened.
        types: The tasks it makes.
    """

    path: Path
    name: str
    readable: bool
    types: tuple[str, ...]


def media_below(folder: Path) -> list[Path]:
    """All media files below a folder, by their endings, in the order of their names; hidden ones are left out."""
    return sorted(
        path
        for path in folder.absolute().rglob("*")
        if path.suffix.lower() in FILMS | SOUNDS and not path.name.startswith(".") and not path.is_dir()
    )


def look_at(path: Path, folder: Path) -> MediaFound:
    """Which tasks are right for a file: by its streams, or its facts alone where it cannot be opened."""
    name = str(path.relative_to(folder.absolute()))
    try:
        with MediaFile(str(path)) as media:
            film, sound = media.has("video"), media.has("audio")
    except Fail:
        return MediaFound(path, name, False, ("video.probe" if path.suffix.lower() in FILMS else "audio.probe",))
    types = ["video.probe", "video.contact_sheet", "video.thumbnail"] if film else ["audio.probe"]
    if sound:
        types += ["audio.loudness", "audio.waveform"]
    return MediaFound(path, name, film or sound, tuple(types))


def tasks_of(files: Sequence[MediaFound], pictures: Path) -> dict[str, list[tuple[MediaFound, dict[str, Any]]]]:
    """Type -> the files it is for, each with its params. Pictures will be stored in the folder `pictures`."""
    tasks: dict[str, list[tuple[MediaFound, dict[str, Any]]]] = {}
    for type in ORDER:
        for number, file in enumerate(files):
            if type in file.types:
                params: dict[str, Any] = {"path": str(file.path)}
                if type in PICTURES:
                    params["out"] = str(pictures / f"{number}-{type}{PICTURES[type]}")
                if type == "video.contact_sheet":
                    params |= SHEET
                tasks.setdefault(type, []).append((file, params))
    return tasks
