"""What a host says of a request that it forwards: which one, to whom, and who asks; sealed with the key that all hosts
have, so that no client can say it. Pure.

The seal leaves the body out, which would have to be there before the first byte of it could go.
"""

import base64
import binascii
import hmac
from dataclasses import replace
from typing import Final

import msgspec

from waguard.core.keys import Caller

MARK: Final = "waguard-host-1."
"""How a sealed text begins: the number is of its form."""
MOST_OFF: Final = 30.0
"""Seconds by which the hosts' clocks may differ, and which such a request may take."""


class ForwardedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a client of another host."""

    method: str
    target: str
    """Path and query, as they are sent."""
    to: str
    """The base URL of the host that it is for."""
    at: float
    """Unix time."""
    nonce: str
    """Not used twice."""
    caller: Caller | None
    """Who asks; None: nobody has to say it, for the client is on the loopback of the host that forwards it."""
    on_socket: bool = False
    """Whether root or the daemon's own user asks on the local socket."""
    client: str | None = None
    """The address of the client."""


_DECODER: Final = msgspec.json.Decoder(ForwardedRequest)


def sealed(it: ForwardedRequest, key: bytes) -> str:
    """As text, in the characters of a header."""
    said = base64.urlsafe_b64encode(msgspec.json.encode(it)).decode()
    return f"{MARK}{said}.{_seal(said, key)}"


def opened(text: str, key: bytes) -> ForwardedRequest | None:
    """What a host has sealed with the key; None: nobody who has it did."""
    said, dot, seal = text.removeprefix(MARK).partition(".")
    if not text.startswith(MARK) or not dot or not text.isascii():
        return None
    if not hmac.compare_digest(seal, _seal(said, key)):
        return None
    try:
        return _DECODER.decode(base64.urlsafe_b64decode(said))
    except (binascii.Error, msgspec.MsgspecError):  # of another version
        return None


def is_in_time(it: ForwardedRequest, *, now: float) -> bool:
    """Whether it was made about now (unix time)."""
    return abs(now - it.at) <= MOST_OFF


def concerning(caller: Caller, session: str) -> Caller:
    """The caller, without those of its sessions that a request about this one is not about: there may be a hundred."""
    if caller.sessions is None:
        return caller
    return replace(caller, sessions=caller.sessions & {session})


def _seal(said: str, key: bytes) -> str:
    own = hmac.digest(key, MARK.encode(), "sha256")  # the same file encrypts credentials
    return hmac.digest(own, said.encode(), "sha256").hex()
