"""Received files: what a message says of its own, and which are kept. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

GONE: Final = "no longer kept"
NAME: Final = re.compile(r"[0-9a-f]{64}")  # the SHA-256 of what is in it
_NAMED: Final = re.compile(rb'"sha256": ?"([0-9a-f]{64})"')
# it comes from whoever sent the file, and goes into a header: "audio/ogg; codecs=opus"
_MIMETYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
_LONGEST: Final = 200  # characters
UNKNOWN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file that is kept. ``at`` is unix time, ``size`` bytes."""

    name: str
    size: int
    at: float


def expired(
    files: Iterable[Held],
    *,
    now: float,
    keep_for: float,
    size_limit: int,
    spared: Collection[str] = (),
) -> list[Held]:
    """Those to delete, oldest first: too old, or more than ``size_limit`` bytes in all. None of
    the ``spared`` names, for their webhooks still wait."""
    ordered = sorted(files, key=lambda file: (file.at, file.name))
    left, gone = sum(file.size for file in ordered), []
    for file in ordered:
        if now - file.at <= keep_for and left <= size_limit:
            break
        if file.name not in spared:
            gone.append(file)
            left -= file.size
    return gone


def names_in(body: bytes) -> set[str]:
    """The files that a webhook's body names."""
    return {found[1].decode() for found in _NAMED.finditer(body)}


def content_type(reported: Any) -> str:
    """``told`` where it can be a header, else that nothing is known."""
    fits = isinstance(reported, str) and len(reported) <= _LONGEST and _MIMETYPE.fullmatch(reported)
    return reported if fits else UNKNOWN


def with_media(data: Mapping[str, Any], /, **details: Any) -> Mapping[str, Any]:
    """``data`` of a ``message_received`` with ``told`` of its file; the same where it has none."""
    message = data.get("message")
    if not isinstance(message, Mapping) or not message.get("media"):
        return data
    return {**data, "message": {**message, "media": {**message["media"], **details}}}
