"""What may be read off the name of a file that somebody else has chosen. Pure."""

from pathlib import PurePosixPath
from typing import Final

_OF_A_URL: Final = frozenset(":/?#")


def suffixes(name: str) -> str:
    """``name`` for ``mimetypes.guess_type``, with nothing but its last two suffixes: a whole name may look like a URL, of which
    other parts count, or which is invalid. Only the last one, where the other may be a part of such."""
    path = PurePosixPath(name)
    last = "".join(path.suffixes[-2:])
    return f"file{path.suffix if _OF_A_URL.intersection(last) else last}"
