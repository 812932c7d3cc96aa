from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workerhost.config import policy
from workerhost.workers import registry
from workerhost.workers.base import BaseWorker
from workerhost.workers.errors import ConfigError
from workerhost.workers.registry import (
    Offer,
    load,
    load_all,
    locate,
    name_of,
    offer_of,
    worker,
)
from workerhost.workers.source import Source
from workerhost.workers.task import Task


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Loading changes `sys.path` and `sys.modules`."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


@worker("text.length")
def length(text: str, *, extra: int = 0, **more: Any) -> int:
    return len(text) + extra + len(more)


class Named(BaseWorker):
    type = "video"

    def execute(self, task: Task) -> str:
        return task.type


class Asked(BaseWorker):
    type = "audio"

    def can_handle(self, task: Task) -> bool:
        return task.type.endswith("e")

    def execute(self, task: Task) -> str:
        return task.type


class Open(BaseWorker):
    def execute(self, task: Task) -> str:
        return task.type


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


A = "class A(BaseWorker):\n    type='a'\n    def execute(self, task): ...\n"
HEAD = "from abc import abstractmethod\nfrom workerhost import BaseWorker, Task, Result, worker\n"


def test_a_marked_function_stays_callable_and_builds_tasks() -> None:
    assert length("abc") == 3
    assert length.type == "text.length"
    assert length.task("abc", extra=2, other=1) == Task(
        id=0, type="text.length", params={"text": "abc", "extra": 2, "other": 1}
    )
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        length.task(extra=1)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("type", ["", "a b", "a.b.c.d", ".a", "a.", "a\n", "ä"])
def test_a_malformed_type_is_refused_at_the_mark(type: str) -> None:
    with pytest.raises(ValueError, match="is no task type: one to three parts"):
        worker(type)


def test_the_mark_without_a_type_says_how_it_is_written() -> None:
    with pytest.raises(TypeError, match=r'@worker\("media'):
        worker(len)  # pyright: ignore[reportArgumentType]


def test_types_are_spelled_as_the_configuration_spells_them() -> None:
    assert registry.TYPE_PATTERN.pattern == policy.TYPE_PATTERN.pattern


def test_a_file_offers_what_is_defined_in_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "base_of_others.py",
        HEAD + "class Other(BaseWorker):\n    type='o'\n    def execute(self, task): ...\n",
    )
    code = write(
        tmp_path,
        "tasks_a.py",
        HEAD
        + """
from base_of_others import Other
unhashable = {}
class Base(BaseWorker):
    def execute(self, task): return self.work(task)
class Abstract(BaseWorker):
    type = "abstract"
    @abstractmethod
    def work(self): ...
class Video(Base):
    type = "video.probe"
    def work(self, task): return 1
class MyWorker(BaseWorker):
    def can_handle(self, task): return task.type == 'my_type'
    def execute(self, task): return Result(success=True)
@worker("text.length")
def length(text): return len(text)
alias = length
def plain(text): ...
""",
    )
    offer = load(code)
    assert offer.failed == {}
    assert sorted(offer.types) == ["text.length", "video.probe"]
    assert [one.__name__ for one in offer.any] == ["MyWorker"]
    assert offer.plain()["any"] == ["tasks_a:MyWorker"]
    assert sorted(offer.fingerprints) == ["text.length", "video.probe"]
    assert len(offer.fingerprints["video.probe"]) == 8


def test_one_worker_can_be_named(tmp_path: Path) -> None:
    code = write(
        tmp_path,
        "tasks_b.py",
        HEAD + "class A(BaseWorker):\n    type='a'\n    def execute(self, task): ...\nclass B(A): type='b'\nx = 1\n",
    )
    assert list(load(f"{code}:B").types) == ["b"]
    assert list(load("tasks_b:A", [str(tmp_path)]).types) == ["a"]
    assert list(load("tasks_b", [str(tmp_path)]).types) == ["a", "b"]
    assert "has no Missing" in load("tasks_b:Missing").failed["tasks_b:Missing"]
    assert "not a worker" in load("tasks_b:x").failed["tasks_b:x"]


