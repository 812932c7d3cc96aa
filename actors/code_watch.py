"""Watches the files of code, in a thread of its own: a file system that is slow must not slow a host.

Knows neither tasks nor slots; it says that something has changed, and what that means is for others to decide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from ..workers.kept_code import state_of

LOOK_SECONDS: Final = 0.5
FILES_MAX: Final = 2000
"""Files watched at the most; a program has fewer of its own."""


class CodeWatch:
    """The files that are watched. All methods may be called in any thread."""

    def __init__(self, changed: Callable[[list[str]], object]) -> None:
        """Begin to watch; `changed` is called in the thread, with the files that have."""
        self._changed = changed
        self._files: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="code watch", daemon=True).start()

    def add(self, files: Iterable[str]) -> None:
        """Watch these too; what they are now is what they were."""
        seen = {file: state_of(file) for file in files}
        with self._lock:
            for file, state in seen.items():
                if len(self._files) < FILES_MAX:
                    self._files.setdefault(file, state)

    def end(self) -> None:
        """Watch nothing any more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                files = dict(self._files)
            found = {file: state_of(file) for file in files}
            changed = [file for file, state in found.items() if state != files[file]]
            if changed:
                with self._lock:
                    self._files.update(found)
                self._changed(changed)
