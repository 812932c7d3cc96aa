"""What the media workers share: opening a file, reading it, and what can be wrong with it.

Whatever is wrong with a file becomes one `Fail` that names the file and the reason and is final, because the file will
not mend itself; only what may pass (no memory, too many open files, a network disk that does not answer) is tried
again. Nothing here decides what is computed from the frames.

PyAV and Pillow are the extra `media`; they are imported when a task runs, so that this module loads without them.
"""

from __future__ import annotations

import errno
import importlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from .errors import Fail, plain
from .truncation import has_media_signature, what_is_missing

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MISSING_LIBRARIES: Final = "the media workers need PyAV and Pillow: pip install 'workerhost[media]'"
TRANSIENT: Final = frozenset(
    {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT, errno.ESTALE, errno.EAGAIN, errno.EINTR}
)
"""What may be gone at the next try. An EIO is not among them: FFmpeg says it of damaged files too."""

DAMAGED_PACKETS_MAX: Final = 0.1
"""Part of a file's packets that may be undecodable before the file counts as damaged. Players play such files too."""

BARE: Final = frozenset({"aac", "ac3", "aiff", "amr", "dts", "eac3", "flac", "mp3", "w64", "wav"})
"""Formats of sound alone that state no times: FFmpeg counts them, and counts wrong where the sound changes its rate."""

PICTURE: Final = "it is a picture, not a film or a sound"
NOT_MEDIA: Final = {
    "image2": PICTURE,
    "tty": "it is a text, not a media file",
    "hls": "it is a playlist, not a media file",
    "concat": "it is a playlist, not a media file",
    "dash": "it is a playlist, not a media file",
}
"""What FFmpeg opens all the same, by the name of its format."""


def load_libraries() -> None:
    """Make sure that PyAV and Pillow are there.

    Raises:
        Fail: They are not; the message says what to install.
    """
    try:
        importlib.import_module("av")
        importlib.import_module("PIL.Image")
    except ImportError as error:
        raise Fail(f"{MISSING_LIBRARIES} ({error})", kind="configuration") from error


def reason_of(error: OSError | Exception) -> tuple[str, bool]:
    """Why something could not be read, in words, and whether it may go better at the next try."""
    code = getattr(error, "errno", None)
    text = {
        errno.ENOENT: "there is no such file on this host",
        errno.ENOTDIR: "there is no such file on this host",
        errno.EACCES: "this host may not read it (permission denied)",
        errno.EPERM: "this host may not read it (permission denied)",
        errno.EISDIR: "it is a folder, not a media file",
        errno.EIO: "it cannot be read (input/output error)",
        errno.ENAMETOOLONG: "its name is too long",
    }.get(code or 0)
    return text or f"it cannot be read ({getattr(error, 'strerror', None) or error})", code in TRANSIENT


