"""Work on films: facts, one picture, a sheet of pictures.

    video.probe          path
    video.thumbnail      path, at (seconds), width (320), out
    video.contact_sheet  path, columns (4), rows (3), width of one picture (240), out

Without `out` the picture is in the result, under `image`, as the bytes of a JPEG that is kept small enough for that;
with `out` it is stored there, on the machine of the host, and the result says `out`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from .base import BaseWorker
from .media import MediaFile, clock_text, load_libraries
from .options import Options
from .pictures import deliver
from .task import Task

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

THUMBNAIL_BYTES_MAX: Final = 100_000
SHEET_BYTES_MAX: Final = 400_000

SEEK_GAP: Final = 10.0
"""Seconds between two wanted frames from which it pays to seek: films have a key frame at least this often, and what
lies between a key frame and the wanted frame must be decoded anyway."""

PLAIN_CONTRAST: Final = 12.0
"""A picture whose brightness varies less than this (standard deviation, of 255) shows nothing: a black or a fade."""

THUMBNAIL_PLACES: Final = (0.1, 0.3, 0.5, 0.7)
"""Where a thumbnail is taken, as parts of the duration: the first place whose picture shows something."""


class VideoWorker(BaseWorker):
    """Serves the types of this module. Needs the extra `media`."""

    type = "video"

    def can_handle(self, task: Task) -> bool:
        """Whether it is one of the types of this module."""
        return task.type in ("video.probe", "video.thumbnail", "video.contact_sheet")

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A file that cannot be used is a final `Fail` that names it and the reason."""
        load_libraries()
        if task.type == "video.probe":
            return self._probe(Options(task, ["path"]))
        if task.type == "video.thumbnail":
            return self._thumbnail(Options(task, ["path", "at", "width", "out"]))
        return self._contact_sheet(Options(task, ["path", "columns", "rows", "width", "out"]))

    def _probe(self, options: Options) -> dict[str, Any]:
        with MediaFile(options.path()) as media:
            stream = media.video()
            facts = media.facts(stream)
            if next(media.video_frames(stream), None) is None:
                raise media.fail("it is damaged: no frame can be decoded")
            return facts

    def _thumbnail(self, options: Options) -> dict[str, Any]:
        at, width, out = options.seconds("at"), options.whole("width", 320, 16, 3840), options.text("out")
        with MediaFile(options.path()) as media:
            stream = media.video()
            duration = media.measure(stream)
            if at is not None and at > duration:
                raise media.fail(f"at={at:g} lies behind its end ({duration:.1f} s)")
            places = [at] if at is not None else [part * duration for part in THUMBNAIL_PLACES]
            best: tuple[float, float, Image] | None = None
            for number, (seconds, frame) in enumerate(frames_at(media, stream, places), 1):
                picture = picture_of(frame, stream, width)
                contrast = contrast_of(picture)
                if best is None or contrast > best[0]:
                    best = contrast, seconds, picture
                if contrast > PLAIN_CONTRAST:
                    break
                self.report_progress(number / (len(places) + 1), f"looked at {clock_text(seconds)}")
            if best is None:
                raise media.fail("it is damaged: no frame can be decoded")
            result = deliver(best[2], out, kind="jpeg", bytes_max=THUMBNAIL_BYTES_MAX)
            return {**result, "at": round(best[1], 3), "duration": round(duration, 3)}

    def _contact_sheet(self, options: Options) -> dict[str, Any]:
        columns, rows = options.whole("columns", 4, 1, 20), options.whole("rows", 3, 1, 50)
        width, out = options.whole("width", 240, 32, 960), options.text("out")
        with MediaFile(options.path()) as media:
            stream = media.video()
            duration = media.measure(stream)
            count = columns * rows
            # The middle of each of `count` equal parts: neither the black first frame nor the last one.
            places = [(number + 0.5) / count * duration for number in range(count)]
            tiles: list[tuple[float, Image]] = []
            for seconds, frame in frames_at(media, stream, places):
                tiles.append((seconds, picture_of(frame, stream, width)))
                note = f"{clock_text(seconds)} of {clock_text(duration)}, picture {len(tiles)} of {count}"
                self.report_progress(min(1.0, seconds / duration), note)
                if self.cancelled:
                    return {}
            if not tiles:
                raise media.fail("it is damaged: no frame can be decoded")
            result = deliver(sheet_of(tiles, columns), out, kind="jpeg", bytes_max=SHEET_BYTES_MAX)
            times = [round(seconds, 3) for seconds, _ in tiles]
            return {**result, "columns": columns, "times": times, "duration": round(duration, 3)}


