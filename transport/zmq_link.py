"""Links over ZeroMQ: one ROUTER at the supervisor, a DEALER at every peer, on `tcp://` or `ipc://`.

Owns the sockets, their options and the news of broken connections. Decodes nothing and keeps no session. Each link has
a ZeroMQ context of its own, so closing it ends its I/O thread and can wait for what is still to leave.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any, Final

import zmq
import zmq.utils.z85

from ..workers.errors import ConfigError
from .addresses import is_local
from .contract import Closed, Credentials, Denied, Guard, Opened, Received
from .keys import KeyPair
from .mailbox import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, Mailbox
from .messages import FRAME_BYTES_MAX

_NOBLOCK: Final = int(zmq.NOBLOCK)  # as plain integers: an enum costs a conversion at every call
_NOBLOCK_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)

_contexts: set[zmq.Context[zmq.Socket[bytes]]] = set()
"""Those in use. The garbage collector, meeting one whose actor died without closing its link, would wait for ever."""

_OPTIONS: Final = {
    zmq.LINGER: 0,  # the default, for ever, would hang a process whose peer is away
    zmq.SNDHWM: 1000,  # messages that may wait for one peer; above, `send` says no
    zmq.RCVHWM: 1000,
    zmq.MAXMSGSIZE: FRAME_BYTES_MAX,
    zmq.HANDSHAKE_IVL: 5_000,  # ms; a connection that says nothing lives no longer
    zmq.TCP_KEEPALIVE: 1,  # for firewalls that forget silent connections
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 15_000,  # ms; the kernel alone would try for many minutes
}
_ROUTER_OPTIONS: Final = {
    zmq.ROUTER_MANDATORY: 1,  # without it a ROUTER drops silently
    zmq.BACKLOG: 512,
}
_DEALER_OPTIONS: Final = {
    zmq.RECONNECT_IVL: 100,  # ms
    zmq.RECONNECT_IVL_MAX: 500,  # a supervisor that is started again must be found within its first second
    zmq.CONNECT_TIMEOUT: 5_000,
}


_ZAP_ADDRESS: Final = "inproc://zeromq.zap.01"
_ZAP_DOMAIN: Final = b"workerhost"
_ZAP_DENIED: Final = 400
_ZAP_FRAMES: Final = 7  # version, request, domain, address, routing id, mechanism, key (ZeroMQ RFC 27)


_ZAP_ANSWERS: Final = {True: (b"200", b"OK"), False: (b"400", b"not known here"), None: (b"300", b"not now")}

_WATCHED: Final = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


def listen(address: str, mailbox: Mailbox, guard: Guard | None = None, *, insecure: bool = False) -> ZmqServerLink:
    """Binds a ROUTER, see `link.listen`.

    Raises:
        ConfigError: The address is malformed, in use, not usable here, or reaches beyond this machine.
    """
    anywhere = guard is not None or insecure
    target = _tcp_target(address, anywhere=anywhere) if address.startswith("tcp://") else _ipc_target(address)
    context = _new_context()
    try:
        return ZmqServerLink(context, target, mailbox, guard)
    except zmq.ZMQError as error:
        context.destroy(linger=0)
        _contexts.discard(context)
        raise ConfigError(_why(address, error)) from error


def connect(address: str, mailbox: Mailbox, credentials: Credentials | None = None) -> ZmqPeerLink:
    """Connects a DEALER; the connection is made in the background.

    Raises:
        ConfigError: The address is malformed.
    """
    if address.startswith("tcp://"):
        _tcp_parts(address)  # ZeroMQ would find some mistakes only in the background, and say nothing
    context = _new_context()
    try:
        return ZmqPeerLink(context, address, mailbox, credentials)
    except zmq.ZMQError as error:
        context.destroy(linger=0)
        _contexts.discard(context)
        raise ConfigError(_why(address, error)) from error


class ZmqServerLink:
    """A `ServerLink` on a ROUTER.

    A peer's death is known at once when its kernel closes the connection: the first message of a peer tells the file
    descriptor of its connection, and the socket's monitor names the descriptors that were disconnected.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], target: str, mailbox: Mailbox, guard: Guard | None
    ) -> None:
        self._context, self._mailbox, self._guard = context, mailbox, guard
        self._socket = context.socket(zmq.ROUTER)
        _set(self._socket, _OPTIONS, _ROUTER_OPTIONS)
        self._door: zmq.Socket[bytes] | None = None
        # With a domain, though nobody is asked, libzmq turns away who speaks ZMTP 1 or 2. It takes any garbage for one
        # of these and pushes its "routing id" on; it was seen to abort a process whose socket was just being closed.
        self._socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
        if guard is not None:
            self._door = _open_door(context)
            _show(self._socket, guard.pair)
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer nobody comes in
        if target.startswith("tcp://["):
            self._socket.setsockopt(zmq.IPV6, 1)
        self._monitor = _open_monitor(context, self._socket)
        self._peer_by_descriptor: dict[int, bytes] = {}
        self._descriptor_by_peer: dict[bytes, int] = {}
        self._identities: dict[bytes, str] = {}
        self._open = True
        self._socket.bind(target)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if target.startswith("ipc://") and not target.startswith("ipc://@"):
            Path(target.removeprefix("ipc://")).chmod(0o600)
        mailbox.attach(self._monitor, self._drain_monitor)
        mailbox.attach(self._socket, self._drain)
        if self._door is not None:
            mailbox.attach(self._door, self._answer_door)

    def send(self, peer: bytes, body: bytes) -> bool:
        """See `ServerLink.send`."""
        if not self._open:
            return False
        try:
            self._socket.send(peer, _NOBLOCK_MORE)
            self._socket.send(body, _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (errno.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def close(self, flush: float = 0.0) -> None:
        """See `ServerLink.close`."""
        if not self._open:
            return
        self._open = False
        if self._door is not None:
            self._mailbox.detach(self._door)
            self._door.close(linger=0)
        _close(self._mailbox, self._context, self._socket, self._monitor, flush)

    def _answer_door(self) -> list[Any]:
        """Says to each handshake whether it is welcome (ZAP, ZeroMQ RFC 27)."""
        assert self._door is not None
        assert self._guard is not None
        with contextlib.suppress(zmq.Again):
            while True:
                asked = self._door.recv_multipart(_NOBLOCK)
                public = zmq.utils.z85.encode(asked[6]).decode() if _is_curve(asked) else ""
                welcome = self._guard.admits(public, _text(asked[3])) if public else False
                code, text = _ZAP_ANSWERS[welcome]
                request = asked[1] if len(asked) > 1 else b""
                self._door.send_multipart([b"1.0", request, code, text, public.encode() if welcome else b"", b""])
        return []

    def _drain(self) -> list[Any]:
        items: list[Any] = []
        receive = self._socket.recv
        room = BATCH_BYTES_MAX
        try:
            while room > 0 and len(items) < BATCH_ITEMS_MAX:
                peer = receive(_NOBLOCK)
                frame = receive(_NOBLOCK, False)  # as an object: it knows its connection and whether more follows
                if peer not in self._descriptor_by_peer:
                    self._learn(peer, frame, items)
                if self._guard is not None and _identity_of(frame) != self._identities.get(peer):
                    _sole_body(self._socket, frame)  # somebody else's connection took the routing id over
                    continue
                body = _sole_body(self._socket, frame)
                room -= len(body)
                items.append(Received(self, peer, body))
        except zmq.Again:
            pass
        if self._guard is not None:
            self._hang_up(self._guard, items)
        return items

    def _hang_up(self, guard: Guard, items: list[Any]) -> None:
        """Closes the connections of those that have spoken and are not heard: to read them costs others time."""
        spoke = {item.peer for item in items if isinstance(item, Received)}
        ignored = [peer for peer in spoke if guard.ignores(self._identities.get(peer, ""))]
        if not ignored:
            return
        items.extend(self._drain_monitor())  # a descriptor whose end is known may be somebody else's by now
        for peer in ignored:
            if (descriptor := self._descriptor_by_peer.get(peer)) is not None:
                _shut(descriptor)

    def _learn(self, peer: bytes, frame: zmq.Frame, items: list[Any]) -> None:
        """Notes the connection of a peer's first message.

        Descriptors are used again. An old owner's end is told before the descriptor is free, so the ends that are known
        by now are taken first; whoever still holds this descriptor then is gone without our having heard it.
        """
        items.extend(self._drain_monitor())
        if self._guard is not None and self._guard.ignores(_identity_of(frame)):
            return  # what is left of a connection that was closed, or it will be known by what it says later
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:  # it spoke and was gone before we listened: nothing is left that could be disconnected
            return
        before = self._peer_by_descriptor.get(descriptor)
        if before is not None:
            items.append(self._forget(descriptor, before))
        self._peer_by_descriptor[descriptor] = peer
        self._descriptor_by_peer[peer] = descriptor
        if self._guard is not None:
            identity = self._identities[peer] = _identity_of(frame)
            items.append(Opened(self, peer, identity, _fact(frame, "Peer-Address")))

    def _forget(self, descriptor: int, peer: bytes) -> Closed:
        del self._peer_by_descriptor[descriptor]
        del self._descriptor_by_peer[peer]
        self._identities.pop(peer, None)
        return Closed(self, peer)

    def _drain_monitor(self) -> list[Any]:
        """Takes every end that is known by now: `_learn` needs them all, and only peers that spoke make items."""
        items: list[Any] = []
        with contextlib.suppress(zmq.Again):
            while True:
                event, _endpoint = self._monitor.recv_multipart(_NOBLOCK)
                descriptor: int = struct.unpack("=hi", event)[1]
                peer = self._peer_by_descriptor.get(descriptor)
                if peer is not None:
                    items.append(self._forget(descriptor, peer))
        return items


class ZmqPeerLink:
    """A `PeerLink` on a DEALER."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        mailbox: Mailbox,
        credentials: Credentials | None,
    ) -> None:
        self._context, self._mailbox = context, mailbox
        self._socket = context.socket(zmq.DEALER)
        _set(self._socket, _OPTIONS, _DEALER_OPTIONS)
        if credentials is not None:
            _show(self._socket, credentials.pair)
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, credentials.server.encode())
        if address.startswith("tcp://["):
            self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.setsockopt(zmq.ROUTING_ID, b"\x01" + os.urandom(16))  # a leading 0 is ZeroMQ's own
        self._shows_identity = credentials is not None
        self._monitor = _open_monitor(context, self._socket, _WATCHED)
        self._open = True
        self._socket.connect(address)
        mailbox.attach(self._monitor, self._drain_monitor)
        mailbox.attach(self._socket, self._drain)

    def send(self, body: bytes) -> bool:
        """See `PeerLink.send`."""
        if not self._open:
            return False
        try:
            self._socket.send(body, _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, flush: float = 0.0) -> None:
        """See `PeerLink.close`."""
        if not self._open:
            return
        self._open = False
        _close(self._mailbox, self._context, self._socket, self._monitor, flush)

    def _drain(self) -> list[Any]:
        items: list[Any] = []
        receive = self._socket.recv
        room = BATCH_BYTES_MAX
        try:
            while room > 0 and len(items) < BATCH_ITEMS_MAX:
                body = _sole_body(self._socket, receive(_NOBLOCK, False))
                room -= len(body)
                items.append(Received(self, b"", body))
        except zmq.Again:
            pass
        return items

    def _drain_monitor(self) -> list[Any]:
        items: list[Any] = []
        denied: Denied | None = None
        with contextlib.suppress(zmq.Again):
            while True:
                event, _endpoint = self._monitor.recv_multipart(_NOBLOCK)
                kind, value = struct.unpack("=hi", event)
                if kind == zmq.EVENT_DISCONNECTED:
                    items = [Closed(self, b"")]  # however often: it is one suspicion
                elif self._is_denied(kind, value):
                    denied = Denied(self, self._shows_identity)
        return items if denied is None else [denied, *items]

    def _is_denied(self, kind: int, value: int) -> bool:
        """Whether a handshake failed for a reason that leaves no doubt: the server said so, or speaks CURVE alone."""
        if self._shows_identity:
            return kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == _ZAP_DENIED
        return kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


def _close(
    mailbox: Mailbox, context: zmq.Context[Any], socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes], flush: float
) -> None:
    """The end of a link of either side: nobody waits for its sockets any more, then they and their context go."""
    mailbox.detach(monitor)
    mailbox.detach(socket)
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=int(flush * 1000))
    context.term()
    _contexts.discard(context)


def _open_monitor(
    context: zmq.Context[zmq.Socket[bytes]], watched: zmq.Socket[bytes], events: int = zmq.EVENT_DISCONNECTED
) -> zmq.Socket[bytes]:
    """A socket that tells every disconnection of another, or what else happens to it.

    Its queue has no limit: at a limit ZeroMQ's I/O thread would wait for this actor, and all peers with it.
    """
    name = "inproc://disconnected"
    watched.monitor(name, events)
    monitor = context.socket(zmq.PAIR)
    monitor.setsockopt(zmq.LINGER, 0)
    monitor.setsockopt(zmq.RCVHWM, 0)
    monitor.connect(name)
    return monitor


def _open_door(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """The socket at which ZeroMQ asks about each handshake in this context."""
    door = context.socket(zmq.REP)
    door.setsockopt(zmq.LINGER, 0)
    door.bind(_ZAP_ADDRESS)
    return door


def _is_curve(asked: list[bytes]) -> bool:
    return len(asked) == _ZAP_FRAMES and asked[0] == b"1.0" and asked[2] == _ZAP_DOMAIN and asked[5] == b"CURVE"


def _show(target: zmq.Socket[bytes], pair: KeyPair) -> None:
    target.setsockopt(zmq.CURVE_PUBLICKEY, pair.public.encode())
    target.setsockopt(zmq.CURVE_SECRETKEY, pair.secret.encode())


def _identity_of(frame: zmq.Frame) -> str:
    """Who sent a frame, as the handshake of its connection proved; "" if that cannot be told any more."""
    return _fact(frame, "User-Id")


def _fact(frame: zmq.Frame, name: str) -> str:
    """What ZeroMQ knows of a frame's connection under a name; "" if nothing, or nothing any more."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def _text(word: bytes) -> str:
    return word.decode("ascii", "replace")


def _sole_body(source: zmq.Socket[bytes], frame: zmq.Frame) -> bytes:
    """The bytes of a message's only frame. A message of several is taken off to its end and counts as empty."""
    if not frame.more:
        return frame.bytes
    while frame.more:
        frame = source.recv(_NOBLOCK, False)
    return b""


def _shut(descriptor: int) -> None:
    """Ends a connection as its other side would; ZeroMQ, which owns it, notices and lets it go."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _set(target: zmq.Socket[bytes], *tables: dict[Any, int]) -> None:
    for table in tables:
        for option, value in table.items():
            target.setsockopt(option, value)


def _new_context() -> zmq.Context[zmq.Socket[bytes]]:
    context = zmq.Context()
    _contexts.add(context)
    return context


def _tcp_parts(address: str) -> tuple[str, str]:
    """Host and port of a `tcp://` address."""
    match = re.fullmatch(r"tcp://(\[[^\]]+\]|[^:\[\]]+):(\d{1,5})", address)
    if match is None or int(match[2]) > 65_535:
        raise ConfigError(f"{address!r} is no address; write tcp://HOST:PORT, such as tcp://127.0.0.1:7470")
    return match[1], match[2]


def _tcp_target(address: str, *, anywhere: bool) -> str:
    """What to bind for a `tcp://` address, if it stays on this machine or need not."""
    host, port = _tcp_parts(address)
    if host == "localhost":
        host = "127.0.0.1"
    if not anywhere and not is_local(address):
        raise ConfigError(
            f"{address}: other machines can reach it, so the pool needs identities: start it with `workerhost up"
            " --network`, then `workerhost invite` prints the line with which another machine joins"
        )
    return f"tcp://{host}:{port}"


def _ipc_target(address: str) -> str:
    """What to bind for an `ipc://` address, unless somebody listens there: ZeroMQ would take it away from them."""
    path = address.removeprefix("ipc://")
    name = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(name)
        except (OSError, ValueError):  # nobody there; whatever else is wrong, binding will say
            return address
    raise ConfigError(f"{address} is in use by another process; stop it or choose another path")


def _why(address: str, error: zmq.ZMQError) -> str:
    """One line: the address, the reason, the cure."""
    reason = str(error).lower()
    if error.errno == zmq.EADDRINUSE:
        return f"{address} is in use by another process; stop it or choose another port"
    if error.errno == errno.EACCES:
        return f"{address} may not be used by this user ({reason}); choose a port above 1023 or a folder of yours"
    if error.errno == errno.ENAMETOOLONG:
        return f"{address} is too long for a socket's path; choose a shorter one"
    return f"{address} cannot be used ({reason}); write tcp://HOST:PORT or ipc://PATH in a folder that exists"
