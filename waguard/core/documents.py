"""WhatsApp Web's index document: whether it is whole and WhatsApp's own, and which version it is. Pure.

Measured on 442 documents (2026-07 to 09): each names its version in ``data-btmanifest`` and again in
``client_revision``, both alike, and ends with ``has-finished-comet-page``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

MOST: Final = 4 << 20  # bytes; they had 565 to 1,097 KB
HEADERS_LIMIT: Final = 1 << 18  # characters, of all names and values
LONGEST_REVISION: Final = 15  # digits; they have 10
HTML: Final = "text/html"
FINISHED: Final = b"has-finished-comet-page"
OK: Final = 200  # HTTP

_MANIFEST: Final = re.compile(rb'data-btmanifest="(\d{1,15})_main"')
_CLIENT: Final = re.compile(rb'"client_revision":(\d{1,15})\b')
_UNSUPPORTED: Final = re.compile(rb"WhatsApp works with|Update Google Chrome")
_VERSION: Final = re.compile(r"\d+\.\d+\.(\d{1,15})(?:\D.*)?")
_OF_PAGE: Final = re.compile(r"(\d{1,15})_main")

_NOT_REPLAYED: Final = frozenset(
    {
        # they belong to the session that got them, or would harm the one that gets them
        *("set-cookie", "set-cookie2", "clear-site-data", "refresh", "location"),
        # of a transfer that is over: Chromium has decoded the body
        *("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"),
        *("proxy-authenticate", "proxy-connection", "trailer", "upgrade"),
    }
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Such a document is neither stored nor served. ``why`` follows "the document"."""

    why: str


def is_storable(url: str) -> bool:
    """Whether the document of this URL is WhatsApp's page itself: the path ``/`` without a query."""
    parts = urlsplit(url)
    return parts.path == "/" and not parts.query and not parts.fragment


def check(
    *, url: str, wanted: str, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> int | Refused:
    """The revision of a document that came from ``url``; ``wanted`` is the URL of WhatsApp's page."""
    if url != wanted or not is_storable(wanted):
        return Refused(f"is of {url[:200]}, which is not WhatsApp's page")
    if status != OK:
        return Refused(f"came with HTTP status {status}")
    kinds = [value for name, value in headers if name.lower() == "content-type"]
    if [kind.partition(";")[0].strip().lower() for kind in kinds] != [HTML]:
        return Refused(f"is not a page: its type is {', '.join(kinds)[:100] or 'missing'}")
    return check_body(body)


def check_body(body: bytes) -> int | Refused:
    """The same, by the text alone."""
    if len(body) > MOST:
        return Refused(f"has {len(body)} bytes; {MOST} at most are expected")
    named = set(_MANIFEST.findall(body))
    if not named:
        if _UNSUPPORTED.search(body):
            return Refused("is WhatsApp's page for browsers that it does not support")
        return Refused("names no version of WhatsApp Web: it may be a network's login page")
    if FINISHED not in body:
        return Refused("is not whole: its end is missing")
    client = set(_CLIENT.findall(body))
    if len(named) > 1 or client != named:
        more = f", and of its client {_listed(client)}" if client else ""
        return Refused(f"contradicts itself: it names the version {_listed(named)}{more}")
    return int(named.pop())


def _listed(revisions: Iterable[bytes]) -> str:
    return " and ".join(sorted(found.decode() for found in revisions)[:3])


def replayed(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a stored document is served with: all but what concerns one transfer or one session.

    DevTools has one value for each name, with a line end between those of several headers.
    """
    return tuple(
        (name, line)
        for name, value in headers.items()
        if name.lower() not in _NOT_REPLAYED and not name.startswith(":")
        for line in value.split("\n")
    )


def revision_of_version(version: str) -> int | None:
    """The revision in a version as WhatsApp writes it, such as ``2.3000.1045220589-alpha``."""
    found = _VERSION.fullmatch(version)
    return int(found[1]) if found else None


def revision_of_manifest(manifest: str) -> int | None:
    """The revision in a document's ``data-btmanifest``."""
    found = _OF_PAGE.fullmatch(manifest)
    return int(found[1]) if found else None