def test_a_package_offers_what_its_modules_define(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    write(
        tmp_path / "pack", "inner.py", HEAD + "class A(BaseWorker):\n    type='a'\n    def execute(self, task): ...\n"
    )
    write(tmp_path / "pack", "__init__.py", "from .inner import A\n")
    assert list(load("pack", [str(tmp_path)]).types) == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (\n", r"SyntaxError: .*broken\.py:1\)"),
        ("\nimport missing_thing\n", r"ModuleNotFoundError: No module named 'missing_thing' \(.*broken\.py:2\)"),
        ("\n\n1 / 0\n", r"ZeroDivisionError: division by zero \(.*broken\.py:3\)"),
        ("raise SystemExit(3)\n", r"SystemExit: 3 \(.*broken\.py:1\)"),
        ("x = 1\n", r"no worker in it"),
        (HEAD + "class A(BaseWorker):\n    type='a b'\n    def execute(self, task): ...\n", r"'a b' is no task type"),
    ],
)
def test_what_cannot_be_loaded_is_said_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    code = write(tmp_path, "broken.py", text)
    offer = load(code)
    assert offer.types == {}
    assert list(offer.failed) == [code]
    assert re.search(said, offer.failed[code]), offer.failed[code]


def test_a_missing_file_and_a_missing_module_are_told_apart(tmp_path: Path) -> None:
    assert load(str(tmp_path / "no.py")).failed == {str(tmp_path / "no.py"): f"{tmp_path}/no.py: no such file"}
    assert "No module named 'no_such'" in load("no_such.module").failed["no_such.module"]


def test_two_workers_of_one_type_are_a_mistake_that_is_named(tmp_path: Path) -> None:
    code = write(
        tmp_path,
        "twice.py",
        HEAD + "@worker('a')\ndef one(): ...\n@worker('a')\ndef two(): ...\n@worker('b')\ndef b(): ...",
    )
    offer = load(code)
    assert sorted(offer.types) == ["a", "b"]
    assert offer.types["a"].__name__ == "one"
    assert offer.failed[code].startswith("a has two workers, twice:one and twice:two")


def test_the_class_of_the_configuration_wins_and_the_same_file_twice_is_no_mistake(tmp_path: Path) -> None:
    code = write(
        tmp_path,
        "mixed.py",
        HEAD + A + A.replace("A", "B").replace("    type='a'\n", ""),
    )
    offer = load_all([code, code], {"a": Source("mixed:B"), "c": Source("mixed:Missing")}, [str(tmp_path)])
    assert offer.types["a"].__name__ == "B"
    assert list(offer.failed) == ["c"]


def test_a_module_of_functions_that_ends_itself_takes_no_other_type_along(tmp_path: Path) -> None:
    write(tmp_path, "quits.py", "import sys\nsys.exit(3)\n")
    code = write(tmp_path, "stays.py", HEAD + A)
    offer = load_all([code], {"function": Source(modules=("quits",))}, [str(tmp_path)])
    assert offer.failed == {"function": "host.functions: quits: SystemExit: 3"}
    assert list(offer.types) == ["a"]


def test_a_class_that_is_accepted_of_some_modules_is_defined_in_one_of_them(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere_e.py", HEAD + A)
    write(tmp_path, "accepted_e.py", HEAD + "from elsewhere_e import A\nclass B(A): ...\n")
    code, modules = "accepted_e", ("accepted_e",)
    sources = {"a": Source(f"{code}:A", modules=modules), "b": Source(f"{code}:B", modules=modules)}
    offer = load_all([], sources, [str(tmp_path)])
    assert list(offer.types) == ["b"]
    assert offer.failed == {"a": "accepted_e:A: defined in elsewhere_e, which this host does not accept"}


def test_what_is_accepted_is_a_module_and_never_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`jobs_f.x.py` is also how a module `py` of a package `jobs_f.x` would be called."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "jobs_f.x.py", "open('it_ran', 'w')\n" + HEAD + A)
    offer = load_all([], {"a": Source("jobs_f.x.py:A", modules=("jobs_f.*",))}, [])
    assert "ModuleNotFoundError" in offer.failed["a"]
    assert not (tmp_path / "it_ran").exists()


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "tasks_c.py", HEAD + f"@worker('{name}')\ndef f(): return '{name}'\n")
    offer = load_all([str(tmp_path / "one" / "tasks_c.py"), str(tmp_path / "two" / "tasks_c.py")])
    assert {type: found() for type, found in offer.types.items()} == {"one": "one", "two": "two"}  # pyright: ignore


