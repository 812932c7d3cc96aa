"""House rules that a reader relies on, checked by reading the source: floors, purity, sizes, names, no sleeping."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("actors", "bin", "config", "transport", "workers")

GROUND, CORE, SHELLS, TOP, FACE = range(5)
FLOORS = {
    "workers": GROUND,
    "config": GROUND,
    "transport": GROUND,  # its __init__ alone: whoever imports transport.messages runs it
    "transport.messages": GROUND,
    "actors": CORE,  # its __init__ alone
    "actors.core": CORE,
    "transport.": SHELLS,
    "actors.": SHELLS,
    "bin": TOP,
    "__main__": TOP,
    "testing": TOP,
    "": FACE,  # the package's own __init__: it names everything and loads it lazily
}

RUN_BY_PATH = {"actors.slot_child"}
"""Programs that a slot starts with `python -I FILE`: they have no package of their own to be relative to."""

IMPURE = frozenset({
    "asyncio", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib", "psutil", "pykka", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "sqlite3", "structlog", "subprocess", "tempfile", "threading",
    "time", "uuid", "zmq",
})  # fmt: skip
CLOCK_READERS = frozenset({"now", "utcnow", "today"})

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
BANNED_NAMES = frozenset({"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"})
SLEEP_MARK = "# sleeps:"
"""A test may call sleep() only where sleeping is what is tested, and says so: `# sleeps: the task is a slow one`."""


def module_name(path: Path) -> str:
    """`actors/core/pool.py` -> `actors.core.pool`; a package's `__init__.py` bears the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_files() -> list[Path]:
    inside = [path for folder in PACKAGE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted([ROOT / "__init__.py", ROOT / "__main__.py", ROOT / "testing.py", *inside])


def files_of_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in package_files()}


def floor_of(module: str) -> int:
    """A module's own entry, else that of the nearest package above it; `transport.` means all that lies inside."""
    if module in FLOORS:
        return FLOORS[module]
    package, _, _ = module.rpartition(".")
    while package:
        if package + "." in FLOORS:
            return FLOORS[package + "."]
        if package in FLOORS:
            return FLOORS[package]
        package, _, _ = package.rpartition(".")
    raise AssertionError(f"{module} stands on no floor: add it to FLOORS")


def imports_of_ours(module: str, tree: ast.Module, *, is_package: bool, known: set[str]) -> Iterator[tuple[str, int]]:
    """Every import of this package, also those inside functions and under TYPE_CHECKING: (module, line)."""
    here = module.split(".") if module else []
    package = here if is_package else here[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}".lstrip(".")
                yield (inner if inner in known else source), node.lineno


