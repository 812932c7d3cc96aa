"""A client and a host written from docs/protocol.md alone: ZeroMQ, msgpack, and nothing of this package.

`raw_peers.py client ADDRESS` goes through what a client may do and prints what it saw as JSON.
`raw_peers.py host ADDRESS` joins, prints `joined`, runs tasks of the type `raw.add`, and leaves when told to drain.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import msgpack as _msgpack  # pyright: ignore[reportMissingTypeStubs]  # it has none
import zmq

HELLO, WELCOME, REFUSED, HEARTBEAT, ALIVE, BYE = 1, 2, 3, 4, 5, 6
CLAIM, TASKS, RESULTS, RECORDED, PROGRESS, DRAIN, STOP = 10, 11, 12, 13, 14, 17, 18
SUBMIT, ACCEPTED, REJECTED, WATCH, EVENTS, CANCEL, QUERY, ADMIN, REPLY = 20, 21, 22, 23, 24, 25, 26, 27, 28
SECONDS = 15.0

msgpack: Any = _msgpack
packed, unpacked = msgpack.packb, msgpack.unpackb


class Peer:
    """One connection: sections 1 to 3 of the document."""

    def __init__(self, address: str, role: str, session: bytes, name: str, offer: dict[str, Any]) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.connect(address)
        self.sent = self.seen = 0
        self.kept: list[list[Any]] = []
        self.beat_at, self.heartbeat = float("inf"), 0.0
        self.socket.send(packed([HELLO, 0, role, [1, 1], session, name, offer]))
        self.welcome = self.hear(WELCOME)
        self.heartbeat = self.welcome[3]
        self.beat_at = time.monotonic() + self.heartbeat

    def say(self, kind: int, *fields: Any) -> int:
        """Send a message of the session; its number."""
        self.sent += 1
        self.socket.send(packed([kind, self.sent, *fields]))
        return self.sent

    def hear(self, *kinds: int) -> list[Any]:
        """The fields of the next message of one of these kinds; others are kept, and heartbeats go out meanwhile."""
        end = time.monotonic() + SECONDS
        while True:
            for kept in self.kept:
                if kept[0] in kinds:
                    self.kept.remove(kept)
                    return kept if len(kinds) > 1 else kept[1:]
            if time.monotonic() >= self.beat_at:
                self.beat_at += self.heartbeat
                self.say(HEARTBEAT, self.seen)
            if not self.socket.poll(int(max(0.0, min(end, self.beat_at) - time.monotonic()) * 1000) + 1):
                if time.monotonic() >= end:
                    sys.exit(f"none of {kinds} came within {SECONDS} s")
                continue
            kind, number, *fields = unpacked(self.socket.recv())
            if kind not in (WELCOME, REFUSED):
                self.seen += 1
                if number != self.seen:
                    sys.exit(f"message {self.seen} was lost, {number} came")
            if kind == REFUSED and kind not in kinds:
                sys.exit(f"refused: {fields}")
            self.kept.append([kind, *fields])

    def close(self) -> None:
        """Leave."""
        self.say(BYE, "done")
        self.socket.close()


def client(address: str) -> None:
    """Sends tasks to both hosts of the pool; loses its connection; asks; cancels."""
    session, seen = os.urandom(16), {}
    groups = [
        ["text.length", 5, None, [packed({"text": "hello"}), packed({"text": "é"})]],
        ["raw.add", 7, {"tags": ["sums"]}, [packed([1, 2, 3])]],
        ["text.boom", 5, {"max_attempts": 1}, [packed({})]],
    ]
    peer = Peer(address, "client", session, "", {"name": "raw"})
    peer.say(WATCH, 0, 100)
    peer.say(SUBMIT, 1, 1, groups)
    submission, first, count, *_ = peer.hear(ACCEPTED)
    peer.say(SUBMIT, 1, 1, groups)
    seen["again"] = peer.hear(ACCEPTED)[:3] == [submission, first, count]
    seen["count"] = count
    seen["ends"] = ends(peer, count, first)

    peer.say(SUBMIT, 2, 2, [["no type", 5, None, [b""]]])
    seen["rejected"] = peer.hear(REJECTED)[:2]
    peer.sent += 1  # a message is lost
    peer.say(WATCH, 0, 100)
    seen["gap"] = peer.hear(REFUSED)[0]
    peer.socket.close()

    peer = Peer(address, "client", session, "", {})
    peer.say(SUBMIT, 1, 1, groups)
    seen["after reconnect"] = peer.hear(ACCEPTED)[:3] == [submission, first, count]
    peer.say(WATCH, 0, 100)
    seen["replayed"] = ends(peer, count, first) == seen["ends"]

    peer.say(SUBMIT, 3, 2, [["nobody.serves.this", 5, {"delay": 3600}, [packed(None)]]])
    later = peer.hear(ACCEPTED)[1]
    peer.say(CANCEL, 1, [later, first])
    reply = peer.hear(REPLY)
    seen["cancelled"] = [reply[0], reply[1], reply[2]["cancelled"] == [later]]
    peer.say(QUERY, 2, "show", {"id": first})
    shown = peer.hear(REPLY)[2]["task"]
    seen["shown"] = [shown["state"], unpacked(shown["params"]), unpacked(shown["result"])]
    peer.say(QUERY, 3, "show", {"id": 10**9})
    reply = peer.hear(REPLY)
    seen["unknown"] = [reply[1], reply[2]["code"]]

    stranger = Peer(address, "client", os.urandom(16), "", {})
    stranger.say(WATCH, 0, 100, [first, later, 10**9])
    told: dict[int, Any] = {}
    while len(told) < 3:
        finished, _, states, *_ = stranger.hear(EVENTS)  # what follows is of a later version
        told.update({id: [finish, state] for id, finish, state, _, _ in finished})
        told.update(dict(states))
    seen["stranger"] = [told[first], told[later], told[10**9]]
    stranger.close()
    peer.say(ADMIN, 4, "drain", {"host": "raw", "undo": False})
    seen["drained"] = peer.hear(REPLY)[1]
    peer.close()
    print(json.dumps(seen))


def ends(peer: Peer, count: int, first: int) -> list[Any]:
    """How tasks ended, by their place in the submission: (state, value or why)."""
    found: dict[int, Any] = {}
    last = 0
    while len(found) < count:
        finished, *_ = peer.hear(EVENTS)
        for id, finish, state, body, detail in finished:
            if finish <= last:
                sys.exit("ends come in the order of finish")
            last = finish
            found[id - first] = [state, unpacked(body) if state == 4 else detail["error_type"]]
    return [found[place] for place in range(count)]


def host(address: str) -> None:
    """One slot that adds numbers."""
    offer = {"slots": {"": 1}, "types": ["raw.add"], "named": True, "greeting": 1, "running": [], "finished": []}
    peer = Peer(address, "host", os.urandom(16), "raw", offer)
    peer.say(CLAIM, {"": 1})
    print("joined", flush=True)
    while True:
        kind, *fields = peer.hear(TASKS, DRAIN)
        if kind == DRAIN:
            peer.say(CLAIM, {"": 0})
            break
        for _, tasks in fields[0]:
            for id, fence, _, _, _, params, _ in tasks:
                peer.say(PROGRESS, [[id, fence, 0.5, "adding"]])
                number = peer.say(RESULTS, [[id, fence, 0, packed(sum(unpacked(params))), 0.001, 0, None]])
                if peer.hear(RECORDED)[0] != number:
                    sys.exit("another message was recorded")
    peer.close()
    print("left", flush=True)


if __name__ == "__main__":
    {"client": client, "host": host}[sys.argv[1]](sys.argv[2])
    if any(name.partition(".")[0] == "workerhost" for name in sys.modules):
        sys.exit("this program must not need the package")
