"""The documents are true: what the code can tell is current, and every block of every page does what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_runner import Reader, blocks, free_ports, matches

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
RUN = [page for page in PAGES if not page.startswith("reference/") and page not in ("protocol.md", "performance.md")]
"""Pages of the reference that are written from the code show nothing to run; protocol.md has a test of its own, and
performance.md shows measurements of hours."""
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(tmp_path, free_ports())
    yield found
    found.close()


def test_what_the_code_can_tell_is_current() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate" / "generate.py", "--check"], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", RUN)
def test_a_page_does_what_it_says(page: str, reader: Reader) -> None:
    reader.follow((DOCS / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target, _ in LINK.findall(text):
        if target and "://" not in target and not target.startswith("mailto:"):
            assert ((DOCS / page).parent / target).exists(), target


def test_a_block_that_is_not_run_says_why() -> None:
    for page in RUN:
        for block in blocks((DOCS / page).read_text(encoding="utf-8")):
            assert not block.not_run or len(block.not_run) > len("not run: because"), (page, block.line)


def test_troubleshooting_has_a_heading_for_all_that_why_can_say() -> None:
    source = "".join(path.read_text() for path in (ROOT / "actors" / "core").rglob("*.py"))
    said = re.findall(r'_reason\(\s*"(\w+)"|Block\([\w.]+, "(\w+)"|"code": "(\w+)", "text"', source)
    codes = {code for found in said for code in found if code} | {
        "paused",
        "asleep",
    }  # those two are told by a variable
    assert len(codes) > 15
    headings = set(re.findall(r"^### (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE))
    assert codes <= headings


class TestTheReaderItself:
    def test_an_output_is_compared_but_for_what_three_dots_stand_for(self) -> None:
        assert matches("task 12 completed\n", "task ... completed\n")
        assert matches("a\nb\nc\nd\n", "a\n...\nd\n")
        assert not matches("task 12 failed\n", "task ... completed\n")
        assert not matches("a\nb\n", "a\n")

    def test_a_block_that_does_not_do_what_it_says_is_found(self, reader: Reader) -> None:
        with pytest.raises(AssertionError, match="expected"):
            reader.follow("```console\n$ echo hello\ngoodbye\n```\n")
        with pytest.raises(AssertionError, match="ended with 1"):
            reader.follow("```sh\nfalse\n```\n")
        with pytest.raises(AssertionError, match="Error"):
            reader.follow("```python\nraise ValueError\n```\n")
        with pytest.raises(AssertionError):
            reader.follow("```yaml\nqueue: {max_sise: 3}\n```\n")

    def test_files_are_written_and_commands_run_in_one_shell(self, reader: Reader) -> None:
        reader.follow(
            "```python\n# a.py\nprint('from a file')\n```\n\n```console\n$ cd . && python a.py\nfrom a file\n```\n"
        )
