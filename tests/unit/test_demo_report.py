"""The demonstration's report: complete, closed to the network, and safe whatever the files are called."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from workerhost.bin.demo_report import duration_text, render, write_report
from workerhost.bin.demo_run import LOST, Attempt, Killed, Line, Run

VOID = {"meta", "img", "br"}
NASTY = "<script>alert(1)</script>&\"'.mp4"
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened must be closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        # The head of the table and facts leave out what HTML lets them leave out.
        if tag not in VOID | {"th"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def picture(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    path.write_bytes(b"\x89PNG picture")
    return {"out": str(path), "format": "png", "width": 320, "height": 180, "bytes": 12}


def facts(title: str = "A title") -> dict[str, Any]:
    return {
        "title": title,
        "bytes": 2_500_000,
        "duration": 75.2,
        "video": {"codec": "h264", "width": 640, "height": 360, "frame_rate": 29.97, "frames": 10},
        "audio": {"codec": "aac", "sample_rate": 48_000, "channels": 2, "layout": "stereo"},
    }


def example(folder: Path, name: str = "film.mp4", title: str = "A title") -> Run:
    first, second = Attempt("host-1", 0, 0.1, 0.3, "completed"), Attempt("host-2", 0, 0.2, 0.9, "completed")
    lost, again = Attempt("host-2", 0, 1.0, 2.2, LOST), Attempt("host-1", 0, 2.4, 3.0, "completed")
    lines = (
        Line(1, "video.probe", name, "completed", (first,), "", facts(title)),
        Line(2, "video.thumbnail", name, "completed", (second,), "", picture(folder, "thumb")),
        Line(3, "video.contact_sheet", name, "completed", (lost, again), "", picture(folder, "sheet")),
        Line(4, "audio.loudness", name, "completed", (first,), "", {"integrated_lufs": -23.04, "range_lu": 3.0}),
        Line(5, "audio.waveform", name, "completed", (first,), "", picture(folder, "wave")),
        Line(6, "video.probe", "bad.mp4", "failed", (Attempt("host-1", 0, 0.5, 0.6, "failed"),), f"{NASTY}: truncated"),
    )
    return Run(f"/media/{NASTY}", BEGAN, 3.2, {"host-1": 1, "host-2": 1}, lines, Killed("host-2", 1.5, 2.2))


def test_the_report_shows_everything_and_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    run = example(tmp_path)
    assert run.summary() == {
        "tasks": 6, "completed": 5, "failed": 1, "rescued": 1, "executions": 7, "seconds": 3.2,
    }  # fmt: skip
    write_report(run, path)
    page = Page(path.read_text("utf-8"))
    for said in (
        "1:15.2",
        "640 x 360, 29.97/s, h264",
        "aac, 48 kHz, stereo",
        "2.50 MB",
        "-23.0 LUFS",
        "SIGKILL host-2",
    ):
        assert said in page.text
    assert "After 1.5 s host-2 was killed (SIGKILL). The supervisor knew 0.7 s later." in page.text
    assert "The task that it ran was done by the other." in page.text
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 3
    assert all(source and source.startswith("data:image/png;base64,") for source in sources)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "a", "form"})
    assert "http" not in path.read_text("utf-8").replace("http-equiv", "")
    assert list(tmp_path.glob(".*")) == []


def test_the_page_forbids_scripts_and_the_network(tmp_path: Path) -> None:
    policies = [a["content"] for _, a in Page(render(example(tmp_path))).tags if a.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_texts_from_outside_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    run = example(tmp_path, NASTY, NASTY)
    source = render(run)
    assert "<script" not in source
    page = Page(source)
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert all(
        name in {"alt", "title"} for _, a in page.tags for name, value in a.items() if value and "<script" in value
    )


def test_the_timeline_has_a_bar_for_each_attempt_and_a_curve_for_each_rescue(tmp_path: Path) -> None:
    page = Page(render(example(tmp_path)))
    bars = [
        str(a["class"]).split() for tag, a in page.tags if tag == "rect" and str(a.get("class", "")).startswith("bar")
    ]
    assert len(bars) == 7
    assert sum("lost" in bar for bar in bars) == 1
    assert sum("again" in bar for bar in bars) == 1
    assert sum("bad" in bar for bar in bars) == 1
    assert sum(tag == "path" for tag, _ in page.tags) == 1


UNHURT = "No host was killed: all tasks were done first."


@pytest.mark.parametrize(
    ("lines", "killed", "shown"),
    [
        ((), None, (UNHURT, "0tasks", "0executions", "Nothing ran.")),
        (
            (Line(1, "video.probe", "a.mp4", "cancelled"),),
            None,
            (UNHURT, "1tasks", "0executions", "Nothing ran.", "1video.probea.mp4cancelled0"),
        ),
        (
            (Line(1, "other", "a.mp4", "completed", (Attempt("h", 3, 0.0, None, "completed"),), "", {"x": 1}),),
            None,
            (UNHURT, "1executions", "#1 other of a.mp4: completed on h", "1othera.mp4completed1h slot 3, from 0.00 s"),
        ),
        (
            (Line(1, "audio.probe", "a.mp3", "completed", (), "", {"bytes": 1, "audio": None}),),
            Killed("gone", 1.0, None),
            ("After 1.0 s gone was killed (SIGKILL). It ran nothing just then.", "soundnonesize0.00 MB"),
        ),
        (
            (Line(1, "video.thumbnail", "a.mp4", "completed", (), "", {"out": "/nowhere/x.jpg"}),),
            None,
            (UNHURT, "1completed, once each", "1video.thumbnaila.mp4completed0"),
        ),
    ],
)
def test_what_is_missing_is_left_out(lines: tuple[Line, ...], killed: Killed | None, shown: tuple[str, ...]) -> None:
    page = Page(render(Run("/media", BEGAN, 0.0, {"h": 1}, lines, killed)))
    assert [words for words in shown if words not in page.text] == []
    assert "None" not in page.text
    assert sum(tag == "article" for tag, _ in page.tags) == len(lines), "each file has its card"
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "details"}), "of what is no picture none is shown"


@pytest.mark.parametrize(
    ("seconds", "said"), [(9.04, "9.0 s"), (59.96, "1:00.0"), (3599.0, "59:59.0"), (None, ""), ("x", "")]
)
def test_a_length_is_shown_in_minutes_and_seconds(seconds: object, said: str) -> None:
    assert duration_text(seconds) == said
