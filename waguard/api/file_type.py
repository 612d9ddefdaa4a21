"""The type of a file to send, where neither the request nor its server says it; and in which forms it can be sent."""

import mimetypes
from typing import Final

from waguard.api import fields
from waguard.core.text.file_name import suffixes
from waguard.messaging.outbox.commands import Media

FAMILIES: Final = ("image", "video", "audio", "document")
_PAGE: Final = "text/html"
_SHOWN_ONCE: Final = frozenset({"image", "video", "voice"})
_BY_START: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": "application/pdf",
    b"OggS": "audio/ogg",
    b"ID3": "audio/mpeg",
}
_WEBP: Final = (b"RIFF", b"WEBP")  # with the length between them
_BY_BRAND: Final = {  # of ISO base media files
    b"M4A ": "audio/mp4",
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V "), "video/mp4"),
}


def guessed(name: str, content: bytes) -> str | None:
    """By its name, else by its first bytes."""
    return mimetypes.guess_type(suffixes(name))[0] or _by_content(content)


def _by_content(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return _BY_BRAND.get(content[8:12])
    if (content[:4], content[8:12]) == _WEBP:
        return "image/webp"
    return next((found for start, found in _BY_START.items() if content.startswith(start)), None)


def family(mimetype: str) -> str:
    """One of ``FAMILIES``."""
    kind = mimetype.partition("/")[0]
    return kind if kind in FAMILIES else "document"


def require_form(media: Media) -> None:
    """Raises ``InvalidInputError`` where the file cannot be sent in the form that was asked for."""
    if media.view_once and media.kind not in _SHOWN_ONCE:
        raise fields.bad(
            "view_once", media.kind, "this is not shown once", "an image, a video or a voice note"
        )
    if media.file and (media.view_once or media.kind == "voice"):
        raise fields.bad(
            "media_sha256",
            media.file,
            "a file of the disk is neither shown once nor a voice note",
            "send it in the body, as media: 16 MiB at most",
        )
    if media.mimetype.startswith(_PAGE) and media.kind != "document":
        raise fields.bad(
            "type",
            media.kind,
            f"the file is a web page ({media.mimetype}), as of a login or an error",
            "name the file itself, which needs no login; or type document",
        )
    if media.kind == "sticker" and family(media.mimetype) != "image":
        raise fields.bad("type", media.mimetype, "a sticker is an image", "send a WebP or PNG file")
