"""The task that does nothing: what is left is what the pool costs."""

from workerhost import worker


@worker("bench.nothing")
def nothing(path: str, frame: int, body: bytes = b"") -> dict[str, str | int]:
    """Answer with the parameters, but for the `body`, which only makes them large."""
    return {"path": path, "frame": frame}