def test_a_file_that_two_slots_load_at_once_is_whole_for_both(tmp_path: Path) -> None:
    gate = ModuleType("gate_of_a_slow_import")
    entered, go_on = threading.Event(), threading.Event()
    vars(gate).update(entered=entered, go_on=go_on)
    sys.modules[gate.__name__] = gate
    text = f"""
import {gate.__name__} as gate
gate.entered.set()
gate.go_on.wait(10)
from workerhost import worker

@worker("late")
def late(): ...
"""
    code = write(tmp_path, "slow_import.py", text)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(load, code)
        assert entered.wait(10)
        second = threads.submit(load, code)
        waited = not wait([second], timeout=0.2).done
        go_on.set()
        assert waited
        assert list(first.result(10).types) == list(second.result(10).types) == ["late"]


def test_a_file_named_like_the_standard_library_breaks_nothing(tmp_path: Path) -> None:
    code = write(tmp_path, "http.py", HEAD + "import http.client\n@worker('a')\ndef f(): return http.client.OK\n")
    offer = load(code)
    assert offer.failed == {}
    assert offer.types["a"]() == 200  # pyright: ignore


def test_who_is_asked_about_a_task_and_in_which_order() -> None:
    class Nearer(Asked):
        type = "audio.radio"

    class Last(BaseWorker):
        def can_handle(self, task: Task) -> bool:
            return False

        def execute(self, task: Task) -> None: ...

    offer = offer_of([Open, Asked, Named, length, Nearer, Last])
    assert offer.candidates("video") == [(Named, False), (Open, False), (Last, True)]
    assert offer.candidates("video.x") == [(Open, False), (Last, True)], "Named serves exactly its type"
    assert offer.candidates("audio.radio.live") == [(Nearer, True), (Asked, True), (Open, False), (Last, True)]
    assert offer.candidates("audio.radio") == [(Nearer, True), (Asked, True), (Open, False), (Last, True)]
    assert offer.candidates("text.length")[0] == (length, False)
    assert Offer().candidates("a.b.c") == []


def test_offer_of_refuses_what_is_no_worker_and_two_for_one_type() -> None:
    class AlsoNamed(Named): ...

    with pytest.raises(ConfigError, match="is no worker"):
        offer_of([print])
    with pytest.raises(ConfigError, match="video has two workers"):
        offer_of([Named, AlsoNamed])


def test_locate_names_what_another_process_can_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(Named) == f"{__name__}:Named"

    class Local(Named): ...

    with pytest.raises(ConfigError, match=r"inside a function.*inline slots"):
        locate(Local)
    main, path = ModuleType("__main__"), tmp_path / "script.py"
    path.write_text("")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(Named, "__module__", "__main__")
    with pytest.raises(ConfigError, match="defined at a prompt"):
        locate(Named)
    main.__file__ = str(path)
    assert locate(Named) == f"__main__:{path}:Named"


def test_a_script_is_loaded_as_mp_main_without_running_its_main_part(tmp_path: Path) -> None:
    sys.modules.pop("__mp_main__", None)  # of a script that another test was
    code = write(
        tmp_path,
        "script.py",
        HEAD + "@worker('a')\ndef f(): return __name__\nif __name__ == '__main__':\n    raise SystemExit('ran')\n",
    )
    offer = load(f"__main__:{code}:f")
    assert offer.failed == {}
    assert offer.types["a"]() == "__mp_main__"  # pyright: ignore
    assert sys.modules["__main__"] is sys.modules["__mp_main__"]


def test_a_worker_says_what_its_tasks_cost_of_a_quota() -> None:
    class Dear(BaseWorker):
        type = "video.search"
        quota_cost = 100

    class Wrong(BaseWorker):
        type = "video.other"
        quota_cost = 0

    offer = Offer()
    offer.add(Dear, "here")
    offer.add(Wrong, "there")
    assert offer.plain()["costs"] == {"video.search": 100}
    assert offer.failed == {
        "there": f"{name_of(Wrong)}: quota_cost is 0; it must be a whole number from 1 to 1000000000"
    }
