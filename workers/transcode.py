"""A media file written anew: another container, other codecs, another size.

The ending of the new file decides the codecs. It appears under its name only when it is whole; until then it has a name
of its own beside it, which the task's next attempt removes if this one is killed. Owns no decision about the source:
`media.MediaFile` reads it and says what is wrong with it.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from .base import BaseWorker
from .errors import Fail, plain
from .media import MediaFile, clock_text
from .options import Options
from .pictures import cannot_write

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


class Codecs(NamedTuple):
    """What goes into a container."""

    container: str
    picture: str | None
    sound: str


FILMS: Final = {
    ".mp4": Codecs("mp4", "libx264", "aac"),
    ".mkv": Codecs("matroska", "libx264", "aac"),
    ".webm": Codecs("webm", "libvpx-vp9", "libopus"),
}
SOUNDS: Final = {
    ".m4a": Codecs("ipod", None, "aac"),
    ".mp3": Codecs("mp3", None, "libmp3lame"),
    ".opus": Codecs("ogg", None, "libopus"),
    ".flac": Codecs("flac", None, "flac"),
    ".wav": Codecs("wav", None, "pcm_s16le"),
}
PICTURE_OPTIONS: Final = {
    "libx264": {"preset": "veryfast", "crf": "23"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "crf": "33", "b": "0"},
}
TURNS: Final = {
    90: (("transpose", "cclock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "clock"),),
}
"""Degrees to the left -> the filters that turn a picture by them."""

RATE: Final = 48_000
GAP: Final = 0.1
"""Seconds by which a sound may come later than the one before it ends: more is sound that is missing."""

SILENCE_MAX: Final = 3600
"""Seconds of silence that a new file gets for sound that is missing, in all. What would need more is no gap but a
broken clock: the sound goes on at once."""

RATE_MIN: Final = Fraction(1, 1001)
RATE_MAX: Final = Fraction(120)
"""Pictures in a second, as the new file states them; when each one is due is stated beside it."""

SOUND_BITS: Final = 128_000
LOSSLESS: Final = ("flac", "pcm_s16le")
CLOCK: Final = Fraction(1, 90_000)
"""The time base of new pictures: fine enough for every frame rate there is."""


def needed_out(options: Options, endings: dict[str, Codecs]) -> Path:
    """The required parameter `out`, with an ending that says what to make."""
    out = options.text("out")
    if out is None or Path(out).suffix.lower() not in endings:
        raise Fail(f"{plain(out or 'out')}: out must name a file that ends in {', '.join(endings)}", kind="permanent")
    return Path(out)


def transcode(
    media: MediaFile,
    out: Path,
    worker: BaseWorker,
    *,
    picture: VideoStream | None = None,
    sound: AudioStream | None = None,
    height: int | None = None,
) -> dict[str, Any]:
    """Write `media` anew as `out`.

    Args:
        media: The source, open.
        out: The new file.
        worker: Whose task it is: it is told the progress, and asked whether to go on.
        picture: The stream of pictures to take along.
        sound: The stream of sound to take along.
        height: Of the new picture, never enlarged; None: as it is.

    Returns:
        `out`, `bytes` and `duration` of it, `width` and `height` of its pictures; nothing if the task was cancelled.

    Raises:
        Fail: The source cannot be used, or the new file cannot be written.
    """
    from av import error as ffmpeg

    codecs = {**FILMS, **SOUNDS}[out.suffix.lower()]
    duration = media.measure(picture or cast("AudioStream", sound))
    shape = shape_of(media, picture, height) if picture is not None else None
    unfinished = out.with_name(f".{out.name[:40]}.{worker.task.id}-{worker.task.attempt}.part")
    try:
        for old in out.parent.glob(f".{glob.escape(out.name[:40])}.{worker.task.id}-*.part"):
            old.unlink(missing_ok=True)
        try:
            with Target(unfinished, codecs, shape, sound) as target:
                for frame in media.frames(*(stream for stream in (picture, sound) if stream is not None)):
                    reached = target.reached(frame)
                    seconds = media.time_of(frame, reached) if media.timed else reached
                    target.add(frame, seconds)
                    note = f"{clock_text(seconds)} of {clock_text(duration)}"
                    worker.report_progress(min(1.0, seconds / duration), note)
                    if worker.cancelled:
                        return {}
                target.finish()
            if not target.seconds:
                raise media.fail("it is damaged: nothing in it can be decoded")
            size = unfinished.stat().st_size
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    except (OSError, ffmpeg.FFmpegError) as error:  # of the new file: what is wrong with the source is a Fail already
        raise cannot_write(out, cast("OSError", error)) from error
    size_of_picture = {"width": shape.width, "height": shape.height} if shape else {}
    return {"out": str(out), "bytes": size, "duration": round(target.seconds, 3), **size_of_picture}


class Shape(NamedTuple):
    """How the new pictures look: their size, with square pixels, and by how much the source's are to be turned."""

    width: int
    height: int
    turned: int
    rate: Fraction


