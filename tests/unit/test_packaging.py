"""What `pip install` brings: the package `workerhost`, whole, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("actors", "bin", "config", "transport", "workers")
DATA = ("*.sql", "*.yaml", "py.typed", "page/*")


def files_of_the_package() -> set[str]:
    """The names a wheel must have, read from the tree."""
    inside = [
        path
        for folder in PACKAGE_FOLDERS
        for pattern in ("*.py", *DATA)
        for path in (ROOT / folder).rglob(pattern)
        if path.is_file()
    ]
    at_the_root = [*ROOT.glob("*.py"), ROOT / "py.typed"]
    return {f"workerhost/{path.relative_to(ROOT).as_posix()}" for path in [*at_the_root, *inside]}


def ran(*command: str | Path, cwd: Path) -> str:
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel made from it, built in a clone with another name."""
    folder = tmp_path_factory.mktemp("built")
    clone = folder / "another name"
    not_source = shutil.ignore_patterns(
        ".*cache", ".git", ".venv", "__pycache__", "build", "*.egg-info", "bench-results"
    )
    shutil.copytree(ROOT, clone, ignore=not_source, symlinks=True)
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, clone, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def names_in_the_wheel(built: Path) -> list[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return wheel.namelist()


def test_every_package_of_the_tree_is_in_the_list():
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    folders = {path.parent for folder in PACKAGE_FOLDERS for path in (ROOT / folder).rglob("*.py")}
    expected = ["workerhost", *sorted("workerhost." + ".".join(path.relative_to(ROOT).parts) for path in folders)]
    assert sorted(listed) == expected
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_wheel_holds_exactly_the_package(names_in_the_wheel: list[str]):
    inside = {name for name in names_in_the_wheel if ".dist-info/" not in name}
    assert inside == files_of_the_package()


def test_the_wheel_holds_what_is_read_at_run_time(names_in_the_wheel: list[str]):
    needed = {"py.typed", "actors/slot_child.py", "actors/stores/schema.sql", "config/workerhost_config.yaml"}
    assert {f"workerhost/{name}" for name in needed} <= set(names_in_the_wheel)


def test_nothing_generic_lands_beside_it(names_in_the_wheel: list[str]):
    at_the_top = {name.split("/")[0] for name in names_in_the_wheel}
    assert {name for name in at_the_top if not name.endswith(".dist-info")} == {"workerhost"}


def test_the_source_distribution_can_test_itself(built: Path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    programs = {"bin/workerhost", "bin/test", "bin/lint", "bin/bench", "bin/environment.sh", ".ci/run"}
    assert {*programs, "tests/pytest.ini", "tests/unit/test_packaging.py", "CHANGELOG.md", "LICENSE"} <= names


def test_every_module_of_the_wheel_can_be_imported(built: Path, names_in_the_wheel: list[str]):
    place = built / "site"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(place)
    modules = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in names_in_the_wheel
        if name.endswith(".py") and not name.endswith(("__main__.py", "slot_child.py"))
    )
    program = f"""
import importlib, sys
sys.path.insert(0, {str(place)!r})
for name in {modules!r}:
    assert importlib.import_module(name).__file__.startswith({str(place)!r}), name
import workerhost
for name in dir(workerhost):
    getattr(workerhost, name)
"""
    ran(sys.executable, "-I", "-c", program, cwd=built)
