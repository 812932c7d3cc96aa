"""Files as they are found: old tags, and names and streams that have nothing to do with what is asked."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

from workerhost.bin.demo_clips import Clip, Source, encode
from workerhost.workers import media, runner, values
from workerhost.workers.audio import AudioWorker
from workerhost.workers.task import Task
from workerhost.workers.video import VideoWorker


def run(type: str, path: Path, **more: Any) -> runner.AttemptEnd:
    task = Task(1, type, {"path": str(path), **more})
    return runner.run(VideoWorker if type.startswith("video") else AudioWorker, task)


def result(type: str, path: Path, **more: Any) -> dict[str, Any]:
    end = run(type, path, **more)
    assert end.outcome == 0, end.detail
    return values.unpack(end.body)


def failure(type: str, path: Path) -> str:
    """The text of a failure that is final."""
    end = run(type, path)
    assert end.detail is not None, values.unpack(end.body)
    assert (end.detail["error_type"], end.detail["kind"]) == ("Fail", "permanent"), end.detail["traceback"]
    return str(end.detail["message"])


def second(path: Path) -> Path:
    """A second of silence, as a wave file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(bytes(96_000))
    return path


def test_a_title_in_an_old_encoding_is_no_reason_to_refuse_a_sound(tmp_path: Path) -> None:
    sound, mp3 = second(tmp_path / "a.wav"), tmp_path / "a.mp3"
    result("audio.transcode", sound, out=str(mp3))
    frames = mp3.read_bytes()
    frames = frames[frames.index(b"\xff\xfb") :]  # without a new tag in front, for then nobody reads the old one
    mp3.write_bytes(frames + b"TAG" + b"F\xfcr Elise".ljust(124, b"\0") + b"\xff")
    with sound.open("r+b") as file:
        content = file.read()
        title = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little") + b"F\xfcr\0"
        file.write(title)
        file.seek(4)
        file.write((len(content) + len(title) - 8).to_bytes(4, "little"))
    assert result("audio.probe", sound)["title"] == "F\ufffdr"
    assert result("audio.probe", mp3)["title"] == "F\ufffdr Elise"


def test_a_stream_that_nobody_asked_about_may_be_in_an_unknown_format(tmp_path: Path) -> None:
    film, strange = tmp_path / "film.mkv", tmp_path / "strange.mkv"
    encode(Clip("film.mkv", "", 1, (64, 48), Source("testsrc2", "size=64x48"), "0.1*sin(2*PI*440*t)"), film)
    picture, sound = (result("video.probe", film)[kind] for kind in ("video", "audio"))
    strange.write_bytes(film.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    facts = result("video.probe", strange)
    assert (facts["video"], facts["audio"]) == (picture, dict.fromkeys(sound))
    assert failure("audio.probe", strange) == f"{strange}: its audio is in a format that this FFmpeg cannot decode"
    strange.write_bytes(film.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ZZZ"))
    facts = result("audio.probe", strange)
    assert facts["audio"] == sound
    assert (facts["video"]["codec"], facts["video"]["width"]) == (None, None)
    assert failure("video.probe", strange) == f"{strange}: its video is in a format that this FFmpeg cannot decode"


def test_a_name_is_never_read_as_a_pattern_of_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "f001.jpg")
    path = tmp_path / "f%03d.jpg"
    path.write_bytes(b"no picture at all")
    for type in ("video.probe", "video.thumbnail"):
        assert failure(type, path) == f"{path}: it is a picture, not a film or a sound"
    Image.new("RGB", (20, 10)).save(path)
    monkeypatch.delitem(media.NOT_MEDIA, "image2")  # even if it were used, it would be this file and not the other
    assert result("video.probe", path)["video"]["width"] == 20


def test_a_picture_that_only_its_name_tells_is_no_film_either(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "picture.tga"
    Image.new("RGB", (40, 30)).save(path)
    assert failure("video.thumbnail", path) == f"{path}: it is a picture, not a film or a sound"
