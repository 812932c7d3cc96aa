"""docs/protocol.md says what transport/messages.py and the codec do: every message, field, code and byte."""

from __future__ import annotations

import ast
import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from workerhost.actors.core.access.allowances import SESSIONS_AT_ONCE, SESSIONS_PER_SECOND
from workerhost.actors.core.clients.clients import ASKED_MAX, REPLAY_ROWS
from workerhost.actors.core.flows.flows import FLOWS_EACH_MAX, FLOWS_MAX
from workerhost.actors.core.sessions import SESSION_BYTES
from workerhost.transport import codec
from workerhost.transport.messages import (
    DEFAULT_ADDRESS,
    FRAME_BYTES_MAX,
    MESSAGES,
    PARAMS_BYTES_MAX,
    PROTOCOL_VERSION,
    RESULT_BYTES_MAX,
    STATES,
    Message,
    Outcome,
    Returned,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
TEXT = " ".join(DOCUMENT.split())
MESSAGE = re.compile(r"^### (\d+) (\w+)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\| (\w+) \| (\w+) \|(?: `(.*?)`)? \| \S.* \|$", re.MULTILINE)
LINE = re.compile(
    r"^    (\w+) from the (client|host|supervisor)\n    (\[.*\])\n((?:    = [0-9a-f]+\n?)+)", re.MULTILINE
)
TYPES = {"text": str, "map": dict, "list": list, "int": int, "float": float, "bytes": bytes, "bool": bool}


def value(text: str) -> Any:
    """What the document's notation means: JSON, and h'..' for bytes."""
    text = re.sub(r"h'([0-9a-f]*)'", lambda match: repr(bytes.fromhex(match[1])), text)
    for word, meaning in (("null", "None"), ("true", "True"), ("false", "False")):
        text = re.sub(rf"\b{word}\b", meaning, text)
    return ast.literal_eval(text)


def transcript() -> list[tuple[str, str, Any, bytes]]:
    """Every message of both transcripts: (name, who says it, the array, the frame)."""
    return [
        (name, who, value(array), bytes.fromhex(re.sub(r"[= \n]", "", frame)))
        for name, who, array, frame in LINE.findall(DOCUMENT)
    ]


def layout(message: type[Message]) -> list[tuple[str, type, Any]]:
    """(name, type, default) of each field, `...` for one without; as the codec reads the message's class."""
    fields = codec._LAYOUTS[message.KIND]  # pyright: ignore[reportPrivateUsage]  # what decides about foreign bytes
    return [(field.name, field.type, ... if field.required else field.missing()) for field in fields]


def test_every_message_is_described_in_the_order_of_its_number() -> None:
    described = [(int(number), name) for number, name, _ in MESSAGE.findall(DOCUMENT)]
    assert described == [(kind, message.__name__.upper()) for kind, message in MESSAGES.items()]


@pytest.mark.parametrize(("number", "text"), [(int(number), text) for number, _, text in MESSAGE.findall(DOCUMENT)])
def test_the_fields_of_a_message_are_described_in_order_with_type_and_default(number: int, text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    described = [
        (name, TYPES[kind], value(default) if default else ...)
        for name, kind, default in FIELD.findall("\n".join(rows))
    ]
    assert len(described) == len(rows)
    known = layout(MESSAGES[number])
    assert described == known
    assert [type(default) for *_, default in described] == [type(default) for *_, default in known]  # 0.0 is no false


def test_the_transcripts_are_what_the_codec_reads_and_writes() -> None:
    said = transcript()
    assert len(said) == DOCUMENT.count(" from the client\n") + DOCUMENT.count(" from the host\n") + DOCUMENT.count(
        " from the supervisor\n"
    )
    for name, _, (kind, number, *fields), frame in said:
        message = MESSAGES[kind](*fields)
        assert name == MESSAGES[kind].__name__.upper()
        assert codec.decode(frame) == (number, message)
        assert codec.encode(message, number) == frame


def test_the_transcripts_count_their_messages_without_a_gap_and_show_both_sides() -> None:
    counts: dict[str, int] = {}
    sessions = 0
    for name, who, (_, number, *_), _ in transcript():
        if name == "HELLO":
            sessions += 1
            counts = {who: 0, "supervisor": 0}
            assert number == 0
        elif name == "WELCOME":
            assert number == 0
        else:
            counts[who] += 1
            assert number == counts[who], name
    assert sessions == 2
    assert {"SUBMIT", "ACCEPTED", "WATCH", "EVENTS", "CLAIM", "TASKS", "RESULTS", "RECORDED"} <= {
        name for name, *_ in transcript()
    }


def code_table(title: str) -> dict[int, str]:
    """A table of codes: number -> the text of its second column."""
    _, _, rest = DOCUMENT.partition(f"\n| code | {title} |")
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return {int(code): text for code, text in (re.findall(r"[^|]+", row)[:2] for row in rows)}


@pytest.mark.parametrize(("title", "codes"), [("outcome", Outcome), ("reason", Returned)])
def test_codes_are_those_of_the_enums(title: str, codes: type[IntEnum]) -> None:
    described = {code: re.split(r":", text)[0].strip() for code, text in code_table(title).items()}
    assert described == {int(code): code.name.lower() for code in codes}


def test_states_are_those_of_the_wire() -> None:
    assert {code: text.strip() for code, text in code_table("state").items()} == {
        code: state.value for code, state in enumerate(STATES)
    }


def test_limits_and_defaults_are_named() -> None:
    assert f"Protocol version {PROTOCOL_VERSION}." in DOCUMENT
    assert f"default `{DEFAULT_ADDRESS}`" in DOCUMENT
    for limit in (FRAME_BYTES_MAX, PARAMS_BYTES_MAX, RESULT_BYTES_MAX):
        assert f"({limit} bytes)" in DOCUMENT
    assert f"A list has at most {codec.ARRAY_LENGTH_MAX} items, a map at most {codec.MAP_LENGTH_MAX}" in DOCUMENT
    assert codec.COUNTED_BYTES == 256 * 1024
    assert f"at most {codec.CONTAINERS_MAX} lists and maps" in TEXT


def test_how_many_flows_there_may_be_is_said() -> None:
    assert f"A pool has at most {FLOWS_MAX} flows that have not ended" in TEXT
    assert f"half ({FLOWS_EACH_MAX}) of the flows that have not ended" in TEXT
    assert FLOWS_EACH_MAX == FLOWS_MAX // 2


def test_how_many_ends_may_be_asked_for_is_said() -> None:
    assert f"at most {REPLAY_ROWS} ends at a time; above {ASKED_MAX} ends" in TEXT


def test_how_sessions_are_named_and_how_many_begin_is_said() -> None:
    assert f"**Session.** HELLO carries `session`: {SESSION_BYTES} random bytes" in TEXT
    assert f"| session | bytes | | {SESSION_BYTES} random bytes, neither more nor fewer" in TEXT
    assert f"may begin {SESSIONS_AT_ONCE} sessions at once and {SESSIONS_PER_SECOND:.0f} a second" in TEXT
