"""The bytes of every message, and what becomes of bytes that are none."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerhost.transport import codec
from workerhost.transport.codec import Malformed, decode, encode
from workerhost.transport.messages import (
    FRAME_BYTES_MAX,
    MESSAGES,
    Accepted,
    Admin,
    Alive,
    Bye,
    Cancel,
    Checkpoint,
    Claim,
    Drain,
    Events,
    GiveBack,
    Heartbeat,
    Hello,
    Listen,
    Message,
    Output,
    Progress,
    Query,
    Recorded,
    Refused,
    Rejected,
    Reload,
    Reply,
    Reread,
    Results,
    Stop,
    Submit,
    Tail,
    Tasks,
    Tree,
    Watch,
    Welcome,
)

# One message of each kind with every field set, its number, and its bytes. A peer in another language or of another
# version depends on them: a change here is a change of the protocol.
GOLDEN: dict[type[Message], tuple[int, Message, str]] = {
    Hello: (
        0,
        Hello("host", [1, 1], bytes(range(16)), "box-1", {"slots": {"": 2}, "running": [[7, 3]]}),
        (
            "970100a4686f7374920101c410000102030405060708090a0b0c0d0e0fa5626f782d3182a5736c6f747381a002a77275"
            "6e6e696e6791920703"
        ),
    ),
    Welcome: (
        0,
        Welcome(1, "pool", 3, 1.0, 5.0, {"slots": {"ml": 1}}),
        "98020001a4706f6f6c03cb3ff0000000000000cb401400000000000081a5736c6f747381a26d6c01",
    ),
    Refused: (
        0,
        Refused("name_taken", "box-1 is here already"),
        "940300aa6e616d655f74616b656eb5626f782d31206973206865726520616c7265616479",
    ),
    Heartbeat: (300, Heartbeat(299, {"video": ["idle", ""]}), "9404cd012ccd012b81a5766964656f92a469646c65a0"),
    Alive: (9, Alive(300), "930509cd012c"),
    Bye: (4, Bye("drained"), "930604a7647261696e6564"),
    Claim: (1, Claim({"": 4, "ml": 1}), "950a0182a004a26d6c01c280"),
    Tasks: (
        2,
        Tasks([["video.thumbnail", [[7, 12884901889, 1, 5, 1700000000.5, b"\x80", None]]]]),
        "930b029192af766964656f2e7468756d626e61696c919707cf00000003000000010105cb41d954fc40200000c40180c0",
    ),
    Results: (
        5,
        Results([[7, 12884901889, 0, b"\x2a", 0.25, 1, None]]),
        "930c05919707cf000000030000000100c4012acb3fd000000000000001c0",
    ),
    Recorded: (3, Recorded(5, [[8, 2]]), "940d030591920802"),
    Progress: (
        6,
        Progress([[7, 12884901889, 0.5, "half"]]),
        "930e06919407cf0000000300000001cb3fe0000000000000a468616c66",
    ),
    GiveBack: (
        7,
        GiveBack([[7, 12884901889, 3, 2.0, "later", True]]),
        "930f07919607cf000000030000000103cb4000000000000000a56c61746572c3",
    ),
    Tree: (
        1,
        Tree({"video": {"timeout": 300.0, "cut_off": "stop"}}),
        "93100181a5766964656f82a774696d656f7574cb4072c00000000000a76375745f6f6666a473746f70",
    ),
    Drain: (8, Drain(True), "931108c3"),
    Stop: (9, Stop([[7, 12884901889]]), "931209919207cf0000000300000001"),
    Output: (4, Output([[7, 3, 0, ["one", "two"]]]), "931304919407030092a36f6e65a374776f"),
    Submit: (
        1,
        Submit(1, 0, [["text.length", 5, {"delay": 1.5}, [b"\x81\xa1a\x01"]]]),
        "96140101009194ab746578742e6c656e6774680581a564656c6179cb3ff800000000000091c40481a1610180",
    ),
    Accepted: (1, Accepted(1, 100000, 2, [[1, 7, 0]]), "96150101ce000186a0029193010700"),
    Rejected: (
        2,
        Rejected(2, "queue_full", "1000000 tasks wait", "params", 0.5),
        "97160202aa71756575655f66756c6cb231303030303030207461736b732077616974a6706172616d73cb3fe0000000000000",
    ),
    Watch: (2, Watch(17, 10000, [1, 2]), "95170211cd2710920102"),
    Events: (
        3,
        Events([[7, 18, 4, b"\x2a", None]], [[8, 0.5, "", 1700000000.5]], [[9, 2]], [[9, 1, 3, ["hi"], 1.5]]),
        "9618039195071204c4012ac0919408cb3fe0000000000000a0cb41d954fc4020000091920902919509010391a26869cb3ff8000000000000",
    ),
    Cancel: (3, Cancel(1, [7, 8]), "94190301920708"),
    Query: (4, Query(2, "show", {"id": 7}), "951a0402a473686f7781a2696407"),
    Admin: (
        5,
        Admin(3, "drain", {"host": "box-1", "undo": False}),
        "951b0503a5647261696e82a4686f7374a5626f782d31a4756e646fc2",
    ),
    Checkpoint: (2, Checkpoint([[7, 12884901889, b"\x2a"]]), "931e02919307cf0000000300000001c4012a"),
    Tail: (5, Tail([7, 8]), "931f05920708"),
    Listen: (6, Listen([[7, 3, True]]), "93200691930703c3"),
    Reload: (9, Reload(12, ["video"]), "9421090c91a5766964656f"),
    Reread: (0, Reread(), "922300"),
    Reply: (
        4,
        Reply(3, False, {"code": "unknown", "reason": "no host box-1"}),
        "951c0403c282a4636f6465a7756e6b6e6f776ea6726561736f6ead6e6f20686f737420626f782d31",
    ),
}


def pack(value: Any) -> bytes:
    return cast("bytes", msgpack.packb(value))  # pyright: ignore[reportUnknownMemberType]


def test_every_message_has_golden_bytes() -> None:
    assert {message.KIND for message in GOLDEN} == set(MESSAGES)


@pytest.mark.parametrize("kind", GOLDEN, ids=lambda kind: kind.__name__)
def test_a_message_has_exactly_these_bytes(kind: type[Message]) -> None:
    number, message, golden = GOLDEN[kind]

    assert encode(message, number).hex() == golden
    assert decode(bytes.fromhex(golden)) == (number, message)


@pytest.mark.parametrize("kind", GOLDEN, ids=lambda kind: kind.__name__)
def test_a_frame_is_the_msgpack_list_of_kind_number_and_fields(kind: type[Message]) -> None:
    number, message, golden = GOLDEN[kind]

    assert pack([message.KIND, number, *[getattr(message, field.name) for field in fields(message)]]).hex() == golden


def test_missing_fields_at_the_end_take_their_defaults() -> None:
    assert decode(pack([Hello.KIND, 0, "client", [1, 1], b"s"])) == (0, Hello("client", [1, 1], b"s"))
    assert decode(pack([Events.KIND, 4, []])) == (4, Events([]))
    assert decode(pack([Bye.KIND, 4])) == (4, Bye())


def test_a_default_is_made_anew_for_each_message() -> None:
    frame = pack([Heartbeat.KIND, 1, 0])
    first, second = decode(frame)[1], decode(frame)[1]
    assert isinstance(first, Heartbeat)
    assert isinstance(second, Heartbeat)

    first.levels["video"] = ["idle", ""]

    assert second.levels == {}


def test_unknown_fields_at_the_end_are_ignored() -> None:
    assert decode(pack([Alive.KIND, 9, 300, "from a later version", {"a": [1]}])) == (9, Alive(300))


def test_an_integer_is_welcome_where_a_float_is() -> None:
    number, message = decode(pack([Welcome.KIND, 0, 1, "pool", 3, 1, 5]))

    assert (number, message) == (0, Welcome(1, "pool", 3, 1.0, 5.0))
    assert isinstance(message, Welcome)
    assert type(message.heartbeat) is float


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([Hello.KIND, 0], "Hello.role is missing"),
        ([Hello.KIND, 0, "client", [1, 1]], "Hello.session is missing"),
        ([Hello.KIND, 0, b"client", [1, 1], b"s"], "Hello.role must be str, not bytes"),
        ([Hello.KIND, 0, "client", [1, "1"], b"s"], "Hello.versions must be a list of int"),
        ([Hello.KIND, 0, "client", [1, 1], "text"], "Hello.session must be bytes, not str"),
        ([Hello.KIND, 0, "client", [1, 1], b"s", None], "Hello.name must be str, not NoneType"),
        ([Hello.KIND, 0, "client", [1, 1], b"s", "", []], "Hello.offer must be dict, not list"),
        ([Hello.KIND, 0, "client", [1, 1], b"s", "", {b"name": 1}], "Hello.offer must be a dict with text keys"),
        ([Heartbeat.KIND, 1, True], "Heartbeat.seen must be int, not bool"),
        ([Heartbeat.KIND, 1, 1.0], "Heartbeat.seen must be int, not float"),
        ([Heartbeat.KIND, 1, 2**64 - 1], "Heartbeat.seen must be an integer of 64 bits"),
        ([Heartbeat.KIND, 1, -(2**63)], "Heartbeat.seen must be an integer of 64 bits"),
        ([Heartbeat.KIND, 1, 1, {"video": "idle"}], "Heartbeat.levels must be a dict of list"),
        ([Claim.KIND, 1, {"": True}], "Claim.capacity must be a dict of int"),
        ([Claim.KIND, 1, {"": 2**63}], "Claim.capacity must be integers of 64 bits"),
        ([Tree.KIND, 1, {"video": None}], "Tree.nodes must be a dict of dict"),
        ([Cancel.KIND, 1, 1, [1, None]], "Cancel.ids must be a list of int"),
        ([Cancel.KIND, 1, 1, [1, 2**63]], "Cancel.ids must be integers of 64 bits"),
        ([Drain.KIND, 1, 1], "Drain.undo must be bool, not int"),
        ([Welcome.KIND, 0, 1, "pool", 3, float("nan"), 5.0], "Welcome.heartbeat must be a finite number"),
        ([Welcome.KIND, 0, 1, "pool", 3, 1.0, float("inf")], "Welcome.lost_after must be a finite number"),
        ([99, 1], "unknown kind of message: 99"),
        ([True, 1], "the kind is no integer"),
        ([["nested"], 1], "the kind is no integer"),
        ([Bye.KIND, -1], "the number of a message is an integer from 0"),
        ([Bye.KIND, 2**63], "the number of a message is an integer from 0"),
        ([Bye.KIND, True], "the number of a message is an integer from 0"),
        ([Bye.KIND, "1"], "the number of a message is an integer from 0"),
        ([Bye.KIND], "a message is a list [kind, number, ...]"),
        ([], "a message is a list [kind, number, ...]"),
        ({}, "a message is a list [kind, number, ...]"),
        (None, "a message is a list [kind, number, ...]"),
        (7, "a message is a list [kind, number, ...]"),
    ],
)
def test_a_wrong_field_is_named(parts: Any, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(pack(parts))

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a msgpack value"),
        (b"\xc1", "not a msgpack value"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a msgpack value"),
        (pack([Alive.KIND, 1, 1]) + b"\x00", "not a msgpack value"),
        (pack([Bye.KIND, 1, "x" * 40])[:-1], "not a msgpack value"),
        (b"\x93\x06\x01\xa1\xff", "UnicodeDecodeError"),
        (b"\x93\x06\x01\x81\x01\x02", "not a msgpack value"),  # an integer as a key
        (b"\x91" * 5000, "StackError"),
        (b"\x93\x06\x01" + pack(msgpack.Timestamp(1)), "not a msgpack value"),
        (b"\x93\x06\x01" + pack(msgpack.ExtType(5, b"x")), "not a msgpack value"),
        (b"\x93\x06\x01\xc7\x00\x05", "extension types"),  # an extension of no bytes
        (b"\xdd\xff\xff\xff\xff", "not a msgpack value"),
        (b"\xdf\xff\xff\xff\xff", "not a msgpack value"),
        (b"\xc6\xff\xff\xff\xff", "not a msgpack value"),
        (b"\xdb\xff\xff\xff\xff", "not a msgpack value"),
    ],
)
def test_bytes_that_are_no_message_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(body)


def test_a_frame_above_the_limit_is_refused_unread_and_never_made() -> None:
    with pytest.raises(Malformed, match=f"a frame of {FRAME_BYTES_MAX + 1} bytes"):
        decode(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="Submit takes"):
        encode(Submit(1, 0, [["video", 5, None, [bytes(FRAME_BYTES_MAX)]]]), 1)


def test_lists_and_dicts_above_their_limits_are_refused() -> None:
    ids = list(range(codec.ARRAY_LENGTH_MAX))
    assert decode(encode(Cancel(1, ids), 1)) == (1, Cancel(1, ids))

    with pytest.raises(Malformed):
        decode(encode(Cancel(1, [*ids, 1]), 1))
    with pytest.raises(Malformed):
        decode(encode(Claim({str(i): 1 for i in range(codec.MAP_LENGTH_MAX + 1)}), 1))


@pytest.mark.parametrize("empty", [b"\x80", b"\x90", b"\x81\xa0\xc0"])
def test_a_small_frame_cannot_become_a_large_memory(empty: bytes) -> None:
    chunk = b"\xdc\xff\xff" + empty * 65535
    chunks = FRAME_BYTES_MAX // len(chunk) - 1
    body = b"\x93" + bytes([Results.KIND, 1]) + b"\xdc" + chunks.to_bytes(2, "big") + chunk * chunks

    with pytest.raises(Malformed, match="more than 200000 lists and dicts"):
        decode(body)


def test_false_lengths_in_many_levels_cost_little() -> None:
    body = (b"\xdd" + codec.ARRAY_LENGTH_MAX.to_bytes(4, "big")) * 1000 + bytes(codec.ARRAY_LENGTH_MAX)

    started = time.monotonic()
    with pytest.raises(Malformed):
        decode(body)

    assert time.monotonic() - started < 5


def test_a_large_batch_of_results_passes() -> None:
    message = Results([[i, i, 0, bytes(200), 0.001, 1, None] for i in range(10_000)])
    body = encode(message, 7)

    assert len(body) > codec.COUNTED_BYTES
    assert decode(body) == (7, message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(body: bytes) -> None:
    check(body)


FRAMES = [bytes.fromhex(golden) for _, _, golden in GOLDEN.values()]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(FRAMES), st.integers(0, 200), st.integers(0, 255), st.booleans())
def test_a_damaged_frame_is_a_message_or_malformed(frame: bytes, place: int, byte: int, cut: bool) -> None:
    place %= len(frame)

    check(frame[:place] if cut else frame[:place] + bytes([byte]) + frame[place + 1 :])


def check(body: bytes) -> None:
    """Decodes to a message that can be said again, or to a short reason that is safe in a log."""
    reason = ""
    try:
        number, message = decode(body)
        again, _ = decode(encode(message, number))
        assert again == number
    except Malformed as error:
        reason = str(error)
    assert len(reason) < 200
    assert not reason or reason.isprintable()
