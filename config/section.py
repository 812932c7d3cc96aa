"""What every mapping of a configuration has in common, and how it says what is wrong in it."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

TEXT: Final = "[text]"
MAPPING: Final = "[mapping]"
"""What a value may be that may be either; stands in the path of an error, which `loading` leaves out."""


class Section(BaseModel):
    """One mapping of the file. An unknown key is an error; a value is never bent into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def problem(key: str, text: str) -> PydanticCustomError:
    """An error about a key below the section that finds it; `loading` joins the two."""
    return PydanticCustomError("problem", "{text}", {"key": key, "text": text})
