"""`service install`: writes the systemd unit that runs a pool, a supervisor or a host, and says what to type next."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..workers.errors import ConfigError
from .exits import UsageError, say
from .options import Config

if TYPE_CHECKING:
    from ..config.schema import Settings

service = typer.Typer(help="Run it as a service of the system.", no_args_is_help=True, rich_markup_mode=None)

SYSTEM: Final = Path("/etc/systemd/system")
UNIT: Final = """\
[Unit]
Description=WorkerHost {program}
After=network-online.target
Wants=network-online.target

[Service]
{user}WorkingDirectory={folder}
Environment={home}
{environment}ExecStart={command}
{reload}# Mistakes that starting again does not mend: usage, not permitted, configuration.
RestartPreventExitStatus=2 77 78
Restart=on-failure
RestartSec=1
# The first signal goes to the program alone, which lets what runs come to its end.
KillMode=mixed
TimeoutStopSec={seconds}
# A part of the tree of cgroups of its own, so that the kernel keeps `limits: {{memory}}`.
Delegate=yes

[Install]
WantedBy={target}
"""
_RELOAD: Final = "ExecReload=/bin/kill -HUP $MAINPID\n"
"""Of `up` and a supervisor. A host ends at SIGHUP: it reads its file again when its supervisor says so."""
_OF_EVERY_SERVICE: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG")
"""What systemd itself tells a service; nothing else of a shell's environment reaches it."""
_NAMES_A_POOL: Final = ("--join", "--address", "--bind")
_SPARE_SECONDS: Final = 15
"""What is left between the end of a drain and systemd's patience."""


@service.callback()
def services() -> None:
    """Run it as a service of the system."""


@service.command("install", context_settings={"ignore_unknown_options": True})
def install(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="What it runs: up, supervisor or host.")] = "up",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENTS", help="Its own arguments and options, such as --network.")
    ] = None,
    config: Config = None,
    user: Annotated[bool, typer.Option("--user", help="A service of this user instead of the machine's.")] = False,
    name: Annotated[str, typer.Option("--unit", metavar="NAME", help="The unit's name.")] = "workerhost",
    environment: Annotated[
        Path | None,
        typer.Option("--environment", metavar="FILE", help="Lines NAME=VALUE that the service gets as environment."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where to; default: systemd's.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the unit and write nothing.")] = False,
) -> None:
    """Write a systemd unit that starts in this folder, and say how it is enabled. Nothing is overwritten."""
    if program not in ("up", "supervisor", "host"):
        message = f"{program!r} is no program that goes on: up, supervisor or host"
        raise UsageError(message)
    text = unit(program, arguments or [], config, environment, user=user)
    if show:
        print(text, end="")
        return
    file = (folder or (_of_user() if user else SYSTEM)) / f"{name}.service"
    if file.exists():
        message = f"{file} is there already, and nothing was written; remove it, or choose another --unit"
        raise UsageError(message)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(file)
    systemctl = "systemctl --user" if user else "systemctl"
    when = "login" if user else "boot"
    say(f"start it now and at every {when}: {systemctl} daemon-reload && {systemctl} enable --now {name}")
    if user:
        say("have it run without you, from boot on and after your last session: loginctl enable-linger")
    say(f"its log: journalctl {'--user ' if user else ''}-u {name} -f")


def unit(
    program: str, arguments: list[str], config: Path | None, environment: Path | None = None, *, user: bool
) -> str:
    """The text of the unit. Paths are absolute, and what systemd would read as its own (%, $) is doubled.

    Raises:
        ConfigError: The configuration is wrong: a service would end at once. Or it would be another service than what
            the same words start in this shell.
        OSError: The file of the environment cannot be read.
    """
    from ..transport.keys import HOME_VARIABLE, Home

    home = str(Home.of(os.environ).folder.absolute())
    environ = {name: os.environ[name] for name in _OF_EVERY_SERVICE if name in os.environ} | {HOME_VARIABLE: home}
    if environment is not None:
        environ |= _lines_of(environment)
    settings = _as_the_service_sees_it(program, arguments, config, environ)
    words = [sys.executable, "-m", "workerhost", program]
    if settings.source is not None:
        words += ["-c", str(settings.source.absolute())]
    words += arguments
    return UNIT.format(
        program=program,
        user="" if user else f"User={_user_name()}\n",
        folder=str(Path.cwd()).replace("%", "%%"),
        home=_quoted(f"{HOME_VARIABLE}={home}", expanded=False),
        environment=_environment_file(environment),
        command=" ".join(_quoted(word) for word in words),
        reload="" if program == "host" else _RELOAD,
        seconds=round(settings.host.drain_timeout + _SPARE_SECONDS),
        target="default.target" if user else "multi-user.target",
    )


def _as_the_service_sees_it(
    program: str, arguments: list[str], config: Path | None, environ: Mapping[str, str]
) -> Settings:
    """The configuration, read with the environment that the service will have.

    Raises:
        ConfigError: It is wrong, or something of this shell's environment counts that the service would not have.
    """
    from ..config.loading import PREFIX, examine, find, load, variables

    source = config or find(os.environ)
    here = load(source, {**os.environ, **environ})
    lost = {name for name in os.environ if name.startswith(PREFIX)}
    if source is not None and isinstance(examine(source, environ), list):
        lost |= variables(source) & os.environ.keys()
    if os.environ.get("WORKERHOST_ADDRESS") and _heeds_the_address(program, arguments, here):
        lost.add("WORKERHOST_ADDRESS")
    if lost := lost - environ.keys():
        names = ", ".join(sorted(lost))
        cure = "write that into the configuration, or into a file NAME=VALUE that --environment names"
        raise ConfigError(f"the service would not have what this shell's environment says in {names}; {cure}")
    return load(source, environ)


def _heeds_the_address(program: str, arguments: list[str], settings: Settings) -> bool:
    """Whether the environment says which pool it is, because neither words nor the configuration do."""
    said = any(word.partition("=")[0] in _NAMES_A_POOL for word in arguments)
    written = "bind" in settings.pool.model_fields_set or (program == "host" and settings.host.join is not None)
    return not said and not written


def _lines_of(environment: Path) -> dict[str, str]:
    """What a file of an environment sets, as far as that matters here: systemd reads it itself."""
    lines = [line.strip() for line in environment.read_text("utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if "=" in line and line[0] not in "#;"]
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _environment_file(environment: Path | None) -> str:
    return "" if environment is None else f"EnvironmentFile={environment.absolute()}\n".replace("%", "%%")


def _quoted(word: str, *, expanded: bool = True) -> str:
    """A word as systemd's own quoting wants it; in a command it also replaces $NAME, in an environment it does not."""
    doubled = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if expanded:
        doubled = doubled.replace("$", "$$")
    return f'"{doubled}"' if set(doubled) & set(" \t;'\"\\") else doubled


def _of_user() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
