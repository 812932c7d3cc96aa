"""The source of what a slot has loaded, so that a slot that is started later runs the same code, and not what has come
to lie on the disk meanwhile. Python 3.9 and the standard library suffice here.

A file that is what it was is loaded from the disk as ever, compiled code included. What a task imports only when it
runs is not kept.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any, Final

BYTES_MAX: Final = 4 * 1024 * 1024
"""Of source that is kept; a program has less of its own."""

_changed: dict[str, bytes] = {}  # file -> its source, where that is not on the disk any more
_modules: dict[str, str] = {}  # name -> file, of modules in those files


def loaded(paths: Iterable[str]) -> dict[str, list[Any]]:
    """The modules that were imported from these folders: name -> [file, when it was changed in ns, size, source]."""
    kept: dict[str, list[Any]] = {}
    room = BYTES_MAX
    for name, file in modules_from(paths):
        try:
            state, source = state_of(file), source_of(file)
        except OSError:
            continue
        room -= len(source)
        if room < 0:
            break
        if file.endswith(".py"):
            kept[name] = [file, *state, source]
    return kept


def modules_from(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, file) of modules that were imported from these folders, and not from what is installed below them."""
    folders = tuple(f"{folder.rstrip(os.sep)}{os.sep}" for folder in paths)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(folders) and "site-packages" not in file:
            yield name, file


def use(kept: Mapping[str, Sequence[Any]]) -> None:
    """Import these modules (see `loaded`) as they were, also where a file is another one by now, or gone."""
    for name, (file, changed, size, source) in kept.items():
        if state_of(file) != (changed, size):
            _modules[name], _changed[file] = file, source
            lines = source.decode("utf-8", "replace").splitlines(keepends=True)
            linecache.cache[file] = (len(source), None, lines, file)  # for tracebacks; None: not to be looked up
    if _changed:
        sys.meta_path.insert(0, _Finder())


def state_of(file: str) -> tuple[int, int]:
    """When a file was changed, in ns, and its size; (0, 0) of one that is not there."""
    try:
        status = os.stat(file)  # noqa: PTH116 -- a path would be made of thousands of them twice a second
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def is_there(path: Path) -> bool:
    """Whether a file can be loaded."""
    return str(path) in _changed or path.is_file()


def source_of(file: str) -> bytes:
    """What is loaded from a file.

    Raises:
        OSError: It cannot be read.
    """
    return _changed[file] if file in _changed else Path(file).read_bytes()


def spec_of(name: str, file: str) -> ModuleSpec | None:
    """How to load a module from a file."""
    return spec_from_file_location(name, file, loader=_Loader(name, file) if file in _changed else None)


class _Finder:
    """Finds modules whose files have changed, before Python looks at the disk."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return spec_of(name, _modules[name]) if name in _modules else None


class _Loader(SourceFileLoader):
    """Loads a module from the source that was kept; what is compiled on the disk is of another one."""

    def get_data(self, path: str) -> bytes:
        return source_of(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError(path)
