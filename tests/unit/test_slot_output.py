from __future__ import annotations

from workerhost.actors.slot_output import LINE_BYTES_MAX, TASK_BYTES_MAX, Output


def marked(id: int, text: str) -> bytes:
    return b"\x1e%d\x1f%s" % (id, text.encode())


def test_marked_text_belongs_to_its_task_however_it_is_cut() -> None:
    data = marked(7, "one\ntwo") + marked(7, " more\n") + marked(8, "three\n")
    assert Output().feed(data, 0) == [(7, "one"), (7, "two more"), (8, "three")]


def test_a_stream_cut_anywhere_gives_the_same_text_in_order() -> None:
    data = b"raw\n" + b"x" * 10 + b"\nlast\n"
    for cut in range(len(data)):
        output = Output()
        assert output.feed(data[:cut], 3) + output.feed(data[cut:], 3) == [(3, "raw"), (3, "x" * 10), (3, "last")]


def test_text_without_a_mark_belongs_to_what_runs_or_else_to_what_ran() -> None:
    output = Output()
    assert output.feed(b"loading\n", 0) == [(0, "loading")]
    assert output.feed(b"from c\n", 5) == [(5, "from c")]
    assert output.feed(b"late\n", 0) == [(5, "late")]


def test_an_unfinished_line_ends_with_its_task_or_with_the_process() -> None:
    output = Output()
    assert output.feed(marked(1, "no newline"), 1) == []
    assert output.feed(marked(2, "next"), 2) == [(1, "no newline")]
    assert output.rest() == [(2, "next")]


def test_a_long_line_is_cut_and_empty_ones_are_left_out() -> None:
    output = Output()
    lines: list[tuple[int, str]] = []
    for _ in range(100):
        lines += output.feed(b"y" * 100, 1)
    lines += output.feed(b"\n\n\nshort\r\n", 1)
    assert lines == [(1, "y" * LINE_BYTES_MAX + " [...]"), (1, "short")]


def test_a_task_that_writes_without_end_is_heard_no_further() -> None:
    output = Output()
    lines: list[tuple[int, str]] = []
    for _ in range(2000):
        lines += output.feed(marked(1, "z" * 99 + "\n") * 10, 1)
    assert sum(len(text) for _, text in lines) < TASK_BYTES_MAX + 2000
    assert lines[-1] == (1, "[more than 256 KiB written; the rest is not kept]")
    assert output.feed(marked(2, "another\n"), 2) == [(2, "another")]


def test_junk_is_shown_as_text() -> None:
    assert Output().feed(b"\xff\xfe\n\x1ebad\x1fid\n", 4) == [(4, "\ufffd\ufffd"), (4, "id")]
