"""Where a database lies and may lie: behind links, not on network file systems, on which locks and fsync cannot be
trusted, and with how much of its disk kept free.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

NETWORK: Final = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.cephfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip
MOUNTS: Final = Path("/proc/self/mountinfo")

RESERVE_BYTES_MAX: Final = 64 * 1024 * 1024
_RESERVE_SHARE: Final = 8


def real(path: str | os.PathLike[str]) -> Path:
    """The file itself, where a path may lead to it through links, absolute.

    SQLite follows links. What is looked for, made or put beside a database must be beside the same file.
    """
    return Path(os.path.realpath(path))  # `resolve` raises for links that lead in a circle


def network_file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the network file system that `folder` lies on, or None if it lies on none (or nobody can tell).

    Args:
        folder: Where the database is to be.
        mounts: The kernel's table of mounts; only Linux has one.
    """
    try:
        device = folder.stat().st_dev
        table = mounts.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted] and after.split(maxsplit=1)[:1]:
            kind = after.split(maxsplit=1)[0]
            if kind in NETWORK:
                return kind
    return None


def reserve_bytes(folder: Path) -> int:
    """How much of a folder's disk is to stay free, in bytes: below that no new tasks are taken.

    It is for what must still be written then: completions, and what the write-ahead log has yet to bring into the file.
    """
    return min(RESERVE_BYTES_MAX, shutil.disk_usage(folder).total // _RESERVE_SHARE)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
