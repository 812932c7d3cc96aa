"""The page of what `doctor` looks at, from its checks."""

from __future__ import annotations

from writing import head, table

from workerhost.bin import doctor_machine, doctor_pool

_INTRODUCTION = """\
`workerhost doctor` looks at this machine, the configuration and the pool, and names the cure of each finding. It ends
with 1 if something is wrong; `--json` is for scripts.
[Troubleshooting](../troubleshooting.md) begins from what you see.
"""


def doctor() -> str:
    """The whole page."""
    parts = [head("What doctor checks", _INTRODUCTION)]
    for title, checks in (("This machine", doctor_machine.CHECKS), ("The pool", doctor_pool.CHECKS)):
        rows = [(f"`{name}`", (check.__doc__ or "").split("\n\n")[0]) for name, check in checks.items()]
        parts.append(f"## {title}\n")
        parts.append(table(("check", "what it looks at"), rows))
    return "\n".join(parts)
