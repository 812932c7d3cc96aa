"""A part of a flow on its way: what one SUBMIT carries, and nothing else with it."""

from __future__ import annotations

from typing import Any

from .block import Block
from .parcel import Parcel
from .terms import Terms


class Part(Parcel):
    """Tasks of a flow, in groups; it travels alone and is never split.

    Attributes:
        groups: As SUBMIT has them.
        flow: The same.
    """

    __slots__ = ("flow", "groups")

    def __init__(self, groups: list[Any], flow: dict[str, Any], size: int, block: Block) -> None:
        super().__init__(Terms("flow"), [], size, block)
        self.groups, self.flow = groups, flow

    @property
    def alone(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # it always is
        """It shares its SUBMIT with nothing."""
        return True

    @alone.setter
    def alone(self, alone: bool) -> None:
        """Nothing changes that."""
