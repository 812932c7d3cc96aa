"""Commands that set a pool up: `config check`, `config schema`, `config show`, `config reload`, `demo`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from ..workers.errors import ConfigError
from . import documents, options
from .exits import CONFIGURATION, UsageError, say
from .options import Address, Config, Json

if TYPE_CHECKING:
    from ..config.schema import Settings

_NEEDS: Final = {
    "": "now",
    "hosts": "now, on hosts that have this file or accept its classes",
    "restart": "after a restart",
}
config = typer.Typer(help="Check, explain and show the configuration.", no_args_is_help=True, rich_markup_mode=None)


@config.command()
def check(
    file: Config = None,
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="The same as -c FILE.")] = None,
    imports: Annotated[
        bool, typer.Option("--import/--no-import", help="Whether the classes are imported, in a process of their own.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say all that is wrong with a configuration, one line each, or that it is right."""
    from ..config.advice import advice
    from ..config.loading import examine, find

    source = file or path or find(os.environ)
    found = examine(source, os.environ)
    problems, warnings = (found, []) if isinstance(found, list) else ([], advice(found))
    if imports and not isinstance(found, list):
        from .importing import failures

        problems = failures(found)
    if as_json:
        documents.show({"file": str(source) if source else None, "problems": problems, "warnings": warnings})
    for line in (*problems, *(f"warning: {line}" for line in warnings)) if not as_json else ():
        say(line)
    if problems:
        raise typer.Exit(CONFIGURATION)
    if not as_json:
        say(f"{source} is right" if source else "there is no configuration file; all settings are defaults")


@config.command()
def reload(context: typer.Context, as_json: Json = False, address: Address = None) -> None:
    """Have the pool read its file again: nodes, limits, hosts and alerts change without a restart; says what did."""
    with options.pool(context, address) as client:
        try:
            found = client.reload_config()
        except ConfigError as error:
            problems = str(error).splitlines()
            if as_json:
                documents.show({"changes": [], "problems": problems})
            for problem in problems if not as_json else ():
                say(problem)
            say("nothing has changed")
            raise typer.Exit(CONFIGURATION) from None
    if as_json:
        documents.show({"changes": found, "problems": []})
        return
    if not found:
        say("the file says what was in effect already")
        return
    from .tables import table

    rows = [[c["node"], c["setting"], _word(c["old"]), _word(c["new"]), _NEEDS[c["needs"]]] for c in found]
    print("\n".join(table(["NODE", "SETTING", "OLD", "NEW", "COUNTS"], rows)))


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration (editors complete and check with it)."""
    import json

    from ..config.schema import Settings

    print(json.dumps(Settings.model_json_schema(by_alias=True), indent=2))


@config.command()
def show(
    type: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="What holds for this type, and where each setting is from.")
    ] = None,
    file: Config = None,
    as_json: Json = False,
) -> None:
    """Print all settings as they are in effect."""
    from ..config.loading import load

    settings = load(file, os.environ)
    if type is None:
        _print(settings.document(), as_json)
        return
    from ..config.policy import TYPE_PATTERN

    if not TYPE_PATTERN.match(type):
        message = f"{type!r} is not a type; write one to three parts such as video.youtube.channel"
        raise UsageError(message)
    rows = _rows(settings, type)
    bounds = _bounds(settings.document()["workers"], type)
    if as_json:
        documents.show({"type": type, "settings": rows, "bounds": bounds})
        return
    from .tables import table

    lines = [[name, _word(row["value"]), row["from"]] for name, row in rows.items()]
    lines += [[bound["setting"], _word(bound["value"]), f"{bound['from']}, with all below it"] for bound in bounds]
    print("\n".join(table(["SETTING", "VALUE", "FROM"], lines)))


def _rows(settings: Settings, type: str) -> dict[str, dict[str, Any]]:
    """Setting -> its `value`, and where that is `from`."""
    from ..config.execution import BUILT_IN, execution
    from ..config.policy import NESTED

    tree = settings.policies()
    origin = tree.origin(type)
    policy = asdict(tree.effective(type))
    nested = {f"{name}.{key}": value for name in NESTED for key, value in policy.pop(name).items()}
    for name in ("isolation", "concurrency", "code"):  # of which a host's own file says more
        del policy[name]
    told = {name: (_cut_off(name, value), origin.get(name, BUILT_IN)) for name, value in {**policy, **nested}.items()}
    found = sorted({**told, **execution(settings, type)}.items())
    return {name: {"value": value, "from": place} for name, (value, place) in found}


def _bounds(nodes: dict[str, dict[str, Any]], type: str) -> list[dict[str, Any]]:
    """The limits that tasks of a type must all find room in: each is of one node and shared by all below it."""
    from ..config.policy import OWN_LIMITS, parents

    return [
        {"setting": name, "value": nodes[path][name], "from": path}
        for path in parents(type)
        for name in OWN_LIMITS
        if nodes.get(path, {}).get(name) is not None
    ]


def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Your own films and sounds; default: clips made here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line.")] = False,
) -> None:
    """See it run: a pool on this machine works through a folder of media, and a host is killed on the way."""
    from .demo import run  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    code: int = run(folder, as_json)
    raise typer.Exit(code)


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        documents.show(document)
        return
    import yaml

    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")


def _cut_off(name: str, value: Any) -> Any:
    return "stop" if name == "cut_off" and value is None else value


def _word(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, cast("list[Any]", value))) or "nothing"
    return "none" if value is None else value
