"""Films and sounds written anew: what comes out can be read by itself, and nothing else is left behind."""

from __future__ import annotations

from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

import av
from PIL.ImageDraw import ImageDraw

from workerhost.bin.demo_clips import Clip, Source, encode
from workerhost.workers import ends, runner, values
from workerhost.workers.audio import AudioWorker
from workerhost.workers.media import MediaFile
from workerhost.workers.task import Task
from workerhost.workers.transcode import FILMS, Shape, Target
from workerhost.workers.video import VideoWorker

Told = list[tuple[float, str]]


def run(type: str, **params: Any) -> tuple[runner.AttemptEnd, Told]:
    told: Told = []
    worker = VideoWorker if type.startswith("video") else AudioWorker
    task = Task(7, type, params)
    return runner.run(worker, task, on_progress=lambda fraction, note: told.append((fraction, note))), told


def result(type: str, **params: Any) -> Any:
    end, _ = run(type, **params)
    assert end.outcome == 0, end.detail
    return values.unpack(end.body)


def failure(type: str, **params: Any) -> str:
    end, _ = run(type, **params)
    assert end.detail is not None, values.unpack(end.body)
    assert end.detail["error_type"] == "Fail", end.detail["traceback"]
    return str(end.detail["message"])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of picture and sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    encode(Clip("film.mp4", "A film", 4, (160, 90), Source("testsrc2", "size=160x90"), "0.3*sin(2*PI*440*t)"), path)
    return path


@pytest.mark.parametrize(
    ("name", "format", "video", "audio"),
    [
        ("new.mp4", "mov", "h264", "aac"),
        ("new.mkv", "matroska", "h264", "aac"),
        ("new.webm", "matroska", "vp9", "opus"),
    ],
)
def test_a_film_in_another_format_lasts_as_long_and_sounds_the_same(
    film: Path, tmp_path: Path, name: str, format: str, video: str, audio: str
) -> None:
    out = tmp_path / name
    end, told = run("video.transcode", path=str(film), out=str(out))
    assert end.outcome == 0, end.detail
    made = values.unpack(end.body)
    assert made == {
        "out": str(out),
        "bytes": out.stat().st_size,
        "duration": pytest.approx(4.0, abs=0.1),
        "width": 160,
        "height": 90,
    }
    facts = result("video.probe", path=str(out))
    assert facts["format"] == format
    assert facts["duration"] == pytest.approx(4.0, abs=0.15)
    assert (facts["video"]["codec"], facts["audio"]["codec"]) == (video, audio)
    assert facts["audio"]["channels"] == 2
    loud, before = (result("audio.loudness", path=str(path))["integrated_lufs"] for path in (out, film))
    assert loud == pytest.approx(before, abs=0.5)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    fractions = [fraction for fraction, _ in told]
    assert len(fractions) > 50
    assert max(fractions) == pytest.approx(1.0, abs=0.05)
    assert told[-1][1] == "0:04 of 0:04" or told[-1][1] == "0:03 of 0:04"


