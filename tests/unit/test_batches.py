"""`send --from` and `--each`, against a pool on virtual time: whatever happens, each line is one task, once."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from workerhost import testing, worker
from workerhost.bin import batches
from workerhost.bin.exits import UsageError
from workerhost.transport.parcel import Parcel
from workerhost.transport.taking_over import Submissions


@worker("take")
def take(**params: Any) -> Any:
    return params


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[testing.Pool]:
    monkeypatch.setattr(batches, "CHUNK_LINES", 10)
    monkeypatch.setattr(batches, "PAGE", 7)
    with testing.Pool(workers=[take]) as pool:
        yield pool


def written(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values))
    return path


def sent(pool: testing.Pool, path: Path, *, anew: bool = False, **sending: Any) -> batches.Sent:
    return batches.send(pool.client, "take", batches.lines_of(str(path), None, {}), sending, anew=anew)


def numbers(pool: testing.Pool, tag: str | None = None) -> list[int]:
    tasks = pool.client.tasks(tag=tag, limit=10_000)
    return sorted(pool.client.show(task["id"])["params"]["n"] for task in tasks)


def test_each_line_is_a_task_and_all_have_one_tag(pool: testing.Pool, tmp_path: Path) -> None:
    path = written(tmp_path / "params.jsonl", [{"n": 0}, "", {"n": 1}, "   ", {"n": 2}])
    done = sent(pool, path, tags=("mine",), priority=7)
    assert (done.tasks, done.lines) == (3, 5)
    assert numbers(pool, done.tag) == numbers(pool, "mine") == [0, 1, 2]
    assert {task["priority"] for task in pool.client.tasks(tag=done.tag)} == {7}
    assert list(tmp_path.iterdir()) == [path]


def test_lines_may_come_out_of_a_pipe(pool: testing.Pool, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=written, args=(path, [{"n": n} for n in range(25)]))
    writer.start()
    done = sent(pool, path)
    writer.join()
    assert numbers(pool, done.tag) == list(range(25))
    assert list(tmp_path.iterdir()) == [path]


def test_lines_come_out_of_no_folder(tmp_path: Path) -> None:
    for place, said in ((tmp_path, "this is a folder"), (tmp_path / "nothing", "there is no such file")):
        with pytest.raises(UsageError, match=said):
            batches.lines_of(str(place), None, {})


def test_an_empty_file_is_no_task(pool: testing.Pool, tmp_path: Path) -> None:
    assert sent(pool, written(tmp_path / "empty", [])).tasks == 0


def test_a_line_may_be_one_value_and_all_may_have_params_in_common(
    pool: testing.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Standard:
        buffer = io.BytesIO("grüße\nlast without an end".encode())

    monkeypatch.setattr("sys.stdin", Standard)
    lines = batches.lines_of(None, "text", {"lang": "de"})
    done = batches.send(pool.client, "take", lines, {}, anew=False)
    shown = [pool.client.show(id)["params"] for id in (1, 2)]
    assert done.tasks == 2
    assert shown == [{"lang": "de", "text": "grüße"}, {"lang": "de", "text": "last without an end"}]


def test_a_wrong_line_is_named_and_the_same_command_goes_on_when_it_is_right(
    pool: testing.Pool, tmp_path: Path
) -> None:
    values: list[Any] = [{"n": n} for n in range(45)]
    path = written(tmp_path / "params", [*values[:42], "{wrong", *values[43:]])
    wrong = r"params, line 43: .*a line is one task's params as JSON"
    cure = r"; 42 tasks before it are sent, tag batch-\w+: mend it, and the same command goes on behind them"
    with pytest.raises(UsageError, match=wrong + cure):
        sent(pool, path)
    assert numbers(pool) == list(range(42))
    written(path, values)
    done = sent(pool, path)
    assert numbers(pool, done.tag) == numbers(pool) == list(range(45))
    assert not path.with_name("params.sent").exists()


class Interrupted(batches.Lines):
    """Lines over which somebody presses Ctrl-C."""

    def params(self, number: int, line: bytes) -> Any:
        if number == 25:
            raise KeyboardInterrupt
        return super().params(number, line)


def test_who_stops_it_hears_how_far_it_is_and_that_it_goes_on(
    pool: testing.Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "params", [{"n": n} for n in range(45)])
    with pytest.raises(KeyboardInterrupt):
        batches.send(pool.client, "take", Interrupted(path, None, {}), {}, anew=False)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("workerhost: 20 tasks of the batch are sent, tag batch-")
    assert said.endswith("; the same command goes on behind them")
    assert sent(pool, path).tasks == len(numbers(pool)) == 45


@pytest.mark.parametrize("known", [0, 10, 20])
def test_what_was_stored_and_not_written_down_is_not_sent_twice(pool: testing.Pool, tmp_path: Path, known: int) -> None:
    """As after a kill, or a power cut that took the latest notes."""
    values: list[Any] = ["" if n % 10 == 5 else {"n": n} for n in range(45)]
    expected = [n for n in range(45) if n % 10 != 5]
    path, note = written(tmp_path / "params", [*values[:known], "wrong"]), tmp_path / "params.sent"
    with pytest.raises(UsageError):
        sent(pool, path)
    before = note.read_text()
    written(path, [*values[:42], "wrong"])
    with pytest.raises(UsageError):
        sent(pool, path)
    note.write_text(before)
    written(path, values)
    done = sent(pool, path)
    assert numbers(pool) == expected
    assert done.tasks == len(expected)


def test_a_file_that_has_changed_is_refused_until_one_says_anew(pool: testing.Pool, tmp_path: Path) -> None:
    path = written(tmp_path / "params", [{"n": 1}, "wrong"])
    with pytest.raises(UsageError, match="line 2"):
        sent(pool, path)
    written(path, [{"n": 2}])
    with pytest.raises(UsageError, match="has changed since it was begun; to begin anew: --anew"):
        sent(pool, path)
    sent(pool, path, anew=True)
    assert numbers(pool) == [1, 2]


def test_a_note_that_says_nothing_or_something_else_is_refused(pool: testing.Pool, tmp_path: Path) -> None:
    path = written(tmp_path / "params", [{"n": 1}])
    path.with_name("params.sent").write_text("[]")
    with pytest.raises(UsageError, match="does not say how far"):
        sent(pool, path)
    path.with_name("params.sent").write_text(json.dumps({"type": "other", "pool": "tcp://a:1", "tag": "t"}))
    with pytest.raises(UsageError, match="was begun as other to tcp://a:1"):
        sent(pool, path)


def test_mistakes_are_named(pool: testing.Pool, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        batches.lines_of(str(tmp_path / "nothing"), None, {})
    with pytest.raises(UsageError, match="must be a JSON object"):
        batches.lines_of("-", None, [1])
    path = written(tmp_path / "params", ["[1]"])
    with pytest.raises(UsageError, match="cannot be added to it"):
        batches.send(pool.client, "take", batches.lines_of(str(path), None, {"a": 1}), {}, anew=False)
    path.write_bytes(b"x" * (batches.LINE_BYTES_MAX + 10))
    with pytest.raises(UsageError, match="line 1: longer than"):
        sent(pool, path, anew=True)


def test_lines_that_older_tasks_answer_for_do_not_hide_how_far_it_came(pool: testing.Pool, tmp_path: Path) -> None:
    pool.send("take", {"n": 9}, cache=3600.0)
    pool.run_until_idle()
    path = written(tmp_path / "params", [*({"n": n} for n in range(10)), "wrong"])
    with pytest.raises(UsageError, match="line 11"):
        sent(pool, path, cache=3600.0)
    written(path, [{"n": n} for n in range(25)])
    sent(pool, path, cache=3600.0)
    assert numbers(pool) == list(range(25))


def test_a_chunk_some_of_whose_lines_older_tasks_answered_for_is_not_sent_twice(
    pool: testing.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored whole or not at all, so one task of it says that all of its lines are dealt with."""
    pool.client.send_many("take", [{"n": n} for n in range(4)], cache=60.0)
    pool.run_until_idle()
    path = written(tmp_path / "params", [{"n": n} for n in range(25)])
    store = Submissions.store

    def die_after(submissions: Submissions, parcel: Parcel) -> None:
        store(submissions, parcel)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Submissions, "store", die_after)
        with pytest.raises(KeyboardInterrupt):
            sent(pool, path, cache=60.0)
    assert numbers(pool) == list(range(10))
    pool.advance(hours=1)  # by now no older task would answer
    done = sent(pool, path, cache=60.0)
    assert numbers(pool) == list(range(25))
    assert done.tasks == len(range(25))


