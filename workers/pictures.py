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

SIDES_MAX: Final = {"jpeg": 65_500, "webp": 16_383}
"""Pixels that a side of a picture may have, where its format sets a bound."""

PIXELS_MAX: Final = 64_000_000
"""Pixels that a picture may have in all: it stands in memory several times while it is made, with 3 bytes for each."""

QUALITIES: Final = (85, 75, 65, 55, 45, 35, 25)
"""JPEG qualities, tried in this order until a picture is small enough."""

SHRINK: Final = 0.9
"""What does not fit at the lowest quality gets at least so much smaller with each try."""


def deliver(image: Image, out: str | None, *, kind: str, bytes_max: int | None = None) -> dict[str, Any]:
    """A picture as the part of a result: its bytes, or where they were stored.

    Args:
        image: The picture.
        out: Where to store it; its ending decides the format (.jpg, .png, .webp). None: into the result.
        kind: The format without `out`: "jpeg" or "png".
        bytes_max: A JPEG that goes into the result is compressed until it fits, and made smaller where that is not
            enough: a result is no place for large things.

    Returns:
        `image` (bytes) or `out` (path), and `format`, `bytes`, `width`, `height`.
    """
    if out is None:
        if kind == "jpeg" and bytes_max is not None:
            image, content = _fitting(image, bytes_max)
        else:
            content = _encoded(image, kind)
        return {"image": content, "format": kind, "bytes": len(content), "width": image.width, "height": image.height}
    format = format_of(out, kind)
    content = _encoded(image, format)
    _store(Path(out), content)
    return {"out": out, "format": format, "bytes": len(content), "width": image.width, "height": image.height}


def format_of(out: str | None, kind: str) -> str:
    """The format that a picture will have; see `deliver`.

    Raises:
        Fail: `out` does not say.
    """
    format = kind if out is None else FORMATS.get(Path(out).suffix.lower())
    if format is None:
        raise Fail(f"{plain(out)}: out must end in {', '.join(FORMATS)}", kind="permanent")
    return format


def bound_broken(width: int, height: int, format: str) -> str | None:
    """Which bound a picture of this size breaks, in words, or None: it can be made."""
    side_max = SIDES_MAX.get(format)
    if side_max is not None and max(width, height) > side_max:
        return f"a {format} has at most {side_max} on a side"
    return f"more than {PIXELS_MAX} are not made" if width * height > PIXELS_MAX else None


def _encoded(image: Image, format: str) -> bytes:
    if format == "png":
        return _written(image, format="PNG", optimize=True)
    if format == "webp":
        return _written(image, format="WEBP", quality=QUALITIES[0])
    return _jpeg(image, QUALITIES[0])


def _fitting(image: Image, bytes_max: int) -> tuple[Image, bytes]:
    """The picture as a JPEG of at most so many bytes, and as it looks in there."""
    content = b""
    for quality in QUALITIES:
        content = _jpeg(image, quality)
        if len(content) <= bytes_max:
            return image, content
    whole = image
    while len(content) > bytes_max and max(image.size) > 1:
        scale = min(SHRINK, (bytes_max / len(content)) ** 0.5)
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = whole.resize(size)  # pyright: ignore[reportUnknownMemberType] Pillow's gap
        content = _jpeg(image, QUALITIES[-1])
    return image, content


def _jpeg(image: Image, quality: int) -> bytes:
    return _written(image.convert("RGB"), format="JPEG", quality=quality, optimize=True, progressive=True)


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