class MediaFile:
    """An open media file, and how far it has been read. A context manager.

    Opening checks what can be checked without decoding: that the file is there, is not empty, is whole (as far as its
    format says how long it should be) and is something that FFmpeg can read. Only this one file is ever opened: FFmpeg
    gets no other protocol than `file`, so a prepared file cannot make it fetch anything, and
    takes no name for a pattern.

    Args:
        path: Where the file is, as this host sees it.

    Attributes:
        path: As given.
        size: Bytes.
        format: FFmpeg's name of the container format, the first of several.
        duration: Seconds, or None where the file does not say.
        timed: Whether the file itself says when its sounds are due.

    Raises:
        Fail: The file cannot be used; the message names it and the reason.
    """

    def __init__(self, path: str) -> None:
        import av
        from av import error as ffmpeg

        self.path = path
        self.size = self._size_on_disk()
        self._read_to = 0
        damage = what_is_missing(path, self.size)
        if damage:
            raise self.fail(damage)
        try:
            # "file:" keeps a name such as "a:b.mp4" from being read as a protocol, and "pattern_type" one such as
            # "f%03d.jpg" from standing for a row of other files. Old tags are no UTF-8.
            name, options = f"file:{Path(path).absolute()}", {"protocol_whitelist": "file", "pattern_type": "none"}
            self._container = av.open(name, options=options, metadata_errors="replace")
        except (ffmpeg.FFmpegError, UnicodeError) as error:
            raise self._explain(error) from error
        self.format = self._container.format.name.partition(",")[0]
        odd = PICTURE if self.format.endswith("_pipe") else NOT_MEDIA.get(self.format)
        if odd:
            self._container.close()
            raise self.fail(odd)
        self.duration = self._container.duration / 1e6 if self._container.duration else None
        self.timed = self.format not in BARE
        self._start = (self._container.start_time or 0) / 1e6

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def fraction(self) -> float:
        """How much of the file's bytes has been read, 0 to 1."""
        return min(1.0, self._read_to / self.size)

    def has(self, kind: str) -> bool:
        """Whether there is a stream of `kind` ("video" or "audio")."""
        return bool(self._streams(kind))

    def facts(self, main: Stream) -> dict[str, Any]:
        """What the file states about itself: its duration (that of `main` where it says none), its streams. Whether
        another stream than `main` can be decoded is not asked.
        """
        duration = self.measure(main)
        facts: dict[str, Any] = {
            "path": self.path,
            "format": self.format,
            "bytes": self.size,
            "duration": round(duration, 3),
            "bit_rate": self._container.bit_rate or round(8 * self.size / duration),
            "video": None,
            "audio": None,
        }
        for kind, tell in (("video", picture_facts), ("audio", sound_facts)):
            streams = self._streams(kind)
            if streams:
                facts[kind] = tell(streams[0])
        title = self._container.metadata.get("title")
        return {**facts, "title": plain(title, 200)} if title else facts

    def video(self) -> VideoStream:
        """The first film stream; a cover picture is none."""
        return cast("VideoStream", self._first("video"))

    def audio(self) -> AudioStream:
        """The first sound stream."""
        return cast("AudioStream", self._first("audio"))

    def frames(self, *streams: Stream) -> Iterator[VideoFrame | AudioFrame]:
        """All frames of these streams from the present position to the end, in the order in which they stand in the
        file. Undecodable packets are left out.

        Raises:
            Fail: The file ends too early, or too much of it is damaged.
        """
        from av import error as ffmpeg

        packets = damaged = frames = 0
        ended = 0.0
        try:
            for packet in self._container.demux(*streams):
                if packet.pos is not None and packet.pos >= 0:
                    self._read_to = max(self._read_to, packet.pos + packet.size)
                if packet.pts is not None and packet.time_base:
                    ended = max(ended, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                packets += 1
                try:
                    decoded = cast("list[VideoFrame | AudioFrame]", packet.decode())
                except ffmpeg.InvalidDataError:
                    damaged += 1
                    continue
                frames += len(decoded)
                yield from decoded
        except ffmpeg.FFmpegError as error:
            raise self._explain(error) from error
        if damaged > max(1, packets * DAMAGED_PACKETS_MAX) or (damaged and not frames):
            raise self.fail(f"it is damaged: {damaged} of {packets} packets cannot be decoded")
        if self.format == "flac" and self.duration and ended < self.duration - max(0.5, self.duration * 0.02):
            raise self.fail(f"it is truncated: it should last {self.duration:.1f} s and ends after {ended:.1f} s")

    def video_frames(self, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
        """As `frames`, each with its time in seconds from the start of the film."""
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        at = -step
        for frame in self.frames(stream):
            at = self.time_of(frame, at + step)
            yield at, cast("VideoFrame", frame)

    def time_of(self, frame: VideoFrame | AudioFrame, otherwise: float) -> float:
        """When a frame is due, in seconds from the start of the file; `otherwise` where it does not say."""
        return max(0.0, otherwise if frame.time is None else frame.time - self._start)

    def audio_frames(self, stream: AudioStream) -> Iterator[AudioFrame]:
        """As `frames`, for sound."""
        return cast("Iterator[AudioFrame]", self.frames(stream))

    def seek(self, seconds: float) -> None:
        """Go to the last point at or before `seconds` where decoding can start."""
        from av import error as ffmpeg

        try:
            # To the beginning means before it: some formats land behind what they are told.
            self._container.seek(round((seconds + self._start if seconds > 0 else min(0.0, self._start)) * 1e6))
        except ffmpeg.FFmpegError as error:
            raise self.fail("it cannot be searched: a bare stream; put it into a container, such as MP4") from error

    def measure(self, stream: Stream) -> float:
        """The duration in seconds; read from the packets, without decoding, where the file does not say it."""
        from av import error as ffmpeg

        if self.duration is None:
            ended = 0.0
            try:
                for packet in self._container.demux(stream):
                    if packet.pts is not None and packet.time_base:
                        ended = max(ended, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            except ffmpeg.FFmpegError as error:
                raise self._explain(error) from error
            self.seek(0)
            self.duration = ended - self._start
        if self.duration <= 0:
            raise self.fail("nothing in it says how long it is")
        return self.duration

    def fail(self, reason: str, *, retry: bool = False) -> Fail:
        """The error for this file."""
        return Fail(f"{plain(self.path)}: {reason}", kind="system" if retry else "permanent")

    def _size_on_disk(self) -> int:
        try:
            status = Path(self.path).stat()
            if stat.S_ISREG(status.st_mode):
                Path(self.path).open("rb").close()
        except (OSError, ValueError) as error:
            reason, retry = reason_of(error)
            relative = getattr(error, "errno", 0) == errno.ENOENT and not Path(self.path).is_absolute()
            raise self.fail(reason + (f" (looked from {Path.cwd()})" if relative else ""), retry=retry) from error
        if stat.S_ISDIR(status.st_mode):
            raise self.fail("it is a folder, not a media file")
        if not stat.S_ISREG(status.st_mode):
            raise self.fail("it is not a regular file")
        if status.st_size == 0:
            raise self.fail("it is empty (0 bytes)")
        return status.st_size

    def _streams(self, kind: str) -> list[Stream]:
        from av.stream import Disposition

        return [s for s in self._container.streams if s.type == kind and not s.disposition & Disposition.attached_pic]

    def _first(self, kind: str) -> Stream:
        streams = self._streams(kind)
        if not streams:
            raise self.fail(f"it has no {kind} stream")
        # PyAV's types do not say so, but a stream of a codec that this FFmpeg does not know has no context.
        context = cast("Any", streams[0].codec_context)
        if context is None:
            raise self.fail(f"its {kind} is in a format that this FFmpeg cannot decode")
        # Slots are what runs side by side; a decoder that takes all cores as well would only disturb its neighbours.
        context.thread_count = 1
        return streams[0]

    def _explain(self, error: Exception) -> Fail:
        from av import error as ffmpeg

        if isinstance(error, ffmpeg.InvalidDataError):
            known = has_media_signature(self.path)
            return self.fail("it is damaged: FFmpeg cannot read it" if known else "it is not a media file")
        if isinstance(error, ffmpeg.EOFError):
            return self.fail("it is truncated: it ends before its content begins")
        reason, retry = reason_of(error)
        return self.fail(reason, retry=retry)


def picture_facts(stream: Any) -> dict[str, Any]:
    """What is known of a stream of pictures: of one in a codec that this FFmpeg does not know, little."""
    context, rate = stream.codec_context, stream.average_rate or stream.guessed_rate
    return {
        "codec": getattr(context, "name", None),
        "width": getattr(context, "width", None),
        "height": getattr(context, "height", None),
        "frame_rate": round(float(rate), 3) if rate else None,
        "frames": stream.frames or None,
    }


def sound_facts(stream: Any) -> dict[str, Any]:
    """The same of a stream of sound."""
    context = stream.codec_context
    layout = getattr(context, "layout", None)
    return {
        "codec": getattr(context, "name", None),
        "sample_rate": getattr(context, "sample_rate", None),
        "channels": getattr(layout, "nb_channels", None),
        "layout": getattr(layout, "name", None),
    }


def clock_text(seconds: float) -> str:
    """`75.2` -> `1:15`, `3675` -> `1:01:15`."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
