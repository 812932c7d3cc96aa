"""What `doctor` looks at without a pool: this machine, what is installed, the configuration, keys, disk and port.

Every check is a function of the `Setup`, gives findings, and changes nothing: the one file it writes it removes.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from ..config.schema import Settings
from ..config.sizes import size_text
from ..workers.errors import ConfigError
from .finding import FINE, ODD, WRONG, Finding

FSYNC_SECONDS_MAX: Final = 0.02
"""A commit waits for one. A disk that takes longer holds tasks up that are sent one by one."""
_FSYNCS: Final = 10
_FSYNC_BYTES: Final = 4096
_FILES_MIN: Final = 1024
_ROOM_FACTOR: Final = 4
"""Free room of so many times the reserve is soon too little."""
_DISTRIBUTION: Final = "workerhost"
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[.*?\])?\s*([<>=!~0-9.,\s]*)\s*\Z")


@dataclass(frozen=True)
class Setup:
    """What this machine says of itself.

    Attributes:
        source: The configuration file that is used, or None.
        settings: What it says; None if it is wrong.
        problems: What is wrong with it.
        address: Where the pool is looked for.
        answered: Whether a supervisor answered there.
        environ: The environment.
    """

    source: Path | None
    settings: Settings | None
    problems: list[str]
    address: str
    answered: bool
    environ: Mapping[str, str]


def installed(_setup: Setup) -> Iterator[Finding]:
    """Python and the packages that this one needs, each as new as it has to be."""
    python = platform.python_version()
    try:
        version = metadata.version(_DISTRIBUTION)
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding("installed", WRONG, "is not installed as a package", "workerhost", "pip install workerhost")
        return
    wrong = False
    for line in required:
        text, _, marker = line.partition(";")
        match = _REQUIREMENT.match(text.strip())
        if "extra" in marker or match is None:
            continue
        name, least = match[1], re.search(r">=\s*([0-9.]+)", match[2])
        cure = f"{sys.executable} -m pip install '{text.strip()}'"
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong = True
            yield Finding("installed", WRONG, "is not installed", name, cure)
            continue
        if least is not None and _numbers(found) < _numbers(least[1]):
            wrong = True
            yield Finding("installed", WRONG, f"is version {found}; {least[1]} or newer is needed", name, cure)
    if not wrong:
        sqlite = sqlite3.sqlite_version
        yield Finding("installed", FINE, f"workerhost {version}, Python {python}, SQLite {sqlite}, all packages fit")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def configuration(setup: Setup) -> Iterator[Finding]:
    """Whether the file that is used is right."""
    for problem in setup.problems:
        yield Finding("configuration", WRONG, problem, cure="workerhost config check")
    if setup.settings is None:
        return
    if setup.source is None:
        yield Finding("configuration", FINE, "there is no file, all settings are defaults")
        return
    from ..config.advice import advice

    found = advice(setup.settings)
    for line in found:
        yield Finding("configuration", ODD, line, cure="workerhost config check")
    if not found:
        yield Finding("configuration", FINE, "is right", str(setup.source))


def imports(setup: Setup) -> Iterator[Finding]:
    """Whether the classes and commands that the configuration names can be run here."""
    if setup.settings is None or not setup.settings.sources():
        return
    from .importing import failures

    broken = failures(setup.settings)
    for line in broken:
        yield Finding("imports", WRONG, line, cure="workerhost config check, after installing what it misses")
    if not broken:
        yield Finding("imports", FINE, "all classes and commands of the configuration can be run here")


def keys(setup: Setup) -> Iterator[Finding]:
    """Whether this machine's secrets are its own."""
    from ..transport.keys import Home

    home = Home.of(setup.environ)
    try:
        pair = home.supervisor(make=False)
        home.pool_at(setup.address)
    except ConfigError as error:
        text, _, cure = str(error).rpartition("; ")
        yield Finding("keys", WRONG, text or cure, cure=cure if text else "")
        return
    if home.folder.is_dir():
        what = "holds this machine's identities, readable by nobody else" if pair else "is in order"
        yield Finding("keys", FINE, what, str(home.folder))


