"""What can be wrong with a file or with the params, and how a media worker says it."""

from __future__ import annotations

import random
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

import av

from workerhost.bin.demo_clips import Clip, Source, encode
from workerhost.workers import runner, values
from workerhost.workers.audio import AudioWorker
from workerhost.workers.task import Task
from workerhost.workers.truncation import what_is_missing
from workerhost.workers.video import VideoWorker

COMPLETED, FAILED = 0, 1


def run(type: str, path: Path | str, **more: Any) -> runner.AttemptEnd:
    task = Task(1, type, {"path": str(path), **more})
    return runner.run(VideoWorker if type.startswith("video") else AudioWorker, task)


def failure(end: runner.AttemptEnd) -> str:
    """The text of a failure that is final."""
    assert end.outcome == FAILED, values.unpack(end.body)
    assert end.detail is not None
    assert end.detail["error_type"] == "Fail", end.detail["traceback"]
    assert end.detail["kind"] in ("permanent", "configuration")
    return str(end.detail["message"])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of picture and sound, its index in front."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    encode(Clip("film.mp4", "A film", 2, (64, 48), Source("testsrc2", "size=64x48"), "0.3*sin(2*PI*440*t)"), path)
    return path


def remade(film: Path, ending: str) -> Path:
    """The same streams in another container."""
    path = film.with_name(f"remade{ending}")
    with av.open(str(film)) as source, av.open(str(path), "w") as opened:
        target: Any = opened  # PyAV's types leave open what a packet belongs to
        streams: dict[Any, Any] = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                target.mux(packet)
    return path


def test_every_operation_fails_for_good_and_names_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "note.mp4").write_text("hello\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(random.Random(1).randbytes(100_000))
    (tmp_path / "page.txt").write_text("hello\n" * 100)
    reasons = {
        "missing.mp4": "there is no such file on this host",
        "empty.mp4": "it is empty (0 bytes)",
        "note.mp4": "it is not a media file",
        "noise.mp4": "it is not a media file",
        "page.txt": "it is a text, not a media file",
        "empty.mp4/x": "there is no such file on this host",
        ".": "it is a folder, not a media file",
    }
    for type in (
        "video.probe",
        "video.thumbnail",
        "video.contact_sheet",
        "video.scenes",
        "video.transcode",
        "audio.probe",
        "audio.loudness",
        "audio.silences",
        "audio.waveform",
        "audio.transcode",
    ):
        more = {"out": str(tmp_path / "new")} if type.endswith("transcode") else {}
        if more:
            more["out"] += ".mkv" if type.startswith("video") else ".flac"
        for name, reason in reasons.items():
            path = tmp_path / name
            assert failure(run(type, path, **more)) == f"{path}: {reason}"


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("ending", ["in front", ".mp4", ".mkv"])
def test_a_cut_film_is_said_to_be_truncated(film: Path, ending: str, part: float) -> None:
    whole = film if ending == "in front" else remade(film, ending)
    assert run("video.probe", whole).outcome == COMPLETED
    content = whole.read_bytes()
    cut = whole.with_name(f"cut{whole.suffix}")
    cut.write_bytes(content[: round(len(content) * part)])
    for type in ("video.probe", "audio.loudness"):
        assert failure(run(type, cut)).startswith(f"{cut}: it is truncated: ")


def test_a_recording_without_its_index_is_said_to_be_truncated(film: Path) -> None:
    content = film.read_bytes()
    at = content.index(b"moov") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    path = film.with_name("recording.mp4")
    path.write_bytes(content[:at] + content[at + length :])
    assert failure(run("video.probe", path)) == f"{path}: it is truncated: its index (moov) is missing"


def test_a_cut_wave_file_is_said_to_be_truncated_and_a_live_recorded_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    assert what_is_missing(str(path), path.stat().st_size) is None
    content = path.read_bytes()
    path.write_bytes(content[:9000])
    assert failure(run("audio.probe", path)) == f"{path}: it is truncated: 9000 of 16044 bytes are there"
    path.write_bytes(content[:4] + b"\xff\xff\xff\xff" + content[8:])
    assert run("audio.probe", path).outcome == COMPLETED


def test_a_cut_flac_file_is_noticed_when_it_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    with av.open(str(path), "w") as opened:
        target: Any = opened
        stream = target.add_stream("flac", rate=48_000, layout="mono")
        for number in range(100):
            frame = av.AudioFrame("s16", "mono", 1024)
            frame.planes[0].update(random.Random(number).randbytes(2048))
            frame.sample_rate, frame.pts = 48_000, number * 1024
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    assert run("audio.loudness", path).outcome == COMPLETED
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert failure(run("audio.loudness", path)).startswith(f"{path}: it is truncated: it should last 2.1 s")


def test_a_film_with_a_few_damaged_packets_is_used_and_a_ruined_one_is_not(film: Path) -> None:
    content = bytearray(film.read_bytes())
    start = content.index(b"mdat") + 4
    middle = (start + len(content)) // 2
    path = film.with_name("damaged.mp4")
    path.write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])
    assert run("video.contact_sheet", path).outcome == COMPLETED
    path.write_bytes(content[:start] + random.Random(2).randbytes(len(content) - start))
    assert failure(run("audio.loudness", path)).startswith(f"{path}: it is damaged: ")
    assert failure(run("video.probe", path)).startswith(f"{path}: it is damaged: ")


