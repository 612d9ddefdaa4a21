"""What bytes that look like HTTP are, found without parsing them. Pure."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?:\r\n|$)", re.IGNORECASE)
_KEY: Final = re.compile(
    rb"(?:\nx-api-key:[ \t]*|\nauthorization:[ \t]*bearer[ \t]+|[?&]api_key=)([^\s&]+)",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(rb"([A-Z]+) (/[^ ?#\r\n]*)[^ \r\n]* HTTP/1\.[01]\r\n")
_HEADER: Final = re.compile(r"\n([\w-]+):[ \t]*([^\r\n]*)")

SHREDS: Final = 16  # bytes from one end of a line to the next: of chunks that hold fewer than 27
_SPARED: Final = 4 << 10  # bytes, for a head and a short body


class Question(Struct, frozen=True):
    """What a request asks, and for whom; empty: it is not one."""

    method: str = ""
    path: str = ""
    keys: Sequence[str] = ()
    """What may be keys, outside of its body."""
    host: str | None = None
    headers: frozenset[str] = frozenset()
    """Their names, in lower case."""


def is_in_shreds(data: bytes, *, chunked: bool | None) -> bool:
    """Whether a body comes in so small chunks that it is not worth to be parsed. ``chunked``: whether it comes in chunks;
    None: it begins there, behind its head."""
    if chunked is False or data.count(b"\r\n") * SHREDS <= len(data) + _SPARED:
        return False
    head, end, _ = data.partition(b"\r\n\r\n")
    return bool(chunked or (end and b"chunked" in head.lower()))


def shown_keys(data: bytes) -> list[str]:
    """What may be a key in the head of a request, of which these are the first bytes."""
    return [key.decode("latin-1") for key in _KEY.findall(data.partition(b"\r\n\r\n")[0])]


def asked(data: bytes) -> Question:
    """As far as the first bytes of a request say it, which these are."""
    if (line := _ASKED.match(data)) is None:
        return Question()
    head = data.partition(b"\r\n\r\n")[0].decode("latin-1")
    headers = {name.lower(): value for name, value in _HEADER.findall(head)}
    return Question(
        method=line[1].decode(),
        path=unquote(line[2].decode("latin-1")),
        keys=shown_keys(data),
        host=headers.get("host"),
        headers=frozenset(headers),
    )


def is_whole(data: bytes) -> bool:
    """Whether it is one request with all of its body, and nothing behind it; one in chunks is not."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    return len(body) == (int(length[1]) if length else 0)
