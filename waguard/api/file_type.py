"""The type of a file where neither the request nor the file's server says it."""

import mimetypes
from typing import Final

from waguard.core.text.file_name import suffixes

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
