"""Work on sounds, alone or in a film: facts, loudness, silences, a picture of the wave, another format.

    audio.probe      path
    audio.loudness   path
    audio.silences   path, below (-50 dBFS), least (0.5 s)
    audio.waveform   path, width (800), height (160), out
    audio.transcode  path, out

Without `out` the picture is in the result, under `image`, as the bytes of a PNG with a transparent background; with
`out` it is stored there, on the machine of the host, and the result says `out`.
"""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .base import BaseWorker
from .measures import Loudness, Measure, Silences
from .media import MediaFile, clock_text, load_libraries
from .options import Options
from .pictures import deliver
from .task import Task
from .transcode import SOUNDS, needed_out, transcode

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from PIL.Image import Image

WAVE_RATE: Final = 16_000
WAVE_BLOCK: Final = 320
"""A wave is measured in mono, in blocks of 20 ms, and drawn from those: an hour is 180,000 blocks."""

FULL_SCALE: Final = 32_768.0
LEAST_MAX: Final = 86_400
"""FFmpeg looks for silences of a day at most."""

PEAK_COLOR: Final = (99, 143, 255, 120)
LOUD_COLOR: Final = (79, 124, 245, 255)
"""Blue that can be seen on a light and on a dark page."""


KNOWN: Final = {
    "audio.probe": ["path"],
    "audio.loudness": ["path"],
    "audio.silences": ["path", "below", "least"],
    "audio.waveform": ["path", "width", "height", "out"],
    "audio.transcode": ["path", "out"],
}
"""Type -> the names of its params."""


class AudioWorker(BaseWorker):
    """Serves the types of this module. Needs the extra `media`."""

    type = "audio"

    def can_handle(self, task: Task) -> bool:
        """Whether it is one of the types of this module."""
        return task.type in KNOWN

    def execute(self, task: Task) -> dict[str, Any]:
        """Do the task. A file that cannot be used is a final `Fail` that names it and the reason."""
        load_libraries()
        options = Options(task, KNOWN[task.type])
        if task.type == "audio.probe":
            return self._probe(options)
        if task.type == "audio.loudness":
            return self._measured(options, Loudness)
        if task.type == "audio.silences":
            below, least = options.whole("below", -50, -90, -10), options.seconds("least", LEAST_MAX)
            least = 0.5 if least is None else max(least, 0.01)
            return self._measured(options, partial(Silences, below=below, least=least))
        if task.type == "audio.transcode":
            return self._transcode(options)
        return self._waveform(options)

    def _probe(self, options: Options) -> dict[str, Any]:
        with MediaFile(options.path()) as media:
            stream = media.audio()
            facts = media.facts(stream)
            if next(media.audio_frames(stream), None) is None:
                raise media.fail("it is damaged: no sound can be decoded")
            return facts

    def _measured(self, options: Options, measure: Callable[[AudioStream, Path], Measure]) -> dict[str, Any]:
        with MediaFile(options.path()) as media:
            stream = media.audio()
            meter: Measure | None = None
            seconds, first = 0.0, ""
            for frame in media.audio_frames(stream):
                if meter is None:
                    meter, first = measure(stream, self.workdir), kind_of(frame)
                elif kind_of(frame) != first:
                    raise media.fail(f"its sound changes from {first} to {kind_of(frame)} after {clock_text(seconds)}")
                meter.add(frame, media.time_of(frame, meter.ends))
                seconds += frame.samples / frame.sample_rate
                self._report(media, seconds)
                if self.cancelled:
                    return {}
            if meter is None:
                raise media.fail("it is damaged: no sound can be decoded")
            return {**meter.result(), "duration": round(seconds, 3)}

    def _transcode(self, options: Options) -> dict[str, Any]:
        out = needed_out(options, SOUNDS)
        with MediaFile(options.path()) as media:
            return transcode(media, out, self, sound=media.audio())

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