def test_a_playlist_fetches_nothing(film: Path, tmp_path: Path) -> None:
    for number, line in enumerate((str(film), "http://127.0.0.1:9/secret.ts", "/etc/hostname")):
        path = tmp_path / f"list{number}.m3u8"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{line}\n#EXT-X-ENDLIST\n")
        assert "not a media file" in failure(run("video.probe", path))


def test_a_picture_is_no_film(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 30)).save(path)
    assert failure(run("video.thumbnail", path)) == f"{path}: it is a picture, not a film or a sound"


def test_what_has_no_such_stream_says_so(film: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    encode(Clip("silent.mp4", "", 1, (64, 48), Source("testsrc2", "size=64x48")), silent)
    assert failure(run("audio.loudness", silent)) == f"{silent}: it has no audio stream"
    sound = tmp_path / "sound.m4a"
    encode(Clip("sound.m4a", "", 1, sound="0.1*sin(2*PI*440*t)"), sound)
    assert failure(run("video.thumbnail", sound)) == f"{sound}: it has no video stream"


def test_a_name_is_never_read_as_a_protocol(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "http:film [1] %20ü.mp4"
    path.write_bytes(film.read_bytes())
    assert run("video.probe", path).outcome == COMPLETED


def test_a_relative_name_that_is_missing_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert failure(run("video.probe", "a.mp4")).endswith(f"no such file on this host (looked from {tmp_path})")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "video.thumbnail: the parameter path is missing; it names the media file, as the host sees it"),
        ({"path": ""}, "video.thumbnail: path must be a text that is not empty; got "),
        ({"path": 7}, "video.thumbnail: path must be a text that is not empty; got 7"),
        ({"path": "a", "widht": 3}, "video.thumbnail: unknown parameter widht; did you mean width?"),
        ({"path": "a", "q": 3}, "video.thumbnail: unknown parameter q; it knows path, at, width, out"),
        ({"path": "a", "width": 3}, "video.thumbnail: width must be a whole number from 16 to 3840; got 3"),
        ({"path": "a", "width": True}, "video.thumbnail: width must be a whole number from 16 to 3840; got True"),
        ({"path": "a", "at": -1}, "video.thumbnail: at must be a number of seconds, 0 or more; got -1"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(params: dict[str, Any], message: str) -> None:
    assert failure(runner.run(VideoWorker, Task(1, "video.thumbnail", params))) == message


def test_params_that_are_no_mapping_are_refused() -> None:
    end = runner.run(AudioWorker, Task(1, "audio.probe", ["a.mp4"]))
    assert failure(end) == "audio.probe: params must be a mapping with path; got ['a.mp4']"


def test_without_the_libraries_it_says_what_to_install(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for type in ("video.probe", "audio.probe"):
        assert "pip install 'workerhost[media]'" in failure(run(type, film))


def test_a_picture_can_be_stored_and_a_place_where_it_cannot_is_named(film: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name, format in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.webp", "WEBP")):
        out = tmp_path / name
        end = run("video.thumbnail", film, out=str(out))
        result = values.unpack(end.body)
        assert result["out"] == str(out)
        assert "image" not in result
        with Image.open(out) as picture:
            assert (picture.format, picture.size) == (format, (result["width"], result["height"]))
        assert result["bytes"] == out.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "a.webp"]

    nowhere = tmp_path / "none" / "a.jpg"
    assert failure(run("video.thumbnail", film, out=str(nowhere))) == (
        f"{nowhere}: cannot be written: its folder does not exist on this host"
    )
    odd = tmp_path / "a.tiff"
    assert failure(run("audio.waveform", film, out=str(odd))) == f"{odd}: out must end in .jpg, .jpeg, .png, .webp"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "a.webp"]