def test_every_picture_is_there_and_in_its_place(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.mp4"
    result("video.transcode", path=str(film), out=str(out))
    with av.open(str(film)) as old, av.open(str(out)) as new:
        times = [[float(frame.time or 0) for frame in container.decode(video=0)] for container in (old, new)]
    assert times[1] == pytest.approx([time - times[0][0] for time in times[0]], abs=0.001)


def test_a_film_can_be_made_smaller_and_never_larger(film: Path, tmp_path: Path) -> None:
    made = result("video.transcode", path=str(film), out=str(tmp_path / "small.mp4"), height=45)
    assert (made["width"], made["height"]) == (80, 46) or (made["width"], made["height"]) == (80, 44)
    made = result("video.transcode", path=str(film), out=str(tmp_path / "large.mp4"), height=900)
    assert (made["width"], made["height"]) == (160, 90)


def test_a_film_that_was_recorded_upright_is_upright_in_the_new_one(film: Path, tmp_path: Path) -> None:
    content = bytearray(film.read_bytes())
    one, minus, zero, unit = (65536).to_bytes(4, "big"), b"\xff\xff\x00\x00", bytes(4), (1 << 30).to_bytes(4, "big")
    straight = one + zero * 3 + one + zero * 3 + unit
    at = content.index(straight, content.index(b"tkhd", content.index(b"mvhd")))
    # A quarter turn to the right, as phones write it.
    content[at : at + len(straight)] = zero + one + zero + minus + zero * 4 + unit
    turned, out = tmp_path / "turned.mp4", tmp_path / "out.mp4"
    turned.write_bytes(content)
    made = result("video.transcode", path=str(turned), out=str(out))
    assert (made["width"], made["height"]) == (90, 160)
    before, after = (result("video.thumbnail", path=str(path), at=1, width=90)["image"] for path in (turned, out))
    assert likeness(before, after) < 12


def likeness(one: bytes, other: bytes) -> float:
    """How much two pictures of the same size differ on average, 0 to 255."""
    import io

    from PIL import Image, ImageChops, ImageStat

    first, second = (Image.open(io.BytesIO(image)).convert("L") for image in (one, other))
    assert first.size == second.size
    return ImageStat.Stat(ImageChops.difference(first, second)).mean[0]


def test_a_film_of_one_picture_in_hours_can_be_written_anew(tmp_path: Path) -> None:
    slow = tmp_path / "slow.mp4"
    with av.open(str(slow), "w") as opened:
        target: Any = opened  # PyAV's types leave open what a packet belongs to
        stream = target.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(2):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number * 8000, Fraction(1)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    result("video.transcode", path=str(slow), out=str(tmp_path / "new.mp4"))
    with av.open(str(tmp_path / "new.mp4")) as new:
        assert [frame.time for frame in new.decode(video=0)] == pytest.approx([0.0, 8000.0])


def dark(draw: ImageDraw, size: tuple[int, int], t: float) -> None:
    """Black, and white from the third second on."""
    if t >= 3:
        draw.rectangle((0, 0, *size), fill="white")


def with_a_gap(tmp_path: Path, later: float = 0.0) -> Path:
    """A film that is white and loud from the third second on, and has no sound from 1 to 2 s. What comes behind that
    is said to be `later` than it is.
    """
    whole, path = tmp_path / "whole.mp4", tmp_path / "gap.mkv"
    encode(Clip("whole.mp4", "", 4, (64, 48), dark, "0.3*sin(2*PI*440*t)*gte(t,3)"), whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as opened:
        target: Any = opened
        streams: dict[Any, Any] = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            seconds = float(packet.pts * packet.time_base)
            if packet.stream.type == "audio" and seconds >= 1:
                if seconds < 2:
                    continue
                packet.pts = packet.dts = packet.pts + round(later / packet.time_base)
            packet.stream = streams[packet.stream]
            target.mux(packet)
    return path


def changes(path: Path) -> tuple[float, float]:
    """When the picture gets white, and when the first sound is heard."""
    white = loud = 0.0
    resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
    with av.open(str(path)) as container:
        for each in container.decode(video=0, audio=0):
            frame: Any = each
            at = float(frame.time or 0.0)
            if isinstance(frame, av.VideoFrame):
                white = white or (at if bytes(frame.planes[0])[0] > 128 else 0.0)
                continue
            for part in resampler.resample(frame):
                samples = array("h", bytes(part.planes[0])[: part.samples * 2])
                first = next((number for number, sample in enumerate(samples) if abs(sample) > 1000), None)
                if first is not None:
                    loud = loud or at + first / 48_000
    return white, loud


@pytest.mark.parametrize("name", ["new.mp4", "new.webm"])
def test_where_sound_is_missing_there_is_silence_and_the_rest_stays_in_step(tmp_path: Path, name: str) -> None:
    gap, out = with_a_gap(tmp_path), tmp_path / name
    made = result("video.transcode", path=str(gap), out=str(out))
    assert made["duration"] == pytest.approx(4.0, abs=0.1)
    assert changes(out) == pytest.approx((3.0, 3.0), abs=0.1)


def test_a_sound_that_does_not_say_when_it_is_due_follows_the_one_before_it_however_far_the_picture_is(
    tmp_path: Path,
) -> None:
    film, out = tmp_path / "film.mp4", tmp_path / "new.mp4"
    encode(Clip("film.mp4", "", 2, (64, 48), Source("testsrc2", "size=64x48"), "0.3*sin(2*PI*440*t)"), film)
    shape = Shape(64, 48, turned=0, rate=Fraction(20))
    with MediaFile(str(film)) as media, Target(out, FILMS[".mp4"], shape, media.audio()) as target:
        frames = sorted(media.frames(media.video(), media.audio()), key=lambda frame: isinstance(frame, av.AudioFrame))
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                frame.pts = None
            target.add(frame, media.time_of(frame, target.reached(frame)))
        target.finish()
    assert result("video.probe", path=str(out))["duration"] == pytest.approx(2.0, abs=0.1)


def test_a_clock_of_the_sound_that_jumps_by_hours_makes_no_hours_of_silence(tmp_path: Path) -> None:
    gap, out = with_a_gap(tmp_path, later=5 * 3600), tmp_path / "new.mp4"
    assert result("video.transcode", path=str(gap), out=str(out))["duration"] == pytest.approx(4.0, abs=0.1)
    assert changes(out) == pytest.approx((3.0, 2.0), abs=0.1)


def test_a_bare_sound_that_changes_its_rate_gets_no_silence_for_times_that_nobody_stated(tmp_path: Path) -> None:
    both = tmp_path / "both.aac"
    for rate in (32_000, 48_000):
        part = tmp_path / f"{rate}.aac"
        with av.open(str(part), "w") as opened:
            target: Any = opened
            stream = target.add_stream("aac", rate=rate, layout="mono")
            for number in range(60):
                frame = av.AudioFrame("fltp", "mono", 1024)
                frame.planes[0].update(bytes(4096))
                frame.sample_rate, frame.pts = rate, number * 1024
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        with both.open("ab") as file:
            file.write(part.read_bytes())
    made = result("audio.transcode", path=str(both), out=str(tmp_path / "new.wav"))
    assert made["duration"] == pytest.approx(61 * 1024 / 32_000 + 61 * 1024 / 48_000, abs=0.05)


def test_a_silent_film_stays_silent(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    encode(Clip("silent.mp4", "", 1, (64, 48), Source("testsrc2", "size=64x48")), silent)
    result("video.transcode", path=str(silent), out=str(tmp_path / "new.mkv"))
    assert result("video.probe", path=str(tmp_path / "new.mkv"))["audio"] is None


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "aac"), ("a.mp3", "mp3float"), ("a.opus", "opus"), ("a.flac", "flac"), ("a.wav", "pcm_s16le")],
)
def test_the_sound_of_a_film_in_a_file_of_its_own(film: Path, tmp_path: Path, name: str, codec: str) -> None:
    out = tmp_path / name
    made = result("audio.transcode", path=str(film), out=str(out))
    assert made == {"out": str(out), "bytes": out.stat().st_size, "duration": pytest.approx(4.0, abs=0.1)}
    facts = result("audio.probe", path=str(out))
    assert (facts["audio"]["codec"], facts["video"]) == (codec, None)
    assert facts["duration"] == pytest.approx(4.0, abs=0.1)
    loud, before = (result("audio.loudness", path=str(path))["integrated_lufs"] for path in (out, film))
    assert loud == pytest.approx(before, abs=0.5)


