"""Whether a media file is whole, by what its own structure announces. Reads a few bytes; needs no library.

FFmpeg opens many cut files without complaint, and fails on others with a reason that helps nobody. MP4 and QuickTime,
Matroska and WebM, WAV and AVI announce their sizes; MP3, AAC, Ogg and transport streams do not: they simply end where
they end.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

MP4_BEGINNINGS: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
MP4_INDEXES: Final = (b"moov", b"moof", b"meta")
"""Films and sounds have one of the first two; a picture in this format (HEIC, AVIF) has the last."""


def has_media_signature(path: str) -> bool:
    """Whether a file begins like one of the usual media formats."""
    with Path(path).open("rb") as file:
        head = file.read(12)
    return head[4:8] in MP4_BEGINNINGS or head.startswith(
        (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"fLaC", b"ID3", b"FLV\x01", b"\x00\x00\x01\xba")
    )


def what_is_missing(path: str, size: int) -> str | None:
    """What a file lacks of what its own structure announces, in words; None: nothing, or its format does not say."""
    with Path(path).open("rb") as file:
        head = file.read(64)
        if head[4:8] in MP4_BEGINNINGS:
            return _missing_of_mp4(file, size)
    if head.startswith(b"RIFF"):
        announced = 8 + int.from_bytes(head[4:8], "little")
        # Recorders that never came back to write the size leave a huge one.
        if 8 < announced < 0x7FFF0000 and announced > size + 1:
            return _truncated(announced, size)
    if head.startswith(b"\x1aE\xdf\xa3"):
        announced = _end_of_matroska(head)
        if announced is not None and announced > size:
            return _truncated(announced, size)
    return None


def _truncated(announced: int, size: int) -> str:
    return f"it is truncated: {size} of {announced} bytes are there"


def _missing_of_mp4(file: io.BufferedReader, size: int) -> str | None:
    """Walk the boxes of the top level: each begins with its size and its type."""
    at, index, content = 0, False, False
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        index, content = index or kind in MP4_INDEXES, content or kind == b"mdat"
        if length == 0:  # up to the end of the file
            break
        if length < 8:
            break  # not a box: what follows is none of the format's business
        if at + length > size and kind in (b"moov", b"moof", b"mdat"):
            return _truncated(at + length, size)
        at += length
    if not index:
        return "it is truncated: its index (moov) is missing" if content else "it is truncated: its content is missing"
    return None


def _end_of_matroska(head: bytes) -> int | None:
    """Where the segment ends, by its own word, or None where it does not say (a live recording)."""

    def number(at: int) -> tuple[int, int]:
        """A size of variable length: the zero bits before the first one say how many bytes follow."""
        length = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
        return value, at + length

    try:
        header, at = number(4)
        at += header
        if head[at : at + 4] != b"\x18\x53\x80\x67":
            return None
        length = 9 - head[at + 4].bit_length()
        value, start = number(at + 4)
    except IndexError:
        return None
    return None if value == (1 << 7 * length) - 1 else start + value
