"""The line that one machine gives to another so that it may join: what it holds, as text and back.

An invitation is a key pair of its own: the pool knows the public half and admits it, whoever has the text has the
secret. What it is good for (role, uses, expiry) is the pool's to decide; what is said of that here is for people.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs] -- it ships none

from ..actors.core.access.identities import is_key
from ..workers.errors import ConfigError
from .addresses import REACHED_MAX
from .keys import ROLES, KeyPair, pair_of

msgpack: Any = _untyped

PREFIX: Final = "workerhost-invite:"
_FORM: Final = 1
_TEXT_MAX: Final = 4096
_CHECKSUM_BYTES: Final = 4


class Invitation(NamedTuple):
    """What a machine needs to join.

    Attributes:
        addresses: Where to try, in this order.
        server: The supervisor's public key.
        pair: The invitation's own keys.
        role: What who uses it will be.
    """

    addresses: tuple[str, ...]
    server: str
    pair: KeyPair
    role: str

    def text(self) -> str:
        """The line to paste."""
        body: bytes = msgpack.packb([_FORM, self.role, self.server, self.pair.secret, list(self.addresses)])
        return PREFIX + urlsafe_b64encode(body + _checksum(body)).rstrip(b"=").decode()


def is_invitation(text: str) -> bool:
    """Whether a text is meant as an invitation rather than as an address."""
    return text.startswith(PREFIX)


def read(text: str) -> Invitation:
    """The invitation that a line holds.

    Raises:
        ConfigError: It is cut off, mistyped, or of a newer version.
    """
    encoded = text.strip().removeprefix(PREFIX)
    try:
        if len(encoded) > _TEXT_MAX:
            raise ValueError("it is too long")
        padded = encoded.encode("ascii") + b"=" * (-len(encoded) % 4)
        whole = urlsafe_b64decode(padded)
        body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
        if checksum != _checksum(body):
            raise ValueError("something is missing or mistyped")
        form, *rest = cast("list[Any]", msgpack.unpackb(body))
        if form != _FORM:
            raise ConfigError("this invitation is of a newer WorkerHost; update this machine's, or have it made there")
        role, server, secret, addresses = rest
        if role not in ROLES or not is_key(server) or not _are_addresses(addresses):
            raise ValueError("it does not hold what an invitation holds")
        return Invitation(tuple(addresses), server, pair_of(secret), role)
    except ConfigError:
        raise
    except (ValueError, TypeError, binascii.Error, UnicodeEncodeError, AttributeError) as error:
        message = f"this is no whole invitation ({error}); paste the line of `workerhost invite` without a break"
        raise ConfigError(message) from None
    except Exception as error:  # msgpack's own, of many classes
        message = f"this is no whole invitation ({type(error).__name__}); paste the line of `workerhost invite` whole"
        raise ConfigError(message) from None


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]


def _are_addresses(found: Any) -> bool:
    items = cast("list[Any]", found) if isinstance(found, list) else []
    return 0 < len(items) <= REACHED_MAX and all(isinstance(one, str) and one.startswith("tcp://") for one in items)
