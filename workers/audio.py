"""Work on sounds, alone or in a film: facts, loudness, a picture of the wave.

    audio.probe     path
    audio.loudness  path
    audio.waveform  path, width (800), height (160), out

Without `out` the picture is in the result, under `image`, as the bytes of a PNG with a transparent background; with
`out` it is stored there, on the machine of the host, and the result says `out`.
"""

from __future__ import annotations

import math
import operator
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .base import BaseWorker
from .media import MediaFile, clock_text, load_libraries
from .options import Options
from .pictures import deliver
from .task import Task

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from PIL.Image import Image

GATE_LUFS: Final = -70.0
"""The absolute gate of ITU-R BS.1770-4: what is quieter does not count. All of it quieter: there is no loudness."""

WAVE_RATE: Final = 16_000
WAVE_BLOCK: Final = 320
"""A wave is measured in mono, in blocks of 20 ms, and drawn from those: an hour is 180,000 blocks."""

FULL_SCALE: Final = 32_768.0
PEAK_COLOR: Final = (99, 143, 255, 120)
LOUD_COLOR: Final = (79, 124, 245, 255)
"""Blue that can be seen on a light and on a dark page."""


class AudioWorker(BaseWorker):
    """Serves the types of this module. Needs the extra `media`."""

    type = "audio"

    def can_handle(self, task: Task) -> bool:
        """Whether it is one of the types of this module."""
        return task.type in ("audio.probe", "audio.loudness", "audio.waveform")

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A file that cannot be used is a final `Fail` that names it and the reason."""
        load_libraries()
        if task.type == "audio.probe":
            return self._probe(Options(task, ["path"]))
        if task.type == "audio.loudness":
            return self._loudness(Options(task, ["path"]))
        return self._waveform(Options(task, ["path", "width", "height", "out"]))

    def _probe(self, options: Options) -> dict[str, Any]:
        with MediaFile(options.path()) as media:
            stream = media.audio()
            facts = media.facts(stream)
            if next(media.audio_frames(stream), None) is None:
                raise media.fail("it is damaged: no sound can be decoded")
            return facts

    def _loudness(self, options: Options) -> dict[str, Any]:
        with MediaFile(options.path()) as media:
            stream = media.audio()
            meter: LoudnessMeter | None = None
            seconds, first = 0.0, ""
            for frame in media.audio_frames(stream):
                if meter is None:
                    meter, first = LoudnessMeter(stream, self.workdir), kind_of(frame)
                elif kind_of(frame) != first:
                    raise media.fail(f"its sound changes from {first} to {kind_of(frame)} after {clock_text(seconds)}")
                meter.add(frame)
                seconds += frame.samples / frame.sample_rate
                self._report(media, seconds)
                if self.cancelled:
                    return {}
            if meter is None:
                raise media.fail("it is damaged: no sound can be decoded")
            return {**meter.result(), "duration": round(seconds, 3)}

    def _waveform(self, options: Options) -> dict[str, Any]:
        width, height = options.whole("width", 800, 16, 8000), options.whole("height", 160, 16, 2000)
        out = options.text("out")
        with MediaFile(options.path()) as media:
            stream = media.audio()
            wave = Wave()
            for frame in media.audio_frames(stream):
                wave.add(frame)
                self._report(media, wave.seconds)
                if self.cancelled:
                    return {}
            wave.add(None)
            if not wave.peaks:
                raise media.fail("it is damaged: no sound can be decoded")
            result = deliver(wave.draw(width, height), out, kind="png")
            peak = max(wave.peaks)
            peak_dbfs = round(20 * math.log10(peak / FULL_SCALE), 1) if peak else None
            return {**result, "duration": round(wave.seconds, 3), "peak_dbfs": peak_dbfs}

    def _report(self, media: MediaFile, seconds: float) -> None:
        total = f" of {clock_text(media.duration)}" if media.duration else ""
        self.report_progress(media.fraction, clock_text(seconds) + total)


def kind_of(frame: AudioFrame) -> str:
    """What a recording may change in the middle, in words."""
    return f"{frame.sample_rate} Hz {frame.layout.name}"


class LoudnessMeter:
    """Integrated loudness and loudness range of one stream.

    Measured by FFmpeg's filter `ebur128`, which follows EBU R128 and ITU-R BS.1770-4: K-weighting, blocks of 400 ms
    that overlap by 75 %, gates at -70 LUFS and at 10 LU below the ungated loudness; the range as in EBU Tech 3342.
    The filter writes its values into the frames' metadata, which not every version of PyAV shows; two `ametadata`
    filters write them to files instead, some 2 MB an hour each.

    Args:
        stream: What will be measured.
        folder: A folder for those files.
    """

    VALUES: Final = ("I", "LRA")

    def __init__(self, stream: AudioStream, folder: Path) -> None:
        from av.filter import Graph

        self._files = {name: folder / f"loudness-{name}.txt" for name in self.VALUES}
        self._graph = Graph()
        chain = [self._graph.add_abuffer(template=stream), self._graph.add("ebur128", metadata="1")]
        for name, file in self._files.items():
            key = f"lavfi.r128.{name}"
            chain.append(self._graph.add("ametadata", mode="print", key=key, file=str(file), direct="1"))
        self._graph.link_nodes(*chain, self._graph.add("abuffersink")).configure()

    def add(self, frame: AudioFrame | None) -> None:
        """Measure one more frame; None: that was all."""
        from av import error as ffmpeg

        self._graph.push(frame)
        try:
            while True:
                self._graph.pull()
        except (ffmpeg.BlockingIOError, ffmpeg.EOFError):
            return

    def result(self) -> dict[str, Any]:
        """`integrated_lufs` (None: silence, or shorter than a block) and `range_lu`. Ends the measurement."""
        self.add(None)
        integrated, range = (self._last(name) for name in self.VALUES)
        if integrated is None or integrated <= GATE_LUFS:
            return {"integrated_lufs": None, "range_lu": None}
        return {"integrated_lufs": round(integrated, 2), "range_lu": range and round(range, 2)}

    def _last(self, name: str) -> float | None:
        """The last value in a file of lines `lavfi.r128.I=-23.012`, each after a line about its frame."""
        try:
            with self._files[name].open("rb") as file:
                file.seek(-min(512, self._files[name].stat().st_size), 2)
                lines = [line for line in file.read().split(b"\n") if line.startswith(b"lavfi.")]
            value = float(lines[-1].partition(b"=")[2])
        except (OSError, IndexError, ValueError):
            return None
        return value if math.isfinite(value) else None


class Wave:
    """The peak and the loudness (root mean square) of each block of a sound.

    Attributes:
        peaks: Of each block, 0 to 32768.
        seconds: How much has been added.
    """

    def __init__(self) -> None:
        self._resampler: AudioResampler | None = None
        self._kind = ""
        self._rest = array("h")
        self.peaks = array("f")
        self._powers = array("f")
        self.seconds = 0.0

    def add(self, frame: AudioFrame | None) -> None:
        """Measure one more frame; None: that was all."""
        import av

        if self._resampler is not None and (frame is None or kind_of(frame) != self._kind):
            self._take(self._resampler.resample(None))
            self._resampler = None
        if frame is not None:
            self.seconds += frame.samples / frame.sample_rate
            if self._resampler is None:
                self._resampler = av.AudioResampler(format="s16", layout="mono", rate=WAVE_RATE)
                self._kind = kind_of(frame)
            self._take(self._resampler.resample(frame))
        samples, whole = self._rest, len(self._rest) - len(self._rest) % WAVE_BLOCK
        for start in range(0, whole, WAVE_BLOCK):
            self._measure(samples[start : start + WAVE_BLOCK])
        self._rest = samples[whole:]
        if frame is None and self._rest:
            self._measure(self._rest)

    def _take(self, parts: list[AudioFrame]) -> None:
        for part in parts:
            self._rest.frombytes(bytes(part.planes[0])[: part.samples * 2])

    def _measure(self, block: array[int]) -> None:
        highest, lowest = max(block), min(block)
        self.peaks.append(max(highest, -lowest))
        self._powers.append(sum(map(operator.mul, block, block)) / len(block))

    def draw(self, width: int, height: int) -> Image:
        """Bars around a middle line: pale up to the peak, strong up to the root mean square.

        Their height is the square root of the level, so that quiet sounds can be seen beside loud ones.
        """
        from PIL import Image, ImageDraw

        step = 3 if width >= 240 else 1  # a bar of two pixels and a gap, where there is room
        bars = width // step
        image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(image)
        middle = height / 2
        for bar in range(bars):
            first = bar * len(self.peaks) // bars
            last = max(first + 1, (bar + 1) * len(self.peaks) // bars)
            peak = max(self.peaks[first:last]) / FULL_SCALE
            loud = math.sqrt(sum(self._powers[first:last]) / (last - first)) / FULL_SCALE
            for level, color in ((peak, PEAK_COLOR), (loud, LOUD_COLOR)):
                reach = max(0.5, math.sqrt(level) * (middle - 1))
                box = (bar * step, round(middle - reach), bar * step + max(0, step - 2), round(middle + reach))
                draw.rectangle(box, fill=color)
        return image
