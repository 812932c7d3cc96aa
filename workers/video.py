"""Work on films: facts, one picture, a sheet of pictures, the changes of scene, another format or size.

    video.probe          path
    video.thumbnail      path, at (seconds), width (320), out
    video.contact_sheet  path, columns (4), rows (3), width of one picture (240), out
    video.scenes         path, threshold (30)
    video.transcode      path, out, height (that of the film)

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
from .pictures import bound_broken, deliver, format_of
from .task import Task
from .transcode import FILMS, needed_out, transcode

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

THUMBNAIL_BYTES_MAX: Final = 100_000
SHEET_BYTES_MAX: Final = 400_000

SEEK_GAP: Final = 10.0
"""Seconds between two wanted frames from which it pays to seek: films have a key frame at least this often, and what
lies between a key frame and the wanted frame must be decoded anyway."""

SCENE_WIDTH: Final = 160
"""Scenes are told apart by small pictures: details and noise are none of their business."""

HEIGHT_MIN: Final = 16

PLAIN_CONTRAST: Final = 12.0
"""A picture whose brightness varies less than this (standard deviation, of 255) shows nothing: a black or a fade."""

THUMBNAIL_PLACES: Final = (0.1, 0.3, 0.5, 0.7)
"""Where a thumbnail is taken, as parts of the duration: the first place whose picture shows something."""


KNOWN: Final = {
    "video.probe": ["path"],
    "video.thumbnail": ["path", "at", "width", "out"],
    "video.contact_sheet": ["path", "columns", "rows", "width", "out"],
    "video.scenes": ["path", "threshold"],
    "video.transcode": ["path", "out", "height"],
}
"""Type -> the names of its params."""


class VideoWorker(BaseWorker):
    """Serves the types of this module. Needs the extra `media`."""

    type = "video"

    def can_handle(self, task: Task) -> bool:
        """Whether it is one of the types of this module."""
        return task.type in KNOWN

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A file that cannot be used is a final `Fail` that names it and the reason."""
        load_libraries()
        options = Options(task, KNOWN[task.type])
        if task.type == "video.probe":
            return self._probe(options)
        if task.type == "video.thumbnail":
            return self._thumbnail(options)
        if task.type == "video.scenes":
            return self._scenes(options)
        if task.type == "video.transcode":
            return self._transcode(options)
        return self._contact_sheet(options)

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
        format = format_of(out, "jpeg")
        with MediaFile(options.path()) as media:
            stream = media.video()
            duration = media.measure(stream)
            count = columns * rows
            # The middle of each of `count` equal parts: neither the black first frame nor the last one.
            places = [(number + 0.5) / count * duration for number in range(count)]
            tiles: list[tuple[float, Image]] = []
            cell = 0, 0
            for seconds, frame in frames_at(media, stream, places):
                tile = picture_of(frame, stream, width)
                tiles.append((seconds, tile))
                cell = max(cell[0], tile.width), max(cell[1], tile.height)
                size = sheet_size(cell, columns, rows)
                broken = bound_broken(*size, format)
                if broken:
                    sheet = (
                        f"rows={rows}, columns={columns} and width={width} make a sheet of {size[0]}x{size[1]} pixels"
                    )
                    raise options.wrong(f"{sheet}; {broken}")
                note = f"{clock_text(seconds)} of {clock_text(duration)}, picture {len(tiles)} of {count}"
                self.report_progress(min(1.0, seconds / duration), note)
                if self.cancelled:
                    return {}
            if not tiles:
                raise media.fail("it is damaged: no frame can be decoded")
            result = deliver(sheet_of(tiles, columns), out, kind="jpeg", bytes_max=SHEET_BYTES_MAX)
            times = [round(seconds, 3) for seconds, _ in tiles]
            return {**result, "columns": columns, "times": times, "duration": round(duration, 3)}

    def _scenes(self, options: Options) -> dict[str, Any]:
        threshold = options.whole("threshold", 30, 1, 99)
        with MediaFile(options.path()) as media:
            stream = media.video()
            duration = media.measure(stream)
            changes = SceneChanges(threshold / 100)
            cuts: list[float] = []
            ended = 0.0
            for seconds, frame in media.video_frames(stream):
                if changes.is_at(frame):
                    cuts.append(round(seconds, 3))
                ended = seconds
                self.report_progress(min(1.0, seconds / duration), f"{clock_text(seconds)} of {clock_text(duration)}")
                if self.cancelled:
                    return {}
            if not changes.looked_at:
                raise media.fail("it is damaged: no frame can be decoded")
            bounds = [0.0, *cuts, round(max(duration, ended), 3)]
            scenes = [{"start": start, "end": end} for start, end in itertools.pairwise(bounds)]
            return {"scenes": scenes, "cuts": cuts, "duration": round(duration, 3)}

    def _transcode(self, options: Options) -> dict[str, Any]:
        out, height = needed_out(options, FILMS), options.whole("height", 0, 0, 4320)
        if height and height < HEIGHT_MIN:
            options.whole("height", 0, HEIGHT_MIN, 4320)
        with MediaFile(options.path()) as media:
            sound = media.audio() if media.has("audio") else None
            return transcode(media, out, self, picture=media.video(), sound=sound, height=height or None)


