"""Where a CODE lies, and where it is looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workerhost.workers.code_place import add_paths, search_paths, split_code


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("tasks.py", ("tasks.py", "")),
        ("tasks.py:A", ("tasks.py", "A")),
        ("my.module:Outer.Inner", ("my.module", "Outer.Inner")),
        ("__main__:/a/b.py:A", ("__main__:/a/b.py", "A")),
        ("__main__:/a/b.py", ("__main__:/a/b.py", "")),
        (r"C:\tasks.py", (r"C:\tasks.py", "")),
    ],
)
def test_split_code(code: str, parts: tuple[str, str]) -> None:
    assert split_code(code) == parts


def test_search_paths_are_the_files_folder_the_current_one_and_pythonpath(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    found = search_paths(
        ["jobs/tasks.py:A", "my.module", f"__main__:{tmp_path}/jobs/main.py"],
        {"PYTHONPATH": f"lib:{tmp_path}"},
        str(tmp_path),
    )
    assert found == (str(tmp_path / "jobs"), str(tmp_path), str(tmp_path / "lib"))


def test_the_users_folders_come_after_the_standard_library_and_before_what_is_installed(tmp_path: Path) -> None:
    add_paths([str(tmp_path), str(tmp_path)])
    assert sys.path.count(str(tmp_path)) == 1
    place = sys.path.index(str(tmp_path))
    assert place < next(n for n, entry in enumerate(sys.path) if entry.endswith("site-packages"))
    assert place > next(n for n, entry in enumerate(sys.path) if entry.endswith("lib-dynload"))