def shape_of(media: MediaFile, stream: VideoStream, height: int | None) -> Shape:
    """The shape of the new pictures, by the first one of the source. Sizes are even, as the codecs want them."""
    found = next(media.video_frames(stream), None)
    if found is None:
        raise media.fail("it is damaged: no frame can be decoded")
    media.seek(0)
    frame = found[1]
    wide, high = frame.width * float(stream.sample_aspect_ratio or 1), float(frame.height)
    if frame.rotation % 180:
        wide, high = high, wide
    scale = min(1.0, height / high) if height else 1.0
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25).limit_denominator(1001)
    even = (max(2, 2 * round(side * scale / 2)) for side in (wide, high))
    return Shape(*even, turned=frame.rotation % 360, rate=min(max(rate, RATE_MIN), RATE_MAX))


class Target:
    """The new file while it is written. A context manager.

    Args:
        path: Where.
        codecs: What goes into it.
        shape: How its pictures look; None: it has none.
        sound: The stream that its sound is from; None: it has none.

    Attributes:
        seconds: How long it is so far.
    """

    def __init__(self, path: Path, codecs: Codecs, shape: Shape | None, sound: AudioStream | None) -> None:
        import av

        flags = {"movflags": "+faststart"} if codecs.container in ("mp4", "ipod") else {}
        # PyAV's types leave open what a packet belongs to.
        self._container: Any = av.open(f"file:{path.absolute()}", "w", format=codecs.container, options=flags)
        self._pictures = Pictures(self._container, codecs, shape) if shape else None
        self._sounds = Sounds(self._container, codecs, sound) if sound else None

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def seconds(self) -> float:
        """See above."""
        return max(part.seconds for part in (self._pictures, self._sounds) if part is not None)

    def reached(self, frame: VideoFrame | AudioFrame) -> float:
        """How far the stream is that this frame of the source belongs to: when it is due if it does not say so."""
        import av

        part = self._sounds if isinstance(frame, av.AudioFrame) else self._pictures
        return part.seconds if part is not None else 0.0

    def add(self, frame: VideoFrame | AudioFrame, seconds: float) -> None:
        """Add a frame of the source that is due then."""
        import av

        if isinstance(frame, av.AudioFrame):
            if self._sounds is not None:
                self._sounds.add(frame, seconds)
        elif self._pictures is not None:
            self._pictures.add(frame, seconds)

    def finish(self) -> None:
        """That was all: what the codecs still hold is written."""
        for part in (self._pictures, self._sounds):
            if part is not None:
                part.finish()