def test_a_command_that_dies_when_it_has_only_begun_to_go_on_sends_nothing_twice(
    pool: testing.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "params", [{"n": n} for n in range(35)])
    store = Submissions.store

    def die_after(submissions: Submissions, parcel: Parcel) -> None:
        store(submissions, parcel)
        raise KeyboardInterrupt

    def die_before(_submissions: Submissions, _parcel: Parcel) -> None:
        raise KeyboardInterrupt

    for die in (die_after, die_before, die_after, die_before):
        with monkeypatch.context() as dying:
            dying.setattr(Submissions, "store", die)
            with pytest.raises(KeyboardInterrupt):
                sent(pool, path)
    assert numbers(pool) == list(range(20))
    assert sent(pool, path).tasks == len(range(35))
    assert numbers(pool) == list(range(35))


@pytest.mark.parametrize("line", ["[" * 200_000, '{"n": NaN}', '{"n": -Infinity}'])
def test_what_is_no_json_is_a_mistake_in_a_line(pool: testing.Pool, tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"line 2: .*as JSON"):
        sent(pool, written(tmp_path / "params", [{"n": 1}, line]))
    assert numbers(pool) == [1]


@pytest.mark.parametrize("value", ['"\\ud83d"', "99999999999999999999", '"' + "x" * 2**20 + '"'])
@pytest.mark.parametrize("before", [0, 2])
def test_what_cannot_travel_is_a_mistake_in_a_line(pool: testing.Pool, tmp_path: Path, value: str, before: int) -> None:
    good = [{"n": n} for n in range(before)]
    with pytest.raises(UsageError, match=rf"params, line {before + 2}: params"):
        sent(pool, written(tmp_path / "params", [*good, "", f'{{"n": {value}}}', ""]))
    assert numbers(pool) == list(range(before))


