"""`new worker`, `new project`: write a worker, its entry in the configuration and its test. All of it, or nothing.

Never overwrites: what is there already is named and left as it is.
"""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ..config.document import DocumentError, read
from ..config.loading import FILE_NAME, load
from ..workers.errors import ConfigError
from . import templates
from .exits import UsageError, say

SAMPLE_PARAMS: Final = "url=https://example.org/1"
PROGRAMS: Final = {"python": ("python3", ".py"), "node": ("node", ".js"), "bash": ("bash", ".sh")}
FORMS: Final = ("class", "function", *PROGRAMS)
"""What a worker may be written as."""
_BY_LEVEL: Final = (templates.MEDIA, templates.PLATFORM, templates.ENDPOINT)
_PROGRAM_TEXTS: Final = {"python": templates.PYTHON, "node": templates.NODE, "bash": templates.BASH}


@dataclass(frozen=True, slots=True)
class Names:
    """What is called how.

    Attributes:
        type: The task's type.
        module: Of the worker; its ending keeps it apart from every module that exists already.
        name: The class.
        test: The test's file.
    """

    type: str
    module: str
    name: str
    test: str


def names_of(type: str) -> Names:
    """For `video.youtube.shorts`: video_youtube_shorts_worker, YoutubeShortsWorker and the test's file."""
    words = re.split(r"[.\-_]+", type)
    module = "_".join(word for word in words if word).lower() + "_worker"
    if module[0].isdigit():
        module = f"type_{module}"
    shown = [word for part in type.split(".")[-2:] for word in re.split(r"[\-_]+", part) if word]
    name = "".join(word[0].upper() + word[1:] for word in shown) + "Worker"
    if name[0].isdigit():
        name = f"Type{name}"
    return Names(type, module, name, f"test_{module}.py")


def _function_of(names: Names) -> str:
    """What the function is called: no word of the language, and nothing that its test or pytest means otherwise."""
    name = names.module.removesuffix("_worker")
    taken = keyword.iskeyword(name) or name == "pool" or name.startswith(("pytest", "setup", "teardown", "test"))
    return name if name.isidentifier() and not taken else f"run_{name}"


def begin_worker(type: str, folder: Path, form: str) -> None:
    """Write the three files' contents. `form` is one of `FORMS`.

    Raises:
        UsageError: One of the files is there already, or the type is configured already.
        ConfigError: The configuration that is there is wrong, or cannot be added to.
        OSError: It cannot be written.
    """
    names = names_of(type)
    function = _function_of(names)
    called = function if form == "function" else names.name
    if form in PROGRAMS:
        program, ending = PROGRAMS[form]
        text, test = _PROGRAM_TEXTS[form], templates.TEST_OF_PROGRAM
        entry = f"{type}: {{ isolation: command, command: [{program}, {names.module}{ending}], timeout: 5m }}"
    else:
        ending, test = ".py", templates.TEST
        text = templates.FUNCTION if form == "function" else _BY_LEVEL[type.count(".")]
        entry = f'{type}: {{ class: "{names.module}:{called}", timeout: 5m }}'
    words = {"type": type, "module": names.module, "name": names.name, "test": names.test}
    words |= {"function": function, "called": called}
    files = {folder / f"{names.module}{ending}": text.format(**words), folder / names.test: test.format(**words)}
    _refuse_to_overwrite(files)
    config = folder / FILE_NAME
    configured = with_entry(config, type, entry)
    _write(folder, files)
    _replace(config, configured)
    for file in (*files, config):
        print(file)
    place = _place(folder)
    say(f"test it: {place}python -m pytest {names.test}")
    say(f"run it:  {place}workerhost up, and then: workerhost send {type} {SAMPLE_PARAMS} --wait")


def begin_project(folder: Path) -> None:
    """Write a project of two workers, for two machines.

    Raises:
        UsageError: One of its files is there already.
        OSError: It cannot be written.
    """
    files = {folder / name: text for name, text in templates.PROJECT.items()}
    _refuse_to_overwrite(files)
    _write(folder, files)
    for file in files:
        print(file)
    say(f"test it: {_place(folder)}python -m pytest  (pip install pytest, beside workerhost)")
    say(f"run it:  {_place(folder)}workerhost up; README.md there says how the second machine joins")


def _refuse_to_overwrite(files: Iterable[Path]) -> None:
    for file in files:
        if file.exists():
            message = f"{file} is there already, and nothing was written; move it away, or choose another --folder"
            raise UsageError(message)


def _write(folder: Path, files: dict[Path, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)


def _place(folder: Path) -> str:
    return "" if folder.resolve() == Path.cwd() else f"cd {folder} && "


def with_entry(file: Path, type: str, entry: str) -> str:
    """The text of a configuration file, with a line for one more type; all else stays as it is, comments too.

    Raises:
        UsageError: The type is configured already.
        ConfigError: The file is wrong, or has no place for a line.
    """
    text = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    try:
        known = load(file, os.environ).nodes if text else {}
    except ConfigError as error:
        raise ConfigError(f"{error}; mend that first, nothing was written") from None
    if type in known:
        message = f"{file} configures {type} already, and nothing was written"
        raise UsageError(message)
    document = read(text)
    data: dict[str, Any] = document.data or {}
    lines = text.removesuffix("\n").split("\n") if text else []
    if "workers" not in data:
        lines += ([""] if lines else []) + ["workers:", f"  {entry}"]
    else:
        where = document.lines["workers",]
        below = [line for path, line in document.lines.items() if len(path) == 2 and path[0] == "workers"]
        if not below or min(below) <= where or not re.fullmatch(r"workers:\s*(#.*)?", lines[where - 1]):
            raise ConfigError(f"{file}:{where}: cannot add to `workers:` as it is written; add by hand: {entry}")
        first = lines[min(below) - 1]
        lines.insert(where, first[: len(first) - len(first.lstrip())] + entry)
    changed = "\n".join(lines) + "\n"
    _verify(file, changed, data, type, entry)
    return changed


def _verify(file: Path, changed: str, before: dict[str, Any], type: str, entry: str) -> None:
    """The file must say what it said, and the new entry; only then is it written."""
    try:
        after = cast("dict[str, Any]", read(changed).data)
        workers = dict(after.pop("workers"))
        said = workers.pop(type) is not None and (after, workers) == (
            {key: value for key, value in before.items() if key != "workers"},
            before.get("workers") or {},
        )
    except (DocumentError, KeyError, TypeError):
        said = False
    if not said:
        raise ConfigError(f"{file}: cannot be added to; add by hand, below `workers:`: {entry}")


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text, encoding="utf-8")
    if file.exists():
        beside.chmod(file.stat().st_mode & 0o777)
    beside.replace(file)
