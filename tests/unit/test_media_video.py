"""Facts, thumbnails and contact sheets of real encoded films."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

import av
from PIL import Image
from PIL.ImageDraw import ImageDraw

from workerhost.bin.demo_clips import Clip, Source, encode
from workerhost.workers import runner, values
from workerhost.workers.task import Task
from workerhost.workers.video import VideoWorker

Color = tuple[int, int, int]
COLORS: list[Color] = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200)]


def run(type: str, path: Path, **more: Any) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    told: list[tuple[float, str]] = []
    task = Task(1, type, {"path": str(path), **more})
    end = runner.run(VideoWorker, task, on_progress=lambda fraction, note: told.append((fraction, note)))
    assert end.outcome == 0, end.detail
    return values.unpack(end.body), told


def picture(result: dict[str, Any]) -> Image.Image:
    image = Image.open(io.BytesIO(result["image"]))
    assert image.format == "JPEG"
    assert image.size == (result["width"], result["height"])
    assert len(result["image"]) == result["bytes"]
    return image


def is_like(found: Any, wanted: Color) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(found, wanted, strict=True))


def colors(draw: ImageDraw, size: tuple[int, int], t: float) -> None:
    """A new colour every second, with a white corner so that the picture has a contrast."""
    draw.rectangle((0, 0, *size), fill=COLORS[int(t) % len(COLORS)])
    draw.rectangle((0, 0, size[0] // 3, size[1] // 3), fill="white")


def late(draw: ImageDraw, size: tuple[int, int], t: float) -> None:
    """Black, and colours only from the third second on."""
    if t >= 3:
        colors(draw, size, t)


def frame_of(image: Image.Image) -> Any:
    make: Any = getattr(av.VideoFrame, "from_image")  # noqa: B009 -- PyAV gives it no types
    return make(image)


def encoded(
    path: Path, codec: str, format: str, seconds: float, *, ratio: int = 1, options: dict[str, str] | None = None
) -> None:
    """The colours as a film of 64x48, in pixels that are `ratio` times as wide as high."""
    with av.open(str(path), "w") as opened:
        target: Any = opened  # PyAV's types leave open what a packet belongs to
        stream = target.add_stream(codec, rate=20, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, format
        stream.codec_context.sample_aspect_ratio = Fraction(ratio)
        for number in range(round(seconds * 20)):
            image = Image.new("RGB", (64, 48))
            colors(ImageDraw(image), (64, 48), number / 20)
            frame = frame_of(image)
            frame.pts, frame.time_base = number, Fraction(1, 20)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def still(path: Path, image: Image.Image) -> None:
    """A film that is this one picture, exactly."""
    with av.open(str(path), "w") as opened:
        target: Any = opened
        stream = target.add_stream("qtrle", rate=20)
        stream.width, stream.height, stream.pix_fmt = *image.size, "rgb24"
        target.mux(stream.encode(frame_of(image)))
        target.mux(stream.encode(None))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "colors.mp4"
    encode(Clip("colors.mp4", "Six <colours>", 6, (160, 90), colors, "0.3*sin(2*PI*440*t)"), path)
    return path


def test_a_probe_tells_the_facts(film: Path) -> None:
    facts, _ = run("video.probe", film)
    assert facts == {
        "path": str(film),
        "title": "Six <colours>",
        "format": "mov",
        "bytes": film.stat().st_size,
        "duration": pytest.approx(6.0, abs=0.1),
        "bit_rate": pytest.approx(8 * film.stat().st_size / 6, rel=0.05),
        "video": {"codec": "h264", "width": 160, "height": 90, "frame_rate": 20.0, "frames": 120},
        "audio": {"codec": "aac", "sample_rate": 48_000, "channels": 2, "layout": "stereo"},
    }


@pytest.mark.parametrize("at", [0, 0.5, 3.5, 5.9, 6.0])
def test_a_thumbnail_shows_the_wanted_instant(film: Path, at: float) -> None:
    result, _ = run("video.thumbnail", film, at=at, width=80)
    image = picture(result)
    assert image.size == (80, 45)
    assert abs(result["at"] - min(at, 5.95)) <= 0.05
    assert is_like(image.getpixel((60, 40)), COLORS[min(5, int(at))])


def test_a_thumbnail_is_not_taken_behind_the_end(film: Path) -> None:
    end = runner.run(VideoWorker, Task(1, "video.thumbnail", {"path": str(film), "at": 60}))
    assert end.detail is not None
    assert end.detail["message"] == f"{film}: at=60 lies behind its end (6.0 s)"
    assert end.detail["kind"] == "permanent"


def test_a_thumbnail_of_a_film_that_begins_black_shows_something(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    encode(Clip("late.mp4", "", 6, (64, 48), late), path)
    result, told = run("video.thumbnail", path)
    assert result["at"] == pytest.approx(3.0, abs=0.06)
    assert [fraction for fraction, _ in told] == [0.2, 0.4]


def test_a_film_that_is_black_all_through_has_a_black_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "black.mp4"
    encode(Clip("black.mp4", "", 2, (64, 48), Source("color", "color=black:size=64x48")), path)
    result, _ = run("video.thumbnail", path)
    assert is_like(picture(result).getpixel((5, 5)), (0, 0, 0))


def test_a_picture_is_never_enlarged(film: Path) -> None:
    assert picture(run("video.thumbnail", film, width=1000)[0]).size == (160, 90)


def test_a_thumbnail_in_a_result_stays_small_however_busy_the_film_is(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    encode(Clip("noise.mp4", "", 0.5, (1280, 720), Source("cellauto", "size=1280x720:rule=30")), path)
    result, _ = run("video.thumbnail", path, width=640)
    assert len(result["image"]) <= 100_000
    stored, _ = run("video.thumbnail", path, width=640, out=str(tmp_path / "noise.jpg"))
    assert stored["bytes"] > 100_000


def test_a_thumbnail_that_no_quality_makes_small_enough_gets_smaller_itself(tmp_path: Path) -> None:
    path = tmp_path / "noise.mov"
    still(path, Image.frombytes("RGB", (1280, 720), random.Random(1).randbytes(1280 * 720 * 3)))
    result, _ = run("video.thumbnail", path, width=1280)
    assert 50_000 < len(result["image"]) <= 100_000
    assert 400 < picture(result).width < 1280
    assert result["width"] / result["height"] == pytest.approx(16 / 9, abs=0.01)


def test_a_contact_sheet_shows_evenly_spaced_frames(film: Path) -> None:
    result, told = run("video.contact_sheet", film, columns=3, rows=2, width=80)
    assert result["times"] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], abs=0.06)
    sheet = picture(result)
    gap = 2
    assert sheet.size == (3 * (80 + gap) + gap, 2 * (45 + gap) + gap)
    for number, color in enumerate(COLORS):
        left, top = gap + number % 3 * (80 + gap), gap + number // 3 * (45 + gap)
        assert is_like(sheet.getpixel((left + 60, top + 22)), color), number
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions == pytest.approx([time / 6 for time in result["times"]], abs=0.02)
    assert told[0][1] == "0:00 of 0:06, picture 1 of 6"


@pytest.mark.parametrize(
    ("columns", "rows", "name", "reason"),
    [
        (1, 50, None, "992x86816 pixels; a jpeg has at most 65500 on a side"),
        (1, 12, "sheet.webp", "992x20848 pixels; a webp has at most 16383 on a side"),
        (20, 12, None, "19536x20848 pixels; more than 64000000 are not made"),
    ],
)
def test_a_contact_sheet_that_cannot_be_made_is_refused_with_its_first_picture(
    tmp_path: Path, columns: int, rows: int, name: str | None, reason: str
) -> None:
    path, told = tmp_path / "upright.mov", list[tuple[float, str]]()
    still(path, Image.new("RGB", (960, 1720)))
    params = {"path": str(path), "columns": columns, "rows": rows, "width": 960}
    params |= {"out": str(tmp_path / name)} if name else {}
    task = Task(1, "video.contact_sheet", params)
    end = runner.run(VideoWorker, task, on_progress=lambda fraction, note: told.append((fraction, note)))
    assert end.detail is not None
    assert end.detail["kind"] == "permanent", end.detail["traceback"]
    asked = f"video.contact_sheet: rows={rows}, columns={columns} and width=960 make a sheet of "
    assert end.detail["message"] == asked + reason
    assert told == []


def test_a_contact_sheet_of_a_long_film_seeks(tmp_path: Path) -> None:
    path = tmp_path / "long.mkv"
    encode(Clip("long.mkv", "", 90, (32, 32), colors), path)
    result, _ = run("video.contact_sheet", path, columns=3, rows=2, width=32)
    assert result["times"] == pytest.approx([7.5, 22.5, 37.5, 52.5, 67.5, 82.5], abs=0.06)
    sheet = picture(result)
    for number, time in enumerate(result["times"]):
        left, top = 2 + number % 3 * 34, 2 + number // 3 * 34
        assert is_like(sheet.getpixel((left + 26, top + 14)), COLORS[int(time) % 6]), number


def test_a_film_in_a_format_without_index_is_searched_all_the_same(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "stream.ts"
    with av.open(str(film)) as source, av.open(str(path), "w") as opened:
        target: Any = opened  # PyAV's types leave open what a packet belongs to
        streams: dict[Any, Any] = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                target.mux(packet)
    result, _ = run("video.contact_sheet", path, columns=3, rows=2, width=80)
    assert result["times"] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], abs=0.1)
    assert run("video.thumbnail", path, at=0.5)[0]["at"] == pytest.approx(0.5, abs=0.1)


def test_what_lies_behind_the_last_key_frame_of_a_transport_stream_is_found(tmp_path: Path) -> None:
    path = tmp_path / "stream.ts"
    options = {"preset": "superfast", "g": "250", "sc_threshold": "0"}
    encoded(path, "libx264", "yuv420p", 4, options=options)
    result, _ = run("video.thumbnail", path, at=2)
    assert result["at"] == pytest.approx(2.0, abs=0.06)
    assert is_like(picture(result).getpixel((50, 40)), COLORS[2])
    assert run("video.thumbnail", path, at=0)[0]["at"] == 0.0
    result, _ = run("video.contact_sheet", path, columns=2, rows=2, width=64)
    assert result["times"] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.1)


def test_more_pictures_than_frames_repeat_frames(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    encode(Clip("short.mp4", "", 0.2, (32, 32), colors), path)
    result, _ = run("video.contact_sheet", path, columns=4, rows=2, width=32)
    assert len(result["times"]) == 8
    assert set(result["times"]) <= {0.0, 0.05, 0.1, 0.15}


def test_a_film_that_was_recorded_upright_is_shown_upright(film: Path, tmp_path: Path) -> None:
    content = bytearray(film.read_bytes())
    one, minus, zero, unit = (65536).to_bytes(4, "big"), b"\xff\xff\x00\x00", bytes(4), (1 << 30).to_bytes(4, "big")
    straight = one + zero * 3 + one + zero * 3 + unit
    # The first matrix after "tkhd" of the film track: a quarter turn to the right, as phones write it.
    track = content.index(b"tkhd", content.index(b"mvhd"))
    at = content.index(straight, track)
    content[at : at + len(straight)] = zero + one + zero + minus + zero * 4 + unit
    path = tmp_path / "turned.mp4"
    path.write_bytes(content)
    image = picture(run("video.thumbnail", path, at=0.5, width=45)[0])
    assert image.size == (45, 80)
    # The white corner was at the upper left: turned to the right it is at the upper right.
    assert is_like(image.getpixel((40, 5)), (255, 255, 255))
    assert is_like(image.getpixel((5, 5)), COLORS[0])


def test_a_film_is_shown_as_wide_as_its_container_alone_says(tmp_path: Path) -> None:
    path, out = tmp_path / "wide.mov", tmp_path / "square.mp4"
    encoded(path, "qtrle", "rgb24", 0.5, ratio=2)  # a codec that says nothing of the kind itself
    assert picture(run("video.thumbnail", path)[0]).size == (128, 48)
    made, _ = run("video.transcode", path, out=str(out))
    assert (made["width"], made["height"]) == (128, 48)
    assert picture(run("video.thumbnail", out)[0]).size == (128, 48)


def test_the_worker_takes_exactly_its_types() -> None:
    taken = {
        type: VideoWorker().can_handle(Task(1, type))
        for type in ("video.probe", "video", "video.encode", "audio.probe")
    }
    assert taken == {"video.probe": True, "video": False, "video.encode": False, "audio.probe": False}


def scenes(draw: ImageDraw, size: tuple[int, int], t: float) -> None:
    """Four pictures with something that moves in each: they change after 2, 3 and 4.5 seconds."""
    number = sum(t >= change for change in (2, 3, 4.5))
    draw.rectangle((0, 0, *size), fill=COLORS[number])
    for stripe in range(number + 1):
        draw.rectangle((stripe * 40, 0, stripe * 40 + 15, size[1]), fill="white")
    draw.ellipse((20 + 15 * t, 30, 40 + 15 * t, 50), fill="black")


def test_scenes_begin_where_the_picture_changes_and_not_where_it_moves(tmp_path: Path) -> None:
    path = tmp_path / "scenes.mp4"
    encode(Clip("scenes.mp4", "", 6, (160, 90), scenes), path)
    result, told = run("video.scenes", path)
    assert result["cuts"] == pytest.approx([2.0, 3.0, 4.5], abs=0.06)
    assert [scene["start"] for scene in result["scenes"]] == [0.0, *result["cuts"]]
    assert [scene["end"] for scene in result["scenes"]] == [*result["cuts"], pytest.approx(6.0, abs=0.06)]
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.95


def test_a_film_of_one_scene_is_one_scene(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    encode(Clip("one.mp4", "", 2, (64, 48), Source("testsrc2", "size=64x48")), path)
    assert run("video.scenes", path)[0]["scenes"] == [{"start": 0.0, "end": pytest.approx(2.0, abs=0.06)}]
    assert len(run("video.scenes", film, threshold=1)[0]["cuts"]) == 5
