"""Why a submission is not taken."""

from __future__ import annotations


class Unfit(Exception):
    """A submission is refused; nothing of it is stored. `code` as in REJECTED."""

    def __init__(self, code: str, reason: str, path: str = "", retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.code, self.reason, self.path, self.retry_after = code, reason, path, retry_after