def frames_at(media: MediaFile, stream: VideoStream, places: Sequence[float]) -> Iterator[tuple[float, VideoFrame]]:
    """The frame at or right after each of the ascending times `places`, with its own time.

    Near places are reached by decoding on, far ones by seeking. A place behind the last frame gives the last frame.
    """
    frames: Iterator[tuple[float, VideoFrame]] | None = None
    current: tuple[float, VideoFrame] | None = None
    for place in places:
        if frames is None or current is None or place - current[0] > SEEK_GAP:
            frames = frames_before(media, stream, place)
            current = next(frames, current)
        if current is not None and current[0] < place:
            for current in frames:
                if current[0] >= place:
                    break
        if current is not None:
            yield current


def frames_before(media: MediaFile, stream: VideoStream, place: float) -> Iterator[tuple[float, VideoFrame]]:
    """Frames from a point at or before the time `place` on.

    Formats without an index (transport streams) seek by guessing and land behind the wanted point: then further back.
    """
    back = 0.0
    while True:
        media.seek(place - back)
        frames = media.video_frames(stream)
        first = next(frames, None)
        if first is None or first[0] <= place or back > place:
            return frames if first is None else itertools.chain([first], frames)
        back = back * 2 or 1.0


def picture_of(frame: VideoFrame, stream: VideoStream, width: int) -> Image:
    """A frame as a picture of this width, with square pixels and the right side up. Never enlarged."""
    ratio = float(stream.codec_context.sample_aspect_ratio or 1)
    shown_width, shown_height = frame.width * ratio, float(frame.height)
    turned = frame.rotation % 180 != 0
    scale = min(1.0, width / (shown_height if turned else shown_width))
    size = max(1, round(shown_width * scale)), max(1, round(shown_height * scale))
    convert = cast("Callable[..., Image]", frame.to_image)  # pyright: ignore[reportUnknownMemberType] PyAV's gap
    image = convert(width=size[0], height=size[1], interpolation="AREA")
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def contrast_of(picture: Image) -> float:
    """How much the brightness varies over a picture: the standard deviation, 0 to 127.5."""
    histogram = picture.convert("L").histogram()
    total = sum(histogram)
    mean = sum(value * count for value, count in enumerate(histogram)) / total
    return (sum((value - mean) ** 2 * count for value, count in enumerate(histogram)) / total) ** 0.5


def sheet_of(tiles: Sequence[tuple[float, Image]], columns: int) -> Image:
    """The pictures in a grid, row by row, each with its time in a corner."""
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    width, height = max(tile.width for _, tile in tiles), max(tile.height for _, tile in tiles)
    gap = max(2, width // 60)
    rows = -(-len(tiles) // columns)
    sheet = PIL.Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), (18, 20, 24))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(9, width // 18))
    for number, (seconds, tile) in enumerate(tiles):
        left = gap + number % columns * (width + gap)
        top = gap + number // columns * (height + gap)
        sheet.paste(tile, (left, top))
        corner = left + gap * 2, top + height - gap * 2
        draw.text(
            corner, clock_text(seconds), fill="white", font=font, anchor="ls", stroke_width=2, stroke_fill="black"
        )
    return sheet