def foreign_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every absolute import: (full name, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", node.lineno


@cache
def arrows() -> list[tuple[str, str, int]]:
    """(importer, imported, line) for the whole package."""
    known = set(modules())
    return [
        (module, target, line)
        for module, path in modules().items()
        for target, line in imports_of_ours(module, parsed(path), is_package=path.name == "__init__.py", known=known)
    ]


def is_upward(importer: str, imported: str) -> bool:
    if imported == "":  # `from .. import __version__`: a constant at the head of the face, which loads nothing
        return False
    return floor_of(imported) > floor_of(importer)


def impurities(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a pure module must not do: import an impure module, open a file, or ask the calendar."""
    for name, line in foreign_imports(tree):
        if name.split(".")[0] in IMPURE:
            yield f"import {name}", line
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield "open()", node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_READERS:
            owner = ast.unparse(node.func.value)
            if owner.split(".")[-1] in {"datetime", "date"}:
                yield f"{owner}.{node.func.attr}()", node.lineno


def long_functions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.name, node.lineno, length


def unmarked_sleeps(source: str) -> Iterator[int]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "sleep" and SLEEP_MARK not in lines[node.lineno - 1]:
                yield node.lineno


def waits_for_nobody(source: str) -> Iterator[int]:
    """Waits for an event of a function's own that nobody sets: sleeps by another name."""
    made = re.findall(r"^ +(\w+(?:, \w+)*) = .*\bEvent\(\)", source, re.MULTILINE)
    unset = {name for names in made for name in names.split(", ") if f"{name}.set" not in source}
    for number, line in enumerate(source.splitlines(), 1):
        if any(f"{name}.wait(" in line for name in unset):
            yield number


def shown(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def test_no_import_runs_up_the_floors():
    wrong = [
        shown(
            modules()[importer],
            line,
            f"{importer} (floor {floor_of(importer)}) imports {imported} ({floor_of(imported)})",
        )
        for importer, imported, line in arrows()
        if is_upward(importer, imported)
    ]
    assert wrong == []


def test_modules_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for importer, imported, _ in arrows():
        if importer and imported and importer != imported:
            graph[importer].add(imported)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_inside_the_package_every_import_is_relative():
    wrong = [
        shown(path, line, f"import of {name}: write it relative")
        for module, path in modules().items()
        for name, line in foreign_imports(parsed(path))
        if name.split(".")[0] in {"workerhost", *PACKAGE_FOLDERS} and module not in RUN_BY_PATH
    ]
    assert wrong == []


def test_the_core_reads_no_clock_socket_thread_chance_log_database_or_file():
    wrong = [
        shown(path, line, what)
        for module, path in modules().items()
        if floor_of(module) == CORE
        for what, line in impurities(parsed(path))
    ]
    assert wrong == []


def test_importing_the_core_loads_nothing_that_could_break_its_purity():
    core = sorted(f"workerhost.{module}" for module in modules() if floor_of(module) == CORE)
    program = f"import sys, importlib\nfor m in {core!r}: importlib.import_module(m)\nprint(*sys.modules, sep='\\n')"
    command = [sys.executable, "-I", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    assert {"zmq", "pykka", "sqlite3", "structlog"} & set(run.stdout.split()) == set()


def test_functions_and_files_stay_readable():
    files = [*package_files(), *files_of_tests()]
    wrong = [
        shown(path, line, f"{name} has {length} lines, {FUNCTION_LINES_MAX} are the limit")
        for path in files
        for name, line, length in long_functions(parsed(path))
    ]
    for path in files:
        length = len(path.read_text(encoding="utf-8").splitlines())
        if length > FILE_LINES_MAX:
            wrong.append(shown(path, length, f"{length} lines, {FILE_LINES_MAX} are the limit"))
    assert wrong == []


def test_a_name_says_what_is_in_the_file():
    wrong = [str(path.relative_to(ROOT)) for path in [*package_files(), *files_of_tests()] if path.stem in BANNED_NAMES]
    assert wrong == []


def test_tests_wait_for_signals_and_not_by_sleeping():
    wrong = [
        shown(path, line, f"sleep() without `{SLEEP_MARK} why`")
        for path in files_of_tests()
        for line in unmarked_sleeps(path.read_text(encoding="utf-8"))
    ]
    wrong += [
        shown(path, line, "a wait for what nobody sets: look with `until`, or call it sleep()")
        for path in files_of_tests()
        for line in waits_for_nobody(path.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_test_files_can_be_collected_together():
    names = [path.name for path in files_of_tests() if path.name.startswith("test_")]
    assert [name for name in set(names) if names.count(name) > 1] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


class TestTheChecksThemselves:
    """A rule that cannot be broken checks nothing."""

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("workers.base", "transport.codec"),
            ("config.schema", "actors.core.pool"),
            ("transport.messages", "transport.session"),
            ("actors.core.pool", "actors.stores.contract"),
            ("actors.core.pool", "transport.session"),
            ("transport.client", "bin.main"),
            ("transport", "transport.client"),
        ],
    )
    def test_upward(self, importer: str, imported: str):
        assert is_upward(importer, imported)
        assert not is_upward(imported, importer)

    def test_a_module_outside_the_floors_is_noticed(self):
        with pytest.raises(AssertionError, match="stands on no floor"):
            floor_of("cellar.wine")

    def test_imports_are_resolved_wherever_they_stand(self):
        source = (
            "from ..transport import messages\ndef f():\n    from .rows import Row\n    from ... import __version__\n"
        )
        known = {"", "transport", "transport.messages", "actors", "actors.core", "actors.core.rows"}
        found = imports_of_ours("actors.host", ast.parse(source), is_package=False, known=known)
        assert next(found) == ("transport.messages", 1)
        found = imports_of_ours("actors.core.pool", ast.parse(source), is_package=False, known=known)
        assert [target for target, _ in found] == ["actors.transport", "actors.core.rows", ""]

    def test_impurities(self):
        source = "import zmq\nfrom time import monotonic\nfrom datetime import datetime\ndatetime.now()\nself.now()\n"
        assert list(impurities(ast.parse(source))) == [("import zmq", 1), ("import time", 2), ("datetime.now()", 4)]
        source = "import os.path\nfrom pathlib import Path\nopen(name)\nguard.open(now)\n"
        assert list(impurities(ast.parse(source))) == [("import os.path", 1), ("import pathlib", 2), ("open()", 3)]

    def test_sleeps(self):
        assert list(unmarked_sleeps("time.sleep(1)\nsleep(2)\nawait_sleep(3)\n")) == [1, 2]
        assert list(unmarked_sleeps("time.sleep(1)  # sleeps: a slow task\n")) == []

    def test_waits_for_nobody(self):
        source = "def f():\n    end, pause = now(), threading.Event()\n    pause.wait(0.02)\n"
        assert list(waits_for_nobody(source)) == [3]
        assert list(waits_for_nobody(source + "    pause.set()\n")) == []

    def test_long_functions(self):
        fits = "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)
        exceeds = fits + "    x = 1\n"
        assert list(long_functions(ast.parse(fits))) == []
        assert list(long_functions(ast.parse(exceeds))) == [("f", 1, FUNCTION_LINES_MAX + 1)]