def test_a_cancelled_task_stops_soon_and_leaves_nothing(film: Path, tmp_path: Path) -> None:
    attempts: list[runner.Attempt] = []
    seen: list[float] = []

    def stop(attempt: runner.Attempt, fraction: float, note: str) -> None:
        seen.append(fraction)
        if fraction > 0.25:
            attempt.cancel()

    task = Task(7, "video.transcode", {"path": str(film), "out": str(tmp_path / "new.mp4")})
    attempts.append(runner.Attempt(None, stop, task=task))
    from workerhost.workers.registry import offer_of

    assert runner.Runner(offer_of([VideoWorker])).attempt(attempts[0]).outcome == ends.CANCELLED
    assert max(seen) < 0.3
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_attempt_left_behind_is_removed_and_other_tasks_files_stay(film: Path, tmp_path: Path) -> None:
    (tmp_path / ".new.mp4.7-0.part").write_bytes(b"half")
    (tmp_path / ".new.mp4.8-1.part").write_bytes(b"half")
    result("video.transcode", path=str(film), out=str(tmp_path / "new.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.mp4.8-1.part", "new.mp4"]


def test_a_source_that_cannot_be_used_leaves_an_older_file_as_it_is(film: Path, tmp_path: Path) -> None:
    cut, out = tmp_path / "cut.mkv", tmp_path / "new.mp4"
    whole = tmp_path / "whole.mkv"
    result("video.transcode", path=str(film), out=str(whole))
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    out.write_bytes(b"older")
    assert failure("video.transcode", path=str(cut), out=str(out)).startswith(f"{cut}: it is truncated")
    assert out.read_bytes() == b"older"
    whole.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mkv", "new.mp4"]


def test_where_it_cannot_write_is_named(film: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "a.mp4"
    assert failure("video.transcode", path=str(film), out=str(nowhere)) == (
        f"{nowhere}: cannot be written: its folder does not exist on this host"
    )
    assert failure("video.transcode", path=str(film), out="a.avi") == (
        "a.avi: out must name a file that ends in .mp4, .mkv, .webm"
    )
    assert failure("audio.transcode", path=str(film)) == (
        "out: out must name a file that ends in .m4a, .mp3, .opus, .flac, .wav"
    )
    assert failure("video.transcode", path=str(film), out="a.mp4", height=3) == (
        "video.transcode: height must be a whole number from 16 to 4320; got 3"
    )
