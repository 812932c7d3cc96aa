"""The task that does nothing: what is left is what the pool costs."""

from workerhost import worker


@worker("bench.nothing")
def nothing(path: str, frame: int) -> dict[str, str | int]:
    """Answer with the parameters."""
    return {"path": path, "frame": frame}
