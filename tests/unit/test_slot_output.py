from __future__ import annotations

from workerhost.actors.slot_output import BURST_BYTES, LINE_BYTES_MAX, RATE_BYTES, Output


def marked(id: int, text: str) -> bytes:
    return b"\x1e%d\x1f%s" % (id, text.encode())


def test_marked_text_belongs_to_its_task_however_it_is_cut() -> None:
    data = marked(7, "one\ntwo") + marked(7, " more\n") + marked(8, "three\n")
    assert Output().feed(data, 0, 0.0) == [(7, "one"), (7, "two more"), (8, "three")]


def test_a_stream_cut_anywhere_gives_the_same_text_in_order() -> None:
    data = b"raw\n" + b"x" * 10 + b"\nlast\n"
    for cut in range(len(data)):
        output = Output()
        assert output.feed(data[:cut], 3, 0.0) + output.feed(data[cut:], 3, 0.0) == [
            (3, "raw"),
            (3, "x" * 10),
            (3, "last"),
        ]


def test_text_without_a_mark_belongs_to_what_runs_or_else_to_what_ran() -> None:
    output = Output()
    assert output.feed(b"loading\n", 0, 0.0) == [(0, "loading")]
    assert output.feed(b"from c\n", 5, 0.0) == [(5, "from c")]
    assert output.feed(b"late\n", 0, 0.0) == [(5, "late")]


def test_an_unfinished_line_ends_with_its_task_or_with_the_process() -> None:
    output = Output()
    assert output.feed(marked(1, "no newline"), 1, 0.0) == []
    assert output.feed(marked(2, "next"), 2, 0.0) == [(1, "no newline")]
    assert output.rest() == [(2, "next")]


def test_a_long_line_is_cut_and_empty_ones_are_left_out() -> None:
    output = Output()
    lines: list[tuple[int, str]] = []
    for _ in range(100):
        lines += output.feed(b"y" * 100, 1, 0.0)
    lines += output.feed(b"\n\n\nshort\r\n", 1, 0.0)
    assert lines == [(1, "y" * LINE_BYTES_MAX + " [...]"), (1, "short")]


def test_what_a_task_writes_beyond_its_measure_is_left_out_and_counted() -> None:
    output = Output()
    lines: list[tuple[int, str]] = []
    for number in range(20_000):
        lines += output.feed(marked(1, "z" * 99 + "\n"), 1, number / 10_000)
    written = sum(len(text) + 1 for _, text in lines)
    assert BURST_BYTES <= written <= BURST_BYTES + 2 * RATE_BYTES + 200
    assert output.feed(marked(2, "another\n"), 2, 2.0) == [(2, "another")]

    again = output.feed(marked(1, "later\n"), 1, 60.0)

    assert [text for _, text in again][1:] == ["later"]
    notes = [text for _, text in (*lines, *again) if text.startswith("[")]
    lost = sum(int(note[1:].split()[0]) for note in notes)
    assert lost == 20_000 - (len(lines) + len(again) - 1 - len(notes))


def test_the_end_of_a_task_ends_its_line_and_says_what_was_left_out() -> None:
    output = Output()
    output.feed(marked(1, "x" * (BURST_BYTES - 1) + "\n"), 1, 0.0)
    output.feed(marked(1, "a\nb\n"), 1, 0.0)
    output.feed(marked(2, "no newline"), 1, 0.0)
    assert output.ended([2]) == [(2, "no newline")]
    assert output.ended([1, 3]) == [(1, "[2 lines left out: more than 64 KiB a second]")]
    assert output.ended([1, 2, 3]) == output.rest() == []


def test_junk_is_shown_as_text() -> None:
    assert Output().feed(b"\xff\xfe\n\x1ebad\x1fid\n", 4, 0.0) == [(4, "\ufffd\ufffd"), (4, "id")]
