"""The demonstration's own media, and which tasks a file makes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av", reason="the extra `media` is not installed")

from PIL import Image, ImageDraw

from workerhost.bin import demo_clips
from workerhost.bin.demo_clips import BROKEN, BROKEN_FROM, CLIPS, Clip, Source, encode, encode_clips
from workerhost.bin.demo_media import look_at, media_below, tasks_of
from workerhost.workers.media import MediaFile

SHORT = (
    Clip("one.mp4", "One", 0.4, (64, 48), Source("testsrc2", "size=64x48"), "0.1*sin(2*PI*440*t)"),
    Clip("two.m4a", "Two", 0.4, sound="0.1*sin(2*PI*440*t)"),
    Clip(BROKEN_FROM, "Three", 0.4, (64, 48), Source("testsrc2", "size=64x48")),
)


def test_the_clips_are_varied_and_one_lacks_sound_and_one_a_picture() -> None:
    assert len(CLIPS) >= 12
    assert len({clip.name for clip in CLIPS}) == len(CLIPS)
    assert len({clip.size for clip in CLIPS}) >= 5
    assert len({clip.seconds for clip in CLIPS}) >= 5
    assert [clip.name for clip in CLIPS if clip.sound is None] == ["aurora.mp4"]
    assert [clip.name for clip in CLIPS if clip.size is None] == ["lullaby.m4a"]


def test_every_scene_can_be_drawn_and_moves() -> None:
    for clip in CLIPS:
        if clip.size and callable(clip.picture):
            drawn: list[bytes] = []
            for t in (0.0, 1.3, clip.seconds - 0.05):
                image = Image.new("RGB", clip.size)
                clip.picture(ImageDraw.Draw(image), clip.size, t)
                drawn.append(image.tobytes())
            assert len(set(drawn)) == 3, clip.name


def test_encoding_makes_what_is_missing_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_clips, "CLIPS", SHORT)
    told: list[tuple[int, int, str]] = []

    def tell(done: int, total: int, name: str) -> None:
        told.append((done, total, name))

    paths = encode_clips(tmp_path / "clips", tell)
    assert [path.name for path in paths] == ["one.mp4", "two.m4a", BROKEN_FROM, BROKEN]
    assert sorted((tmp_path / "clips").iterdir()) == sorted(paths)
    assert [done for done, _, _ in told] == [1, 2, 3, 4]
    assert {total for _, total, _ in told} == {4}
    assert 0 < paths[3].stat().st_size < paths[2].stat().st_size
    made = {path: path.stat().st_mtime_ns for path in paths}
    paths[1].unlink()
    told.clear()
    assert encode_clips(tmp_path / "clips", tell) == paths
    assert told == [(3, 4, "two.m4a"), (4, 4, BROKEN)]
    assert all(path.stat().st_mtime_ns == made[path] for path in paths if path is not paths[1])


def test_a_clip_that_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no_such_source"):
        encode(Clip("a.mp4", "", 1, (64, 48), Source("no_such_source", "")), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_file_makes_the_tasks_that_are_right_for_it(tmp_path: Path) -> None:
    for clip in SHORT:
        encode(clip, tmp_path / clip.name)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "broken.MP4").write_bytes(b"no film")
    (tmp_path / "broken.mp3").touch()
    (tmp_path / "readme.txt").write_text("no media")
    (tmp_path / ".hidden.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    found = [look_at(path, tmp_path) for path in media_below(tmp_path)]
    film, sound = ("video.probe", "video.contact_sheet", "video.thumbnail"), ("audio.loudness", "audio.waveform")
    assert {(file.name, file.readable, file.types) for file in found} == {
        ("broken.mp3", False, ("audio.probe",)),
        ("deep/broken.MP4", False, ("video.probe",)),
        ("one.mp4", True, (*film, *sound)),
        (BROKEN_FROM, True, film),
        ("two.m4a", True, ("audio.probe", *sound)),
    }
    tasks = tasks_of(found, tmp_path / "pictures")
    assert {type: len(items) for type, items in tasks.items()} == {
        "video.probe": 3, "audio.probe": 2, "audio.loudness": 2,
        "video.contact_sheet": 2, "audio.waveform": 2, "video.thumbnail": 2,
    }  # fmt: skip
    outs = [params["out"] for items in tasks.values() for _, params in items if "out" in params]
    assert len(set(outs)) == len(outs) == 6


def test_a_clip_is_h264_and_aac_with_its_title(tmp_path: Path) -> None:
    encode(SHORT[0], tmp_path / "one.mp4")
    with MediaFile(str(tmp_path / "one.mp4")) as media:
        facts = media.facts(media.video())
    assert facts["title"] == "One"
    assert (facts["video"]["codec"], facts["audio"]["codec"]) == ("h264", "aac")
    assert facts["duration"] == pytest.approx(0.4, abs=0.1)
