"""What must not occur anywhere in the package, because data of strangers could become code with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("actors", "bin", "config", "transport", "workers")
MODULES = frozenset(
    {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib"}
)
ALLOWED = frozenset({
    "workers/functions.py: cloudpickle",  # where the host's configuration and the client both ask for it
    "transport/joblib_backend.py: joblib",  # to be registered there
    "transport/joblib_backend.py: joblib._parallel_backends",
})  # fmt: skip
CALLS = frozenset({"eval", "exec", "compile", "__import__"})
YAML_LOADERS = frozenset({"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"})
UNSAFE_BASES = frozenset({"Loader", "CLoader", "FullLoader", "UnsafeLoader", "Unpickler"})


def dangers(source: str) -> Iterator[tuple[int, str]]:
    """(line, what) of everything that turns data into code or objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.lineno, str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield node.lineno, f"{node.func.id}()"
        elif isinstance(node, ast.Call) and (name := _imported_by_name(node)).split(".")[0] in MODULES:
            yield node.lineno, name
        elif isinstance(node, ast.Attribute) and _is_unsafe_yaml(source, node):
            yield node.lineno, "a loader of yaml that makes objects"


def _imported_by_name(call: ast.Call) -> str:
    """`import_module("name")`"""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if name == "import_module" and call.args else None
    return str(first.value) if isinstance(first, ast.Constant) else ""


def _is_unsafe_yaml(source: str, node: ast.Attribute) -> bool:
    if not (isinstance(node.value, ast.Name) and node.value.id == "yaml"):
        return False
    return node.attr in UNSAFE_BASES or (node.attr in YAML_LOADERS and not _is_safe_load(source, node))


def _is_safe_load(source: str, attribute: ast.Attribute) -> bool:
    """`yaml.load(text, Loader=...)` with a loader of ours; those are derived from the safe one, which is looked at."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.lineno == attribute.lineno:
            names = [*node.args[1:], *(keyword.value for keyword in node.keywords if keyword.arg == "Loader")]
            return any(isinstance(name, ast.Name) and name.id not in UNSAFE_BASES for name in names)
    return False


def test_no_data_becomes_code_anywhere_in_the_package() -> None:
    files = [ROOT / "__init__.py", ROOT / "__main__.py", *(p for f in FOLDERS for p in (ROOT / f).rglob("*.py"))]
    found = {f"{path.relative_to(ROOT)}: {what}": line for path in files for line, what in dangers(path.read_text())}
    assert len(files) > 100
    assert found.keys() == ALLOWED, found


def test_the_check_finds_what_it_looks_for() -> None:
    source = """\
import pickle
from marshal import loads
eval("1")
yaml.load(text)
yaml.load(text, Loader=yaml.Loader)
yaml.unsafe_load(text)
yaml.safe_load(text)
model.compile()
import_module("dill")
import_module(name)
"""
    assert {line for line, _ in dangers(source)} == {1, 2, 3, 4, 5, 6, 9}
