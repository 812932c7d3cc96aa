"""Finds a configuration, reads it, lets the environment speak, checks it, and explains what is wrong in one line each.

Order, later wins: the file (or dict), then `WORKERHOST__SECTION__KEY` of the environment. `${NAME}` in a value is
replaced after parsing, so that what stands in the environment can never become structure.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..workers.errors import ConfigError, plain
from .document import Document, DocumentError, read, scalar
from .document import Path as KeyPath
from .schema import Settings
from .section import MAPPING, TEXT, Section

PREFIX: Final = "WORKERHOST__"
FILE_NAME: Final = "workerhost.yaml"
FILE_BYTES_MAX: Final = 1024 * 1024
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load(source: str | Path | Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration.

    Args:
        source: A file, or the same as a dict. None: `$WORKERHOST_CONFIG`, then ./workerhost.yaml, then only defaults.
        environ: The environment (default: none, so that what is given is all that counts).

    Raises:
        ConfigError: The first thing that is wrong, as one line: where, which key, why, and the cure.
    """
    found = examine(source, environ)
    if isinstance(found, Settings):
        return found
    more = f" (and {len(found) - 1} more: workerhost config check)" if len(found) > 1 else ""
    raise ConfigError(found[0] + more)


def examine(
    source: str | Path | Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings | list[str]:
    """The same as `load`, or all that is wrong, one line each."""
    try:
        return _examine(source, environ or {})
    except ConfigError as error:
        return [str(error)]


def check(source: str | Path | Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """All that is wrong with a configuration, one line each; empty if it is right."""
    found = examine(source, environ)
    return [] if isinstance(found, Settings) else found


def find(environ: Mapping[str, str]) -> Path | None:
    """The file that is used when none is named, or None."""
    if environ.get("WORKERHOST_CONFIG"):
        return Path(environ["WORKERHOST_CONFIG"])
    return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None


def variables(file: Path) -> set[str]:
    """The names of all `${NAME}` in a file, those in its comments, too."""
    return set(_VARIABLE.findall(file.read_text("utf-8-sig", errors="replace")))


def _examine(source: str | Path | Mapping[str, Any] | None, environ: Mapping[str, str]) -> Settings | list[str]:
    """The settings, or what is wrong with them.

    Raises:
        ConfigError: The source cannot even be read.
    """
    if source is None:
        source = find(environ)
    file = Path(source) if isinstance(source, (str, Path)) else None
    document = _read_file(file, environ) if file else Document(_replaced(source or {}, environ), {})
    data: Any = {} if document.data is None else document.data
    if not isinstance(data, dict):
        message = f"{file or 'configuration'}: is not a mapping; write sections such as `queue:` with keys below them"
        raise ConfigError(message)
    origins: dict[KeyPath, str] = {path: f"{file}:{line}" for path, line in document.lines.items()}
    _override(cast("dict[str, Any]", data), environ, origins)
    folder = file.absolute().parent if file else Path.cwd()
    try:
        settings = Settings.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        base = str(file) if file else "configuration"
        return [_explain(problem, origins, base) for problem in error.errors(include_url=False)]
    places = {".".join(map(str, path)): place for path, place in origins.items()}
    return settings.found_in(file, folder, places)


# Reading ---------------------------------------------------------------------------------------------------------


def _read_file(file: Path, environ: Mapping[str, str]) -> Document:
    try:
        with file.open("rb") as stream:
            body = stream.read(FILE_BYTES_MAX + 1)
        if len(body) > FILE_BYTES_MAX:
            message = f"{file}: larger than {FILE_BYTES_MAX} bytes; is this the right file?"
            raise ConfigError(message)
        text = body.decode("utf-8-sig")
    except FileNotFoundError:
        message = f"{file}: no such file; name one with -c FILE or $WORKERHOST_CONFIG"
        raise ConfigError(message) from None
    except OSError as error:
        message = f"{file}: cannot be read: {error.strerror or error}"
        raise ConfigError(message) from None
    except UnicodeDecodeError as error:
        message = f"{file}: is not UTF-8 text (byte {error.start})"
        raise ConfigError(message) from None
    try:
        if file.suffix == ".json":
            return Document(_replaced(_json(text), environ), {})
        return read(text, lambda value: _replace(value, environ))
    except json.JSONDecodeError as error:
        message = f"{file}:{error.lineno}: not valid JSON: {error.msg}"
        raise ConfigError(message) from None
    except RecursionError:
        message = f"{file}: nested too deeply"
        raise ConfigError(message) from None
    except DocumentError as error:
        where = f"{file}:{error.line}" if error.line else str(file)
        message = f"{where}: {error.reason}"
        raise ConfigError(message) from None


def _json(text: str) -> Any:
    """What a JSON text says.

    Raises:
        json.JSONDecodeError, RecursionError: It is none.
        DocumentError: It says something twice, or a number is beyond all that is read.
    """
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except json.JSONDecodeError:
        raise
    except ValueError:  # the interpreter reads numbers of some thousand digits at most
        raise DocumentError(0, "a number is too long to be read; write a smaller one") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping. JSON would take the last of two values, and whoever wrote the first would wonder."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentError(0, f"the key {plain(key, 80)} stands there a second time; remove one")
        found[key] = value
    return found


def _replace(text: str, environ: Mapping[str, str]) -> str:
    """`text` with every `${NAME}` replaced.

    Raises:
        ValueError: A variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            message = f"the environment variable {found[1]} is not set; set it, or write the value instead"
            raise ValueError(message)
        return environ[found[1]]

    return _VARIABLE.sub(value, text)


def _replaced(value: Any, environ: Mapping[str, str]) -> Any:
    """A deep copy of plain data with `${NAME}` replaced; a text that had one is then read like an unquoted scalar."""
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key: _replaced(item, environ) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, environ) for item in cast("list[Any]", value)]
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return value
    try:
        return scalar(_replace(value, environ))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _override(data: dict[str, Any], environ: Mapping[str, str], origins: dict[KeyPath, str]) -> None:
    """Put what `WORKERHOST__SECTION__KEY` variables say into `data`."""
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        try:
            value = read(environ[name]).data
        except DocumentError as error:
            message = f"{name}: {error.reason}"
            raise ConfigError(message) from None
        path: KeyPath = ()
        key = ""
        place: Any = data
        inside: Any = data
        for part in name.removeprefix(PREFIX).split("__"):
            if not part or not isinstance(inside, dict):
                message = f"{name}: names no key; write WORKERHOST__QUEUE__MAX_SIZE for queue.max_size"
                raise ConfigError(message)
            place = cast("dict[str, Any]", inside)
            key = next((known for known in place if str(known).lower() == part.lower()), part.lower())
            path = (*path, key)
            inside = place.get(key)
            if inside is None:
                inside = place[key] = {}
        place[key] = value
        origins[path] = name


# Explaining ------------------------------------------------------------------------------------------------------


def _explain(problem: ErrorDetails, origins: Mapping[KeyPath, str], base: str) -> str:
    """One line: where, which key, what is wrong, what to do."""
    path: KeyPath = tuple(part for part in problem["loc"] if part not in _INSERTED)
    context = problem.get("ctx", {})
    if problem["type"] == "problem":
        path = (*path, *_split(str(context["key"]), path, origins))
    where = next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), base)
    return f"{where}: {_dotted(path)} {_reason(problem, path, context)}"


def _split(key: str, path: KeyPath, origins: Mapping[KeyPath, str]) -> KeyPath:
    """`workers.video.youtube.timeout` as the keys that the file has: a node's name may have dots itself."""
    for known in origins:
        if known[: len(path)] == path and ".".join(map(str, known[len(path) :])) == key:
            return known[len(path) :]
    return (key,)


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{plain(part, 80)}"
    return text.removeprefix(".") or "the configuration"


def _reason(problem: ErrorDetails, path: KeyPath, context: Mapping[str, Any]) -> str:
    kind, value = problem["type"], _shown(problem.get("input"))
    if kind == "problem":
        return str(context["text"])
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "value_error":
        return f"{value} {context['error']}"
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "")
        return f"{value} is not supported; use {choices}"
    if kind in _KINDS:
        return f"{value} is not {_KINDS[kind]}"
    if kind in ("greater_than_equal", "less_than_equal"):
        word, limit = ("small", "at least") if kind[0] == "g" else ("large", "at most")
        return f"{value} is too {word}; {limit} {context.get('ge', context.get('le'))}"
    return f"{value}: {problem['msg']}"


_INSERTED: Final = ("[key]", TEXT, MAPPING)
"""Parts of a path that no file has: they say of what kind a value is."""


def _shown(value: Any) -> str:
    return plain(json.dumps(value, default=str, ensure_ascii=False), 80)


_KINDS: Final = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text; write it in quotes",
    "list_type": "a list; write [one, two]",
    "dict_type": "a mapping; write `key: value` lines below it",
    "model_type": "a mapping; write `key: value` lines below it",
    "model_attributes_type": "a mapping; write `key: value` lines below it",
}


def _unknown(path: KeyPath) -> str:
    known = _keys(path[:-1])
    near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"is an unknown key; did you mean {near[0]}?"
    return f"is an unknown key; known here: {', '.join(known)}"


def _keys(path: KeyPath) -> list[str]:
    """The keys that the section at `path` knows."""
    section: type[Section] = Settings
    named = False  # the next part is a name that the user chose (a type, a host), not a key
    for part in path:
        if isinstance(part, int):
            continue
        if named:
            named = False
            continue
        field = next(f for name, f in section.model_fields.items() if (f.alias or name) == part)
        section, named = _section(field.annotation)
    return [field.alias or name for name, field in section.model_fields.items()]


def _section(annotation: Any) -> tuple[type[Section], bool]:
    """The section that a field holds, and whether it holds several by name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    several = get_origin(annotation) is dict
    for part in get_args(annotation):
        if part is not type(None) and part is not str:
            try:
                return _section(part)[0], several
            except TypeError:
                continue
    message = f"{annotation} holds no section"
    raise TypeError(message)
