"""What FFmpeg's filters measure of a sound: its loudness, its silences.

The filters write their values into the frames' metadata, which not every version of PyAV shows; `ametadata` filters
write them to files instead, in a folder of the caller's: some 2 MB for an hour of loudness.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

GATE_LUFS: Final = -70.0
"""The absolute gate of ITU-R BS.1770-4: what is quieter does not count. All of it quieter: there is no loudness."""


EDGE: Final = 0.05
"""A silence that starts so many seconds after the first frame is still the beginning: codecs put a little before it."""


class Measure:
    """A filter that measures one stream, frame by frame.

    Args:
        stream: What will be measured.
        folder: A folder for the values.
        arguments: The filter's arguments.

    Attributes:
        begins: When the first frame is due, in seconds from the start of the file.
        ends: When the last one so far ends, by the same clock.
    """

    FILTER: ClassVar[str] = ""
    KEYS: ClassVar[tuple[str, ...]] = ()
    """The metadata that the filter writes."""

    def __init__(self, stream: AudioStream, folder: Path, **arguments: str) -> None:
        from av.filter import Graph

        self.begins = self.ends = 0.0
        self._measured = False
        self._base = stream.time_base or Fraction(1, stream.codec_context.sample_rate)
        self._files = {key: folder / f"{key}.txt" for key in self.KEYS}
        self._graph = Graph()
        chain = [self._graph.add_abuffer(template=stream), self._graph.add(self.FILTER, **arguments)]
        for key, file in self._files.items():
            chain.append(self._graph.add("ametadata", mode="print", key=key, file=str(file), direct="1"))
        self._graph.link_nodes(*chain, self._graph.add("abuffersink")).configure()

    def add(self, frame: AudioFrame, seconds: float) -> None:
        """Measure one more frame, which is due then. What is measured of time is by that clock and not by the stream's
        own, which may begin anywhere.
        """
        if not self._measured:
            self.begins, self._measured = seconds, True
        self.ends = seconds + frame.samples / frame.sample_rate
        frame.pts, frame.time_base = round(seconds / self._base), self._base
        self._push(frame)

    def _push(self, frame: AudioFrame | None) -> None:
        from av import error as ffmpeg

        self._graph.push(frame)
        try:
            while True:
                self._graph.pull()
        except (ffmpeg.BlockingIOError, ffmpeg.EOFError):
            return

    def result(self) -> dict[str, Any]:
        """What was measured. Ends the measurement."""
        raise NotImplementedError

    def lines(self, key: str) -> list[bytes]:
        """What was written for a key, such as `-23.012`, in order."""
        try:
            content = self._files[key].read_bytes()
        except FileNotFoundError:
            return []
        mark = key.encode() + b"="
        return [line.removeprefix(mark) for line in content.split(b"\n") if line.startswith(mark)]


class Loudness(Measure):
    """Integrated loudness and loudness range.

    FFmpeg's `ebur128` follows EBU R128 and ITU-R BS.1770-4: K-weighting, blocks of 400 ms that overlap by 75 %, gates
    at -70 LUFS and at 10 LU below the ungated loudness; the range as in EBU Tech 3342.
    """

    FILTER = "ebur128"
    KEYS = ("lavfi.r128.I", "lavfi.r128.LRA")

    def __init__(self, stream: AudioStream, folder: Path) -> None:
        super().__init__(stream, folder, metadata="1")

    def result(self) -> dict[str, Any]:
        """`integrated_lufs` (None: silence, or shorter than a block) and `range_lu`."""
        self._push(None)
        integrated, range = (self._last(key) for key in self.KEYS)
        if integrated is None or integrated <= GATE_LUFS:
            return {"integrated_lufs": None, "range_lu": None}
        return {"integrated_lufs": round(integrated, 2), "range_lu": range and round(range, 2)}

    def _last(self, key: str) -> float | None:
        try:
            value = float(self.lines(key)[-1])
        except (IndexError, ValueError):
            return None
        return value if math.isfinite(value) else None


class Silences(Measure):
    """Where nothing is heard on any channel.

    Args:
        stream: What will be measured.
        folder: A folder for the values.
        below: What counts as nothing, in dBFS.
        least: The shortest silence that counts, in seconds.
    """

    FILTER = "silencedetect"
    KEYS = ("lavfi.silence_start", "lavfi.silence_end")

    def __init__(self, stream: AudioStream, folder: Path, *, below: int, least: float) -> None:
        super().__init__(stream, folder, noise=f"{below}dB", duration=f"{least:.3f}")

    def result(self) -> dict[str, Any]:
        """`silences` (`start`, `end`), and `cuts`: the middle of each that is neither the beginning nor the end."""
        self._push(None)
        starts, ends = ([max(0.0, float(line)) for line in self.lines(key)] for key in self.KEYS)
        ends += [self.ends] * (len(starts) - len(ends))  # it lasts until the end: no frame comes to tell so
        found = zip(starts, ends, strict=False)
        pairs = [(start, min(end, self.ends)) for start, end in found if start < self.ends]
        return {
            "silences": [{"start": round(start, 3), "end": round(end, 3)} for start, end in pairs],
            "cuts": [
                round((start + end) / 2, 3) for start, end in pairs if start > self.begins + EDGE and end < self.ends
            ],
        }
