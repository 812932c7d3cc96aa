"""Commands about who may join: `invite`, and `keys new|list|trust|revoke`."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any, Final

import typer

from . import arguments, documents, options
from .exits import UsageError, say
from .options import Address, Json

Valid = Annotated[
    str | None,
    typer.Option("--valid", metavar="TIME", help="For how long who joins stays known; default: until revoked."),
]
_COLUMNS: Final = ("number", "at", "identity", "name", "event")
keys = typer.Typer(help="Who may join this pool from other machines.", no_args_is_help=True, rich_markup_mode=None)

Role = Annotated[str, typer.Option("--role", metavar="ROLE", help="host, client, observer or admin.")]
Serve = Annotated[
    str | None, typer.Option("--serve", metavar="TYPE,..", help="A host: only these types and what lies below them.")
]


def invite(
    context: typer.Context,
    role: Role = "host",
    serve: Serve = None,
    uses: Annotated[int, typer.Option("--uses", metavar="N", min=1, max=10_000, help="How many may join.")] = 1,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long the line can be used: 30m, 1h, 2d.")
    ] = "1h",
    valid: Valid = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="HOST:PORT", help="How others reach the supervisor; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the line to paste on another machine so that it may join; whoever has it may, so pass it on with care."""
    from ..transport.addresses import REACHED_MAX
    from ..transport.invitations import Invitation
    from ..transport.keys import new_pair

    checked_role(role)
    seconds = arguments.duration(expires, "--expires")
    types = arguments.types(serve, "--serve") or []
    pair = new_pair()
    order: dict[str, Any] = {"key": pair.public, "role": role, "serve": types, "uses": uses, "seconds": seconds}
    order["valid"] = arguments.duration(valid, "--valid")
    with options.pool(context, None) as client:
        about: dict[str, Any] = client.status()["supervisor"]
        answer: dict[str, Any] = client.invite(order)
    where = tuple(_reachable(about, at or []))[:REACHED_MAX]
    text = Invitation(where, about["public_key"], pair, role).text()
    line = f"workerhost host --join {text} {arguments.CODE}" if role == "host" else f"export WORKERHOST_ADDRESS={text}"
    if as_json:
        told = {"invitation": text, "role": role, "uses": uses, "expires": answer["expires"], "addresses": list(where)}
        documents.show(documents.plain_data(told))
        return
    print(line, flush=True)
    say(f"good for {uses} use{'s' if uses > 1 else ''} within {expires}, at {', '.join(where)}")


def _reachable(about: dict[str, Any], given: list[str]) -> list[str]:
    """Addresses at which another machine may find the supervisor."""
    port = str(about["address"]).rpartition(":")[2]
    if given:
        return [_told(one, port) for one in given]
    found = [f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}" for host in about["reached_at"]]
    if not found:
        message = "no address is known at which others reach the supervisor's machine; name one: --address HOST:PORT"
        raise UsageError(message)
    return found


def _told(text: str, port: str) -> str:
    """HOST, HOST:PORT, [IPv6] or [IPv6]:PORT, also with tcp:// before it, as an address."""
    from ..transport.addresses import is_local
    from ..transport.reachability import checked
    from ..workers.errors import ConfigError

    where = text.removeprefix("tcp://")
    try:
        address = checked(f"tcp://{where}" if where.rpartition("]")[2].count(":") == 1 else f"tcp://{where}:{port}")
    except ConfigError:
        message = f"--address {text[:200]!r} is none; write HOST, HOST:PORT or [IPv6]:PORT"
        raise UsageError(message) from None
    if is_local(address):
        say(f"{address} means the machine itself, on every machine: it is of use here, or through a tunnel (ssh -L)")
    return address


def checked_role(role: str) -> str:
    """The role, if it is one.

    Raises:
        UsageError: It is none.
    """
    from ..transport.keys import ROLES

    if role not in ROLES:
        message = f"--role {role!r} is no role; use {', '.join(ROLES)}"
        raise UsageError(message)
    return role


_A_KEY: Final = {"ignore_unknown_options": True}
"""One key in 84 begins with a dash, and is no option."""


