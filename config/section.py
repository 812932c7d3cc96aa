"""What every mapping of a configuration has in common, and how it says what is wrong in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """One mapping of the file. An unknown key is an error; a value is never bent into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def problem(key: str, text: str) -> PydanticCustomError:
    """An error about a key below the section that finds it; `loading` joins the two."""
    return PydanticCustomError("problem", "{text}", {"key": key, "text": text})