def interrupt_later(pool: testing.Pool, seconds: float) -> list[str]:
    """Ctrl-C, wherever the command waits by then; not if the list was cleared."""
    armed = ["armed"]

    def interrupt() -> None:
        if armed:
            raise KeyboardInterrupt

    pool._timeline.after(seconds, interrupt)  # pyright: ignore[reportPrivateUsage]
    return armed


@pytest.mark.parametrize("parcel", [1_000_000, 20], ids=["one SUBMIT a chunk", "several SUBMITs a chunk"])
def test_what_a_full_queue_held_up_is_neither_left_out_nor_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parcel: int
) -> None:
    """It lets a part of a chunk in, or one of several SUBMITs of it, and then the command ends while it waits."""
    monkeypatch.setattr(batches, "CHUNK_LINES", 10)
    monkeypatch.setattr("workerhost.transport.parcel.BYTES_MAX", parcel)
    values: list[Any] = ["" if n % 10 == 5 else {"n": n} for n in range(45)]
    path, expected = written(tmp_path / "params", values), [n for n in range(45) if n % 10 != 5]
    with testing.Pool({"queue": {"max_size": 15}}, workers=[take]) as pool:
        pool.client.pause("take")
        interrupt_later(pool, 60.0)
        with pytest.raises(KeyboardInterrupt):
            sent(pool, path)
        assert numbers(pool) == expected[:15]
        pool.client.resume("take")
        done = sent(pool, path)
        assert numbers(pool, done.tag) == expected
        assert done.tasks == len(expected)


@pytest.mark.parametrize("seed", range(5))
def test_whenever_it_is_interrupted_before_a_queue_that_is_often_full_each_line_is_one_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(batches, "CHUNK_LINES", 10)
    monkeypatch.setattr("workerhost.transport.parcel.BYTES_MAX", 30)
    random, ends = Random(seed), 0
    path = written(tmp_path / "params", ["" if n % 7 == 5 else {"n": n} for n in range(100)])
    expected = [n for n in range(100) if n % 7 != 5]
    with testing.Pool({"queue": {"max_size": 12}}, workers=[take], slots=1, seed=seed) as pool:
        pool.takes("take", 0.1)
        for _ in range(200):
            armed = interrupt_later(pool, random.uniform(0.0, 1.5))
            try:
                sent(pool, path)
                break
            except KeyboardInterrupt:
                ends += 1
            finally:
                armed.clear()
        assert numbers(pool) == expected
    assert ends > 3


def test_a_note_that_takes_back_what_an_earlier_one_said_is_on_the_disk_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the earlier one, and a part of what it named, who goes on would leave the rest out."""
    monkeypatch.setattr(batches, "CHUNK_LINES", 10)
    synced: list[str] = []
    seen: list[tuple[int, list[str]]] = []
    store = Submissions.store

    def watched(submissions: Submissions, parcel: Parcel) -> Any:
        seen.append((parcel.block.count, synced.copy()))
        synced.clear()
        return store(submissions, parcel)

    def sync(path: Path) -> None:
        synced.append(path.name)

    monkeypatch.setattr(batches, "sync", sync)
    monkeypatch.setattr(Submissions, "store", watched)
    path = written(tmp_path / "params", [{"n": n} for n in range(20)])
    with testing.Pool({"queue": {"max_size": 17}}, workers=[take]) as pool:
        pool.client.pause("take")
        pool._timeline.after(60.0, pool.client.resume, "take")  # pyright: ignore[reportPrivateUsage]
        sent(pool, path)
    both = ["params.sent.new", tmp_path.name]
    assert seen[:4] == [(10, []), (10, []), (5, both), (5, [])]