class SceneChanges:
    """Tells the first frame of each new scene, by FFmpeg's measure (0 to 1): how much a picture differs from the one
    before, less how much that one differed already, so that a camera that moves is no change.

    Attributes:
        looked_at: How many frames.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._graph: Graph | None = None
        self._kind = ("", 0, 0)
        self.looked_at = 0

    def is_at(self, frame: VideoFrame) -> bool:
        """Whether a scene begins with this frame. Frames come in order."""
        from av import error as ffmpeg

        kind = frame.format.name, frame.width, frame.height
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._make(frame), kind
        self.looked_at += 1
        self._graph.push(frame)
        try:
            self._graph.pull()
        except ffmpeg.BlockingIOError:
            return False
        return True

    def _make(self, frame: VideoFrame) -> Graph:
        from av.filter import Graph

        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        scale = graph.add("scale", f"{SCENE_WIDTH}:-2:flags=area")
        select = graph.add("select", f"gt(scene\\,{self._threshold})")
        graph.link_nodes(source, scale, select, graph.add("buffersink")).configure()
        return graph


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

    Formats without an index (transport streams) seek by guessing and land behind the wanted point, or behind the last
    key frame, from where nothing can be shown: then further back.
    """
    back = 0.0
    while True:
        media.seek(place - back)
        frames = media.video_frames(stream)
        first = next(frames, None)
        if (first is not None and first[0] <= place) or back > place:
            return frames if first is None else itertools.chain([first], frames)
        back = back * 2 or 1.0


def picture_of(frame: VideoFrame, stream: VideoStream, width: int) -> Image:
    """A frame as a picture of this width, with square pixels and the right side up. Never enlarged."""
    ratio = float(stream.sample_aspect_ratio or 1)  # the container's word counts before the codec's
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


def gap_of(width: int) -> int:
    """Pixels between the pictures of a sheet that are so wide."""
    return max(2, width // 60)


def sheet_size(cell: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """Width and height of a sheet whose largest pictures have the size `cell`."""
    gap = gap_of(cell[0])
    return columns * (cell[0] + gap) + gap, rows * (cell[1] + gap) + gap


def sheet_of(tiles: Sequence[tuple[float, Image]], columns: int) -> Image:
    """The pictures in a grid, row by row, each with its time in a corner."""
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    width, height = max(tile.width for _, tile in tiles), max(tile.height for _, tile in tiles)
    gap = gap_of(width)
    size = sheet_size((width, height), columns, -(-len(tiles) // columns))
    sheet = PIL.Image.new("RGB", size, (18, 20, 24))
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
