"""Received files: what a message says about its file. Pure."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

GONE: Final = "no longer kept"
NAME: Final = re.compile(r"[0-9a-f]{64}")  # the SHA-256 of what is in it
_NAMED: Final = re.compile(rb'"sha256": ?"([0-9a-f]{64})"')
_HANDLE: Final = re.compile(rb'"url": ?"[^"\\]*/api/media/([0-9a-f]{64})"')
# the sender of the file chooses it, and it goes into a header: "audio/ogg; codecs=opus"
_MIMETYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
_LONGEST: Final = 200  # characters
UNKNOWN: Final = "application/octet-stream"
DEFERRED: Final = "it is fetched after its message, to its url"
"""Said of a file in place of its content."""
MEDIA_LIMIT: Final = 16 << 20  # bytes of a file; WhatsApp's own limit for pictures and videos


def handle_of(session_id: str, message_id: str) -> str:
    """The name under which a file can be asked for that is not there yet; it looks like a ``NAME``."""
    return hashlib.sha256(f"{session_id}\0{message_id}".encode(errors="replace")).hexdigest()


def names_in(body: bytes) -> set[str]:
    """The files that a webhook's body names."""
    return {found[1].decode() for found in _NAMED.finditer(body)}


def handles_in(body: bytes) -> set[str]:
    """The handles of files that a webhook's body names by their url, for they were not there yet."""
    return {found[1].decode() for found in _HANDLE.finditer(body)}


def content_type(reported: Any) -> str:
    """``reported`` where it is valid in a header, else ``UNKNOWN``."""
    fits = isinstance(reported, str) and len(reported) <= _LONGEST and _MIMETYPE.fullmatch(reported)
    return reported if fits else UNKNOWN


def with_media(data: Mapping[str, Any], /, **details: Any) -> Mapping[str, Any]:
    """``data`` of a ``message_received``, with these ``details`` of its file; unchanged where it has no file."""
    message = data.get("message")
    media = message.get("media") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(media, Mapping) or not media:
        return data
    return {**data, "message": {**message, "media": {**media, **details}}}
