"""Writes the pages and pictures of the documents that the code itself can tell: `bin/docs` calls it.

`--check` writes nothing and names what is not current, which is what a test asks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from command_line import command_line
from configuration import configuration
from diagrams import DIAGRAMS
from doctor import doctor
from events import events
from exit_codes import exit_codes
from python_face import python_face

DOCS = Path(__file__).resolve().parents[1]

GENERATED: dict[str, Callable[[], str]] = {
    "reference/command-line.md": command_line,
    "reference/configuration.md": configuration,
    "reference/doctor.md": doctor,
    "reference/events.md": events,
    "reference/exit-codes.md": exit_codes,
    "reference/python.md": python_face,
    **{f"diagrams/{name}.svg": draw for name, draw in DIAGRAMS.items()},
}


def main() -> int:
    """Write what is not current, or with `--check` name it.

    Returns:
        0, or 1 if something was not current and nothing was written.
    """
    parser = argparse.ArgumentParser(description="Writes the pages and pictures that the code itself can tell.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is not current")
    check: bool = parser.parse_args().check
    stale = 0
    for name, make in GENERATED.items():
        file, text = DOCS / name, make()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"docs/{name} is not current" if check else f"wrote docs/{name}")
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if check and stale:
        print("run bin/docs and commit what it writes", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
