"""What a host says of a request that it forwards: which one, to whom, and who asks; sealed with the key that all hosts
have, so that no client can say it. Pure.

Form 2 names the content, and the start of the receiver's daemon: a request that is sealed for an earlier start is refused.
Form 1 does neither. It is made for a host whose record names no start, and taken while such a host lives.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec

from waguard.core.keys import Caller
from waguard.core.replace import replace

MARK: Final = "waguard-host-"
"""How a sealed text begins; the number of its form follows."""
MOST_OFF: Final = 30.0
"""Seconds by which the hosts' clocks may differ, and which such a request may take."""

START: Final = "X-Host-Start"
"""The header of an answer that says for which start the request should have been sealed."""


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
    start: str = ""
    """The start of the receiver's daemon, as its record has it; "": form 1."""
    content: str = ""
    """See ``digest``; "": form 1."""
    confirms: bool = False
    """Whether the host that forwards it says when the client has its reply; an older version does not."""


_MARKS: Final = (f"{MARK}1.", f"{MARK}2.")
_CORRECTION: Final = "waguard-host-start."
_DECODER: Final = msgspec.json.Decoder(ForwardedRequest)


def sealed(it: ForwardedRequest, key: bytes) -> str:
    """As text, in the characters of a header."""
    mark = _mark(it)
    said = base64.urlsafe_b64encode(msgspec.json.encode(it)).decode()
    return f"{mark}{said}.{_seal(mark, said, key)}"


def opened(text: str, key: bytes) -> ForwardedRequest | None:
    """What a host has sealed with the key; None: nobody who has it did."""
    for mark in _MARKS:
        said, dot, seal = text.removeprefix(mark).partition(".")
        if not text.startswith(mark) or not dot or not text.isascii():
            continue
        if not hmac.compare_digest(seal, _seal(mark, said, key)):
            return None
        try:
            it = _DECODER.decode(base64.urlsafe_b64decode(said))
        except (binascii.Error, msgspec.MsgspecError):  # of another version
            return None
        return it if _mark(it) == mark else None
    return None


def digest(body: bytes | bytearray, *, content_type: str, idempotency_key: str) -> str:
    """What a request carries, in hexadecimal digits: its body, and the two headers that say what the body is."""
    found = hashlib.sha256()
    for header in (content_type, idempotency_key):
        found.update(header.encode(errors="surrogatepass") + b"\n")
    found.update(body)
    return found.hexdigest()


def correction(nonce: str, start: str, key: bytes) -> str:
    """What a host answers to a request with this nonce that is sealed for another start than its own, which is ``start``."""
    return f"{start}.{_seal(_CORRECTION, f'{nonce}.{start}', key)}"


def corrected(text: str, it: ForwardedRequest, key: bytes) -> ForwardedRequest | None:
    """The request for the start that the answer names; None: no host has said so.

    Its nonce stays: whichever of the two is taken, the other one is a copy.
    """
    start = text.partition(".")[0]
    if not start or not text.isascii():
        return None
    same = hmac.compare_digest(text, correction(it.nonce, start, key))
    return replace(it, start=start) if same else None


def is_in_time(it: ForwardedRequest, *, now: float) -> bool:
    """Whether it was made about now (unix time)."""
    return abs(now - it.at) <= MOST_OFF


def concerning(caller: Caller, session: str) -> Caller:
    """The caller, without those of its sessions that a request about this one is not about: there may be a hundred."""
    if caller.sessions is None:
        return caller
    return replace(caller, sessions=caller.sessions & {session})


def _mark(it: ForwardedRequest) -> str:
    return _MARKS[1 if it.start else 0]


def _seal(mark: str, said: str, key: bytes) -> str:
    own = hmac.digest(key, mark.encode(), "sha256")  # the same file encrypts credentials
    return hmac.digest(own, said.encode(), "sha256").hex()