def database(setup: Setup) -> Iterator[Finding]:
    """Whether the queue's file lies where it is safe, with room, on a disk that is quick enough."""
    from ..actors.stores.file_system import network_file_system, real, reserve_bytes

    path = setup.settings.database() if setup.settings is not None else None
    if path is None:
        return
    folder, where = real(path).parent, str(path)
    if not folder.is_dir():
        yield Finding("database", WRONG, "its folder is not there", where, f"mkdir -p {folder}")
        return
    if (kind := network_file_system(folder)) is not None:
        text = f"lies on a network file system ({kind}), where locks and fsync cannot be trusted"
        yield Finding("database", WRONG, text, where, "queue: {database: /a/local/disk/tasks.db}")
        return
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        yield Finding("database", WRONG, "it and its folder must be writable", where, f"chmod u+w {folder} {path}")
        return
    free, reserve = shutil.disk_usage(folder).free, reserve_bytes(folder)
    if free < reserve:
        text = f"its disk has {size_text(free)} left; below {size_text(reserve)} no new task is taken"
        yield Finding("database", WRONG, text, where, f"du -xh {folder} | sort -h | tail, and free some room")
    elif free < _ROOM_FACTOR * reserve:
        text = f"its disk has {size_text(free)} left; below {size_text(reserve)} no new task is taken"
        yield Finding("database", ODD, text, where, "queue: {keep: {completed: 1d}}, or a larger disk")
    seconds = fsync_seconds(folder)
    if seconds is None:
        yield Finding("database", WRONG, "nothing can be written to its folder", where, f"chmod u+w {folder}")
    elif seconds > FSYNC_SECONDS_MAX:
        text = f"its disk takes {seconds * 1000:.0f} ms to make a commit safe, so {1 / seconds:.0f} commits a second"
        yield Finding("database", ODD, text, where, "send many tasks at a time (send_many), or put it on a faster disk")
    elif free >= _ROOM_FACTOR * reserve:
        text = f"has {size_text(free)} of room, and a commit is on the disk in {seconds * 1000:.1f} ms"
        yield Finding("database", FINE, text, where)


def fsync_seconds(folder: Path) -> float | None:
    """How long the disk of a folder takes to make a page safe; None if nothing can be written there."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".workerhost-doctor-") as file:
            took: list[float] = []
            for _ in range(_FSYNCS):
                began = time.perf_counter()
                file.write(b"\0" * _FSYNC_BYTES)
                file.flush()
                os.fsync(file.fileno())
                took.append(time.perf_counter() - began)
            return statistics.median(took)
    except OSError:
        return None


def port(setup: Setup) -> Iterator[Finding]:
    """Where no supervisor answers: whether its port is free, or who has it."""
    from ..transport.addresses import is_local, place

    if setup.answered or not is_local(setup.address) or (found := place(setup.address)) is None:
        return
    number = int(found.port)
    holder = _holder_of(number)
    if holder is not None:
        cure = f"end that process, or choose another port: workerhost up --address tcp://127.0.0.1:{number + 1}"
        yield Finding("port", WRONG, f"is taken by {holder}, which is no supervisor that answers", setup.address, cure)


def _holder_of(port: int) -> str | None:
    """Who listens on a port of this machine, as far as this user may know."""
    import psutil

    try:
        found = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr[1:] == (port,)]
    except (psutil.AccessDenied, OSError):
        return None
    if not found:
        return None
    pid = found[0].pid
    if pid is None:
        return "a process of another user"
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"


def limits(_setup: Setup) -> Iterator[Finding]:
    """What this machine cannot do of what a host may be asked for."""
    if sys.platform != "linux":
        text = f"on {platform.system()} limits of memory and processes are kept by watching alone"
        yield Finding("limits", ODD, text)
    else:
        from ..actors import slot_cgroup

        if slot_cgroup.find(slot_cgroup.PROC, os.getuid()) is None:
            text = "the kernel keeps no limits for slots here (no control group is handed over): watching keeps them"
            cure = "where limits must be hard: systemd-run --user --scope -p Delegate=yes workerhost host ..."
            yield Finding("limits", FINE, text, cure=cure)
        else:
            yield Finding("limits", FINE, "the kernel itself keeps limits of memory and processes")
    try:
        import resource
    except ImportError:
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES_MIN:
        yield Finding(
            "limits", ODD, f"a process may open {soft} files; a hundred hosts need more", cure="ulimit -n 4096"
        )


CHECKS: Final[dict[str, Callable[[Setup], Iterator[Finding]]]] = {
    "installed": installed,
    "configuration": configuration,
    "imports": imports,
    "keys": keys,
    "database": database,
    "port": port,
    "limits": limits,
}
