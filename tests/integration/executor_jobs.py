"""Functions that the tests of `PoolExecutor` have called on hosts."""

import os
import threading
from math import factorial as imported  # noqa: F401  # pyright: ignore[reportUnusedImport]  # not defined here
from typing import Any

let_go = threading.Event()


class Refused(Exception):
    pass


def power(base: int, exponent: int = 2) -> int:
    return int(base**exponent)


def capture(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


def hold(value: Any = None) -> Any:
    let_go.wait(20)
    return value


def divide(a: float, b: float) -> float:
    return a / b


def refuse(why: str) -> None:
    raise Refused(why)


called: list[int] = []


def count(number: int) -> int:
    called.append(number)
    return number


def process() -> int:
    return os.getpid()


def _hidden() -> None:  # pyright: ignore[reportUnusedFunction]
    pass


class Shape:
    @staticmethod
    def area(width: float, height: float) -> float:
        return width * height
