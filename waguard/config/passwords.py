"""Addresses and the passwords in them: none is shown.

One of a database is read as SQLAlchemy reads it: its user ends at the first colon, and its password may hold anything.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

# greedy: of what is behind a password rather too much is left out
_TO_HOST: Final = re.compile(r"^.*@", re.MULTILINE)
_BEFORE: Final = re.compile(r"://[^/:\n]*:")
_IN_QUERY: Final = re.compile(
    r"[?&](?:(?!(?i:pass|secret|token|key))\w)*+(?i:pass|secret|token|key)\w*+=([^&\s]*)"
)
_USER: Final = re.compile(r"://[^/\s]*@")
_DATABASE: Final = re.compile(
    r"[\w+]+://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?@]+\]|[^/:?@\[\]]+)?(?::[0-9]{1,5})?(?:/[^?]*)?(?:\?.*)?"
)


def without_passwords(text: str) -> str:
    """For people: addresses without the passwords in them."""
    shown, end = "", 0
    for first, last in sorted(_found(text)):
        if first >= end:
            shown += f"{text[end:first]}***"
        end = max(end, last)
    return shown + text[end:]


def has_password(text: str) -> bool:
    """Whether an address in it has one, or a user, which may be a token."""
    return next(_found(text), None) is not None or _USER.search(text) is not None


def passwords(url: str) -> tuple[str, ...]:
    """All that may be a password of an address, as it is written there and as it is."""
    found = [url[first:last] for first, last in _found(url)]
    written = [part for one in found for part in (one, one.partition("@")[0])]
    ways = (str, unquote, unquote_plus)
    return tuple(dict.fromkeys(way(one) for one in written for way in ways if one))


def is_database(url: str) -> bool:
    """Whether SQLAlchemy can read all of it, and finds no part of a password in the host."""
    found = _DATABASE.match(url)  # no full one, which would try other readings than SQLAlchemy's
    is_whole = found is not None and found.end() == len(url) and "\n" not in url
    # a password ends at a space: what is behind it would be shown
    ends = (found.end() for found in _IN_QUERY.finditer(url))
    return is_whole and not any(url[end : end + 1].isspace() for end in ends)


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Where each password begins and ends; two may overlap."""
    for line in _TO_HOST.finditer(text):
        if before := _BEFORE.search(text, line.start(), line.end() - 1):
            yield before.end(), line.end() - 1
    yield from (found.span(1) for found in _IN_QUERY.finditer(text))