@keys.command()
def new() -> None:
    """Make this machine's supervisor identity, so that a supervisor may listen beyond this machine."""
    from ..actors.core.access.identities import fingerprint
    from ..transport.keys import Home

    home = Home.of(os.environ)
    known = home.supervisor(make=False) is not None
    pair = home.supervisor(make=True)
    assert pair is not None
    say(f"{'there is one already' if known else 'made'}: {fingerprint(pair.public)}, in {home.folder}")
    print(pair.public, flush=True)


@keys.command("list")
def list_(context: typer.Context, as_json: Json = False, address: Address = None) -> None:
    """Who is known, and which invitations are open."""
    from ..actors.core.access.identities import fingerprint
    from .tables import table

    with options.pool(context, address) as client:
        found: dict[str, Any] = client.keys()
    if as_json:
        documents.show(documents.plain_data(found))
        return
    if not found["guarded"]:
        say("this pool listens on its own machine only; who is on it may do everything")
    rows = [
        [fingerprint(one["key"]), one["role"], one["name"], _state(one), ", ".join(one["serve"]) or "all"]
        for one in found["identities"]
    ]
    rows += [
        [fingerprint(one["key"]), one["role"], "", f"invitation, {one['uses']} left", ", ".join(one["serve"]) or "all"]
        for one in found["invitations"]
    ]
    print("\n".join(table(["KEY", "ROLE", "NAME", "STATE", "SERVES"], rows) or ["nobody is known"]), flush=True)


def _state(one: dict[str, Any]) -> str:
    if one["revoked_at"]:
        return "revoked"
    if one["expires"] is not None and one["expires"] <= time.time():
        return f"expired {documents.moment(one['expires'])}"
    return "known" if one["expires"] is None else f"known until {documents.moment(one['expires'])}"


@keys.command()
def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="How many, the latest.")] = 50,
    as_json: Json = False,
    address: Address = None,
) -> None:
    """Who joined, who was refused, and who ordered what, the latest last."""
    from ..actors.core.access.identities import fingerprint
    from .tables import table

    with options.pool(context, address) as client:
        found: list[dict[str, Any]] = client.audit(limit=limit)[::-1]
    if as_json:
        documents.show({"audit": documents.plain_data(found)})
        return
    rows = [
        [
            documents.moment(one["at"])[:19] + "Z",
            fingerprint(one["identity"]) if one["identity"] else "",
            _printable(one["name"]),
            one["event"],
            " ".join(f"{key}={_printable(str(value))}" for key, value in one.items() if key not in _COLUMNS),
        ]
        for one in found
    ]
    print("\n".join(table(["AT", "KEY", "NAME", "EVENT", "MORE"], rows) or ["nobody was here"]), flush=True)


def _printable(text: str) -> str:
    """A peer's text as a terminal may have it."""
    return text if text.isprintable() else repr(text)


@keys.command(context_settings=_A_KEY)
def trust(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A public key of 40 characters.")],
    role: Role = "host",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="For people.")] = "",
    serve: Serve = None,
    valid: Valid = None,
    address: Address = None,
) -> None:
    """Let whoever has this key join, without an invitation."""
    from ..actors.core.access.identities import fingerprint, is_key

    if not is_key(key):
        message = f"{key[:50]!r} is no public key of 40 characters (in quotes: '...')"
        raise UsageError(message)
    with options.pool(context, address) as client:
        types, seconds = arguments.types(serve, "--serve") or [], arguments.duration(valid, "--valid")
        client.trust(key, role=checked_role(role), name=name, serve=types, valid=seconds)
    say(f"{fingerprint(key)} may join as {role}")


@keys.command(context_settings=_A_KEY)
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As in `keys list`, or the whole key.")],
    address: Address = None,
) -> None:
    """Let a key be good for nothing any more, from the next message on."""
    from ..actors.core.access.identities import fingerprint

    with options.pool(context, address) as client:
        revoked: str = client.revoke(key)
    say(f"{fingerprint(revoked)} is revoked")
