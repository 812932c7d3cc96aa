"""The page of exit codes, from the constants that commands return."""

from __future__ import annotations

from writing import head, table

from workerhost.bin import exits

_MEANINGS = {
    "OK": "done",
    "FAILED": "a task failed or was cancelled, or a check found something",
    "USAGE": "the command line cannot be understood; the message says which part and what would be right",
    "UNREACHABLE": "no supervisor answers at the address; the message says whether nobody listens or nobody answers",
    "INTERNAL": "an error of WorkerHost itself: `up` or systemd starts the process again, nothing is lost",
    "INPUT_OUTPUT": "a file or the disk cannot be read or written; the message says how to go on",
    "BUSY": "the queue or the disk is full, or the task still runs when the wait ended: try again later",
    "NOT_PERMITTED": "the identity may not do that, or is not known",
    "CONFIGURATION": "the configuration or the set-up is wrong; the message names file, line and cure",
    "INTERRUPTED": "Ctrl-C, for the commands that do not end in order on it",
}


def exit_codes() -> str:
    """The whole page.

    Raises:
        ValueError: A code has no meaning here, or a meaning no code.
    """
    codes = {name: value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    codes.pop("LINE_MAX")
    if codes.keys() != _MEANINGS.keys():
        message = f"exit codes and their meanings differ: {sorted(codes.keys() ^ _MEANINGS.keys())}"
        raise ValueError(message)
    rows = [(f"`{code}`", _MEANINGS[name]) for name, code in sorted(codes.items(), key=lambda item: item[1])]
    text = "What `workerhost` ends with. A message on stderr says in one line what it was.\n"
    return head("Exit codes", text) + "\n" + table(("code", "meaning"), rows)
