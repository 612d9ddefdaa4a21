"""What bytes that look like HTTP are, found without parsing them. Pure."""

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?:\r\n|$)", re.IGNORECASE)


def is_whole(data: bytes) -> bool:
    """Whether it is one request with all of its body, and nothing behind it; one in chunks is not."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head)
    return len(body) == (int(length[1]) if length else 0)
