from __future__ import annotations

from typing import Any

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerhost.actors.slot_child import HEADER, NEWS, READY, WORN
from workerhost.actors.slot_frames import FRAME_BYTES_MAX, Frames, ProtocolError
from workerhost.actors.slot_news import SlotNews
from workerhost.workers.values import RESULT_BYTES_MAX

PROGRESS: list[Any] = [1, 7, 0.5, "half"]
RESULT: list[Any] = [1, 7, 0, b"\xc0", 0.25, 0, None]
RETURNED: list[Any] = [2, 7, 0, 0.0, "", False]
OFFER: dict[str, Any] = {
    "types": ["a"], "any": [], "failed": {"x.py": "why"}, "fingerprints": {"a": "0"}, "costs": {"a": 2},
}  # fmt: skip


def framed(value: Any) -> bytes:
    body: bytes = msgpack.packb(value)  # pyright: ignore
    return HEADER.pack(len(body)) + body


def test_frames_are_put_together_from_any_pieces() -> None:
    data = (
        framed([READY, OFFER])
        + framed([NEWS, [PROGRESS], [RESULT, RESULT], [], []])
        + framed([NEWS, [], [], [RETURNED], []])
    )
    for size in (1, 7, len(data)):
        frames, news = Frames(), SlotNews(0)
        for start in range(0, len(data), size):
            frames.feed(data[start : start + size], news)
        assert news == SlotNews(0, OFFER, [PROGRESS], results=[RESULT, RESULT], returned=[RETURNED])


def with_field(row: list[Any], index: int, value: Any) -> list[Any]:
    return [*row[:index], value, *row[index + 1 :]]


@pytest.mark.parametrize(
    "frame",
    [
        5,
        {},
        [],
        [99, [], [], []],
        [NEWS, [], []],
        [NEWS, 5, [], [], []],
        [NEWS, [5], [], [], []],
        [NEWS, [with_field(PROGRESS, 2, float("nan"))], [], [], []],
        [NEWS, [], [RESULT[:6]], [], []],
        [NEWS, [], [RESULT, RESULT[:6]], [], []],
        [NEWS, [], [with_field(RESULT, 0, "1")], [], []],
        [NEWS, [], [with_field(RESULT, 0, True)], [], []],
        [NEWS, [], [with_field(RESULT, 3, "text")], [], []],
        [NEWS, [], [with_field(RESULT, 3, b"x" * (RESULT_BYTES_MAX + 1))], [], []],
        [NEWS, [], [RESULT, with_field(RESULT, 6, [])], [], []],
        [NEWS, [], [with_field(RESULT, 2, 99)], [], []],
        [NEWS, [], [with_field(RESULT, 6, {"message": b"bytes"})], [], []],
        [NEWS, [], [RESULT, with_field(RESULT, 6, {"retry": 0})], [], []],
        [NEWS, [], [with_field(RESULT, 6, {"after": -1.0})], [], []],
        [NEWS, [], [], [with_field(RETURNED, 2, 99)], []],
        [NEWS, [], [], [with_field(RETURNED, 3, float("nan"))], []],
        [NEWS, [], [], [with_field(RETURNED, 5, 1)], []],
        [READY, 5],
        [READY, {"types": []}],
        [READY, {**OFFER, "types": [5]}],
        [READY, {**OFFER, "failed": []}],
        [READY, {**OFFER, "failed": {"a": 5}}],
        [READY, {**OFFER, "costs": [1]}],
        [READY, {**OFFER, "costs": {"a": 0}}],
        [READY, {**OFFER, "costs": {"a": True}}],
    ],
)
def test_a_frame_of_another_shape_is_refused(frame: Any) -> None:
    with pytest.raises(ProtocolError):
        Frames().feed(framed(frame), SlotNews(0))


def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="a frame of"):
        Frames().feed(HEADER.pack(FRAME_BYTES_MAX + 1), SlotNews(0))


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    for stream in (data, HEADER.pack(len(data)) + data):
        news = SlotNews(0)
        try:
            Frames().feed(stream, news)
        except ProtocolError:
            pass
        else:
            assert news.results == []


def test_why_a_process_should_be_replaced_is_cut() -> None:
    news = SlotNews(0)
    Frames().feed(framed([WORN, "x" * 5000]), news)
    assert news.worn == "x" * 1024
