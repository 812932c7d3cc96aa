"""Loudness against signals whose loudness the standard states, and the picture of a wave."""

from __future__ import annotations

import io
import math
import wave
from array import array
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

import itertools

import av
from PIL import Image

from workerhost.bin.demo_clips import Clip, Source, encode
from workerhost.workers import runner, values
from workerhost.workers.audio import AudioWorker
from workerhost.workers.task import Task

RATE = 48_000


def tones(path: Path, *parts: tuple[float, float], channels: int = 2) -> Path:
    """A wave file of 1 kHz sines: (peak in dBFS, seconds)."""
    sound = array("h")
    for level, seconds in parts:
        peak = 32767 * 10 ** (level / 20)
        period = [round(peak * math.sin(math.tau * n / 48)) for n in range(48)]
        sound.extend([sample for sample in period for _ in range(channels)] * round(seconds * 1000))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return path


def run(type: str, path: Path, **more: Any) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    told: list[tuple[float, str]] = []
    task = Task(1, type, {"path": str(path), **more})
    end = runner.run(AudioWorker, task, on_progress=lambda fraction, note: told.append((fraction, note)))
    assert end.outcome == 0, end.detail
    return values.unpack(end.body), told


@pytest.mark.parametrize(
    ("parts", "loudness"),
    [
        # EBU Tech 3341, minimum requirements, cases 1 to 4: stereo sines, in dBFS for seconds, within 0.1 LU.
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        # Case 5: without the relative gate this one would be wrong.
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_loudness_is_what_the_standard_says(tmp_path: Path, parts: list[tuple[float, float]], loudness: float) -> None:
    result, _ = run("audio.loudness", tones(tmp_path / "tone.wav", *parts))
    assert result["integrated_lufs"] == pytest.approx(loudness, abs=0.1)
    assert result["duration"] == pytest.approx(sum(seconds for _, seconds in parts), abs=0.01)


def test_one_channel_counts_half_of_two(tmp_path: Path) -> None:
    result, _ = run("audio.loudness", tones(tmp_path / "mono.wav", (-23, 5), channels=1))
    assert result["integrated_lufs"] == pytest.approx(-26.0, abs=0.1)


def test_the_range_tells_quiet_from_loud_parts(tmp_path: Path) -> None:
    # EBU Tech 3342, case 1: 20 s at -20 dBFS, 20 s at -30 dBFS have a range of 10 LU, within 1.
    result, _ = run("audio.loudness", tones(tmp_path / "two.wav", (-20, 20), (-30, 20)))
    assert result["range_lu"] == pytest.approx(10.0, abs=1.0)


def test_silence_and_a_sound_shorter_than_a_block_have_no_loudness(tmp_path: Path) -> None:
    silence = tones(tmp_path / "silence.wav", (-200, 3))
    assert run("audio.loudness", silence)[0] == {"integrated_lufs": None, "range_lu": None, "duration": 3.0}
    blip = tones(tmp_path / "blip.wav", (-20, 0.2))
    assert run("audio.loudness", blip)[0] == {"integrated_lufs": None, "range_lu": None, "duration": 0.2}


def test_progress_follows_the_position_in_the_file(tmp_path: Path) -> None:
    path = tones(tmp_path / "tone.wav", (-23, 20))
    for type in ("audio.loudness", "audio.waveform"):
        _, told = run(type, path)
        fractions = [fraction for fraction, _ in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        steps = [later - earlier for earlier, later in itertools.pairwise(fractions)]
        assert max(steps) < 0.05
        assert told[len(told) // 2][1] == "0:10 of 0:20"


def test_a_film_can_be_heard_too(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    encode(Clip("film.mp4", "", 3, (64, 48), Source("testsrc2", "size=64x48"), "0.1*sin(2*PI*997*t)"), path)
    facts, _ = run("audio.probe", path)
    assert facts["audio"] == {"codec": "aac", "sample_rate": 48_000, "channels": 2, "layout": "stereo"}
    assert facts["video"]["width"] == 64
    assert run("audio.loudness", path)[0]["integrated_lufs"] == pytest.approx(-23.0, abs=0.3)


def test_a_sound_that_changes_its_kind_is_drawn_and_its_loudness_refused_for_good(tmp_path: Path) -> None:
    both = tmp_path / "both.aac"
    for number, (rate, layout) in enumerate(((48_000, "stereo"), (44_100, "mono"))):
        path = tmp_path / f"{number}.aac"
        with av.open(str(path), "w") as opened:
            target: Any = opened  # PyAV's types leave open what a packet belongs to
            stream = target.add_stream("aac", rate=rate, layout=layout)
            for part in range(60):
                frame = av.AudioFrame("fltp", layout, 1024)
                for plane in frame.planes:
                    plane.update(array("f", [0.3 * math.sin(n / 20) for n in range(1024)]).tobytes())
                frame.sample_rate, frame.pts = rate, part * 1024
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        with both.open("ab") as file:
            file.write(path.read_bytes())
    result, _ = run("audio.waveform", both)
    assert result["duration"] == pytest.approx(61 * 1024 / 48_000 + 61 * 1024 / 44_100, abs=0.03)
    end = runner.run(AudioWorker, Task(1, "audio.loudness", {"path": str(both)}))
    assert end.detail is not None
    assert end.detail["message"] == f"{both}: its sound changes from 48000 Hz stereo to 44100 Hz mono after 0:01"
    assert end.detail["kind"] == "permanent"


def test_a_wave_is_drawn_as_high_as_it_is_loud(tmp_path: Path) -> None:
    path = tones(tmp_path / "steps.wav", (-200, 2), (-20, 2), (-2, 2), channels=1)
    result, _ = run("audio.waveform", path, width=300, height=100)
    assert len(result["image"]) < 20_000
    assert result["peak_dbfs"] == pytest.approx(-2.0, abs=0.3)
    with Image.open(io.BytesIO(result["image"])) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (300, 100))
        alpha = image.getchannel("A")
        heights = [sum(alpha.getpixel((column, y)) != 0 for y in range(100)) for column in (51, 150, 249)]
    # The height is the square root of the level: 0, 0.1 and 0.79.
    assert heights == [pytest.approx(2, abs=1), pytest.approx(32, abs=3), pytest.approx(88, abs=4)]


def test_a_wave_of_a_sound_shorter_than_the_picture_is_wide_is_drawn(tmp_path: Path) -> None:
    path = tones(tmp_path / "blip.wav", (-6, 0.1))
    result, _ = run("audio.waveform", path)
    assert (result["width"], result["height"], result["duration"]) == (800, 160, 0.1)


def test_silences_are_found_and_where_to_cut(tmp_path: Path) -> None:
    parts = [(-200, 1.0), (-20, 2.0), (-200, 0.8), (-20, 1.0), (-200, 0.2), (-20, 1.0), (-70, 1.5)]
    result, told = run("audio.silences", tones(tmp_path / "pauses.wav", *parts))
    found = [(silence["start"], silence["end"]) for silence in result["silences"]]
    for one, wanted in zip(found, [(0.0, 1.0), (3.0, 3.8), (6.0, 7.5)], strict=True):
        assert one == pytest.approx(wanted, abs=0.03)
    assert result["cuts"] == [pytest.approx(3.4, abs=0.03)]
    assert result["duration"] == 7.5
    assert told[-1] == (1.0, "0:07 of 0:07")


def test_silences_are_told_by_the_clock_of_the_file_wherever_its_stream_begins(tmp_path: Path) -> None:
    sound = tones(tmp_path / "a.wav", (-200, 1.0), (-20, 2.0), (-200, 0.8), (-20, 1.0), (-200, 1.0))
    mp3, late = tmp_path / "a.mp3", tmp_path / "late.ts"
    run("audio.transcode", sound, out=str(mp3))
    with av.open(str(mp3)) as source, av.open(str(late), "w") as opened:
        target: Any = opened
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts = packet.dts = packet.pts + round(100 / packet.time_base)
                packet.stream = stream
                target.mux(packet)
    for path in (sound, mp3, late):
        result, _ = run("audio.silences", path)
        found = [time for silence in result["silences"] for time in (silence["start"], silence["end"])]
        assert found == pytest.approx([0.0, 1.0, 3.0, 3.8, 4.8, 5.8], abs=0.05), path.name
        assert result["cuts"] == [pytest.approx(3.4, abs=0.05)], path.name


def test_what_counts_as_silence_can_be_said(tmp_path: Path) -> None:
    path = tones(tmp_path / "quiet.wav", (-20, 1.0), (-45, 0.4), (-20, 1.0), (-70, 0.4), (-20, 1.0))
    assert run("audio.silences", path)[0]["cuts"] == []
    assert run("audio.silences", path, least=0.2)[0]["cuts"] == [pytest.approx(2.6, abs=0.03)]
    assert run("audio.silences", path, least=0.2, below=-40)[0]["cuts"] == pytest.approx([1.2, 2.6], abs=0.03)


def test_a_silence_of_more_than_a_day_is_not_looked_for(tmp_path: Path) -> None:
    path = tones(tmp_path / "tone.wav", (-20, 1.0))
    assert run("audio.silences", path, least=86_400)[0]["silences"] == []
    end = runner.run(AudioWorker, Task(1, "audio.silences", {"path": str(path), "least": 90_000}))
    assert end.detail is not None
    assert end.detail["message"] == "audio.silences: least must be a number of seconds, 0 to 86400; got 90000"
    assert end.detail["kind"] == "permanent"


def test_a_sound_on_one_channel_alone_is_no_silence_and_nothing_at_all_is_one(tmp_path: Path) -> None:
    path = tones(tmp_path / "left.wav", (-20, 2.0))
    with wave.open(str(path), "rb") as file:
        samples = array("h", file.readframes(file.getnframes()))
    samples[1::2] = array("h", [-sample for sample in samples[::2]])  # out of phase: mixed together it would be silent
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    assert run("audio.silences", path)[0]["silences"] == []
    nothing = run("audio.silences", tones(tmp_path / "nothing.wav", (-200, 2.0)))[0]
    assert (nothing["silences"], nothing["cuts"]) == ([{"start": 0.0, "end": 2.0}], [])