class Pictures:
    """The stream of pictures in a new file.

    Attributes:
        seconds: How long it is.
    """

    def __init__(self, container: Any, codecs: Codecs, shape: Shape) -> None:
        codec = str(codecs.picture)
        self._container, self._shape = container, shape
        self._stream: Any = container.add_stream(codec, rate=shape.rate, options=PICTURE_OPTIONS[codec])
        self._stream.width, self._stream.height, self._stream.pix_fmt = shape.width, shape.height, "yuv420p"
        self._stream.codec_context.time_base = CLOCK
        # Slots are what runs side by side; an encoder that takes all cores as well would only disturb its neighbours.
        self._stream.codec_context.thread_count = 1
        self._graph: Graph | None = None
        self._kind: tuple[Any, ...] = ()
        self._last = -1
        self.seconds = 0.0

    def add(self, frame: VideoFrame, seconds: float) -> None:
        """Add a picture that is due then; one that is not later than the last one is left out."""
        import av

        at = round(seconds / CLOCK)
        if at <= self._last:
            return
        kind = (frame.format.name, frame.width, frame.height)
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._upright(frame), kind
        self._graph.push(frame)
        shown = cast("av.VideoFrame", self._graph.pull())
        shown.pts, shown.time_base, shown.pict_type = at, CLOCK, cast("Any", 0)  # which are key frames is decided anew
        self._last, self.seconds = at, seconds + float(1 / self._shape.rate)
        self._container.mux(self._stream.encode(shown))

    def finish(self) -> None:
        """That was all."""
        self._container.mux(self._stream.encode(None))

    def _upright(self, frame: VideoFrame) -> Graph:
        from av.filter import Graph

        shape, graph = self._shape, Graph()
        width, height = (shape.height, shape.width) if shape.turned % 180 else (shape.width, shape.height)
        chain = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=CLOCK),
            graph.add("scale", f"{width}:{height}:flags=area"),
        ]
        chain += [graph.add(name, arguments) for name, arguments in TURNS.get(shape.turned, ())]
        chain += [graph.add("setsar", "1"), graph.add("format", "yuv420p"), graph.add("buffersink")]
        graph.link_nodes(*chain).configure()
        return graph


class Sounds:
    """The stream of sound in a new file, in one or two channels.

    Attributes:
        seconds: How long it is.
    """

    def __init__(self, container: Any, codecs: Codecs, source: AudioStream) -> None:
        self._container = container
        self._layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        self._stream: Any = container.add_stream(codecs.sound, rate=RATE, layout=self._layout)
        if codecs.sound not in LOSSLESS:
            self._stream.bit_rate = SOUND_BITS
        self._resampler: AudioResampler | None = None
        self._kind: tuple[Any, ...] = ()
        self._next: int | None = None
        self._silence_left = SILENCE_MAX * RATE

    @property
    def seconds(self) -> float:
        """See above."""
        return (self._next or 0) / RATE

    def add(self, frame: AudioFrame | None, seconds: float) -> None:
        """Add a sound that is due then. The first one says when the stream begins; the others follow each other, and
        silence takes the place of what is missing between them. None: that was all.
        """
        import av

        kind = (frame.format.name, frame.layout.name, frame.sample_rate) if frame is not None else ()
        missing = self._missing_before(seconds) if frame is not None else 0
        if self._resampler is not None and (missing or kind != self._kind):
            self._write(self._resampler.resample(None), seconds)
            self._resampler = None
        if frame is None:
            return
        self._write(self._silence(missing), seconds)
        if self._resampler is None:
            form = self._stream.codec_context.format.name
            self._resampler, self._kind = av.AudioResampler(format=form, layout=self._layout, rate=RATE), kind
        frame.pts = None
        self._write(self._resampler.resample(frame), seconds)

    def finish(self) -> None:
        """That was all."""
        self.add(None, 0.0)
        self._container.mux(self._stream.encode(None))

    def _missing_before(self, seconds: float) -> int:
        """How many samples of silence keep what is due then in step with the pictures."""
        missing = 0 if self._next is None else round(seconds * RATE) - self._next
        if not GAP * RATE < missing <= self._silence_left:
            return 0
        self._silence_left -= missing
        return missing

    def _silence(self, samples: int) -> Iterator[AudioFrame]:
        """So many samples, in frames of a second."""
        import av

        for done in range(0, samples, RATE):
            form = self._stream.codec_context.format.name
            frame = av.AudioFrame(form, self._layout, min(RATE, samples - done))
            frame.sample_rate = RATE
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            yield frame

    def _write(self, parts: Iterable[AudioFrame], seconds: float) -> None:
        """Put these at the end; if they are the first ones, they begin at `seconds`."""
        for part in parts:
            self._next = round(seconds * RATE) if self._next is None else self._next
            part.pts, part.time_base = self._next, Fraction(1, RATE)
            self._next += part.samples
            self._container.mux(self._stream.encode(part))
