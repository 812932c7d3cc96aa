"""`logging:` what is logged, in which form, and in which file beside stderr."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .kinds import FilePath, SizeOrNone, Upper
from .section import Section


class LoggingSettings(Section):
    """`logging:` what is logged to stderr and to a file, and in which form."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Upper] = "INFO"
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="Of stderr. `auto`: console for a person at a terminal, JSON otherwise."
    )
    file: FilePath | None = Field(
        default=None, description="JSON lines go there too; all programs of a machine may write to the same file."
    )
    max_bytes: SizeOrNone = Field(
        default=10 * 1024 * 1024, description="The file is put aside when it would become larger; null: never."
    )
    backup_count: int = Field(default=5, ge=0, le=1000, description="How many files that were put aside are kept.")
