"""Pictures on their way out of a media worker: into the result, or into a file.

Owns formats, sizes and safe writing; never what is on the picture. Pillow is the caller's business to have loaded.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import Fail, plain

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
"""The ending of `out` decides the format."""

QUALITIES: Final = (85, 75, 65, 55, 45, 35, 25)
"""JPEG qualities, tried in this order until a picture is small enough."""


def deliver(image: Image, out: str | None, *, kind: str, bytes_max: int | None = None) -> dict[str, Any]:
    """A picture as the part of a result: its bytes, or where they were stored.

    Args:
        image: The picture.
        out: Where to store it; its ending decides the format (.jpg, .png, .webp). None: into the result.
        kind: The format without `out`: "jpeg" or "png".
        bytes_max: A JPEG that goes into the result is compressed until it fits: a result is no place for large things.

    Returns:
        `image` (bytes) or `out` (path), and `format`, `bytes`, `width`, `height`.
    """
    if out is None:
        content = _encoded(image, kind, bytes_max)
        return {"image": content, "format": kind, "bytes": len(content), "width": image.width, "height": image.height}
    format = FORMATS.get(Path(out).suffix.lower())
    if format is None:
        raise Fail(f"{plain(out)}: out must end in {', '.join(FORMATS)}", kind="permanent")
    content = _encoded(image, format, None)
    _store(Path(out), content)
    return {"out": out, "format": format, "bytes": len(content), "width": image.width, "height": image.height}


def _encoded(image: Image, format: str, bytes_max: int | None) -> bytes:
    if format == "png":
        return _written(image, format="PNG", optimize=True)
    if format == "webp":
        return _written(image, format="WEBP", quality=QUALITIES[0])
    content = b""
    for quality in QUALITIES:
        content = _written(image.convert("RGB"), format="JPEG", quality=quality, optimize=True, progressive=True)
        if bytes_max is None or len(content) <= bytes_max:
            break
    return content


def _written(image: Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **how)
    return buffer.getvalue()


def _store(out: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all: a task may run twice, or be killed in the middle."""
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name[:40]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(out)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(out, error) from error


def cannot_write(out: Path, error: OSError) -> Fail:
    """The failure that an error while writing a file means: final only where the next try will meet the same."""
    missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    reason = "its folder does not exist on this host" if missing else error.strerror or str(error)
    permanent = missing or isinstance(error, (PermissionError, IsADirectoryError))
    return Fail(f"{plain(str(out))}: cannot be written: {reason}", kind="permanent" if permanent else "system")
