"""Which files code comes from, for those who watch them. Python 3.9 and the standard library suffice here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .code_place import MAIN, is_file, split_code
from .kept_code import modules_from


def code_files(codes: Iterable[str]) -> list[str]:
    """The files that CODE names, whether they can be imported or not."""
    places = (split_code(code)[0] for code in codes)
    return [str(Path(place.removeprefix(MAIN)).resolve()) for place in places if is_file(place)]


def imported_files(paths: Iterable[str]) -> list[str]:
    """The files of all modules that were imported from these folders."""
    return sorted({file for _, file in modules_from(paths)})
