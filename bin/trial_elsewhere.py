"""`try` of a worker that lives in another Python: which one that is, and one task there, at this terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..config.policy import nearest
from ..config.schema import Settings
from ..workers import registry
from ..workers.code_place import search_paths, split_code
from ..workers.errors import ConfigError
from .exits import FAILED, say

_CHILD: Final = """
import importlib.util, json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    asked = json.load(file)
spec = importlib.util.spec_from_file_location("slot_child", asked["child"])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child.check_python()
child.find_package()
child.borrow_msgpack(asked["msgpack"])
from workerhost.bin import trial
sys.exit(trial.run_asked(asked))
"""


class Elsewhere(NamedTuple):
    """Where and what to run: an interpreter, CODE:NAME, the task's type ("": the worker's own)."""

    python: str
    code: str
    type: str


def elsewhere(settings: Settings, code: str, type: str | None) -> Elsewhere | None:
    """What to do about a worker whose type has an interpreter in the configuration; None: it runs here.

    Raises:
        ConfigError: The type is not said, and CODE cannot be loaded here to be asked.
    """
    environments = settings.environments("process")
    if not any(environment.python for environment in environments.values()):
        return None
    known, named = _configured(settings, code)
    type = type or known or _own(code)
    environment = nearest(environments, type)
    if not environment.python:
        return None
    say(f"{type or code} runs in {environment.interpreter()}, as {settings.source or 'the configuration'} says")
    return Elsewhere(environment.interpreter(), named if type == known else code, type)


def _configured(settings: Settings, code: str) -> tuple[str, str]:
    """The one type whose `class` is a CODE, or lies in it, and CODE with its name; else ""."""
    place, name = split_code(code)
    module = place.removesuffix(".py")
    found = [
        (type, f"{place}:{source.code.partition(':')[2]}")
        for type, source in settings.sources().items()
        if source.code == f"{module}:{name}" or (not name and source.code.startswith(f"{module}:"))
    ]
    return found[0] if len(found) == 1 else ("", code)


def _own(code: str) -> str:
    """The type that the one worker of a CODE names, or ""."""
    offer = registry.load(code, search_paths([code], os.environ, os.curdir))
    for reason in offer.failed.values():
        raise ConfigError(f"{reason}; if it lives in another python, say which type it is: --type TYPE")
    return next(iter(offer.types)) if len(offer.types) == 1 else ""


def run(where: Elsewhere, params: Any) -> int:
    """Run one task there. Its value goes to stdout, its traceback to stderr.

    Raises:
        ConfigError: There is no such interpreter.
    """
    import msgpack  # pyright: ignore[reportMissingTypeStubs]

    from ..actors import slot_child

    asked = {
        "code": where.code, "params": params, "type": where.type or None,
        "child": slot_child.__file__, "msgpack": str(Path(msgpack.__file__).parent),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="workerhost-try-") as folder:
        file = Path(folder, "asked.json")
        file.write_text(json.dumps(asked), encoding="utf-8")
        try:
            child = subprocess.Popen([where.python, "-I", "-c", _CHILD, str(file)])
        except OSError as error:
            message = f"{where.python}: {error.strerror}; name an interpreter or a virtualenv's folder"
            raise ConfigError(message) from None
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the task, or for its debugger
        try:
            ended = child.wait()
        finally:
            signal.signal(signal.SIGINT, before)
    if ended < 0:
        say(f"its process was killed by signal {-ended}")
        return FAILED
    return ended
