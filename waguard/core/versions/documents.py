"""WhatsApp Web's index document: whether it is whole and WhatsApp's own, and which version it is. Pure.

Measured on 442 documents (2026-07 to 09): each names its version in ``data-btmanifest`` and again in
``client_revision``, both alike, and ends with ``has-finished-comet-page``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

MOST: Final = 4 << 20  # bytes; they had 565 to 1,097 KB
HEADERS_LIMIT: Final = 1 << 18  # characters, of all names and values
LONGEST_REVISION: Final = 15  # digits; they have 10
HTML: Final = "text/html"
FINISHED: Final = b"has-finished-comet-page"
OK: Final = 200  # HTTP

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_REVISION: Final = rb"\d{1,%d}" % LONGEST_REVISION
_MANIFEST: Final = re.compile(rb'data-btmanifest="(%s)_main"' % _REVISION)
_CLIENT: Final = re.compile(rb'"client_revision":(%s)\b' % _REVISION)
_UNSUPPORTED: Final = re.compile(rb"WhatsApp works with|Update Google Chrome")
_VERSION: Final = re.compile(rf"\d+\.\d+\.({_REVISION.decode()})(?:\D.*)?")
_OF_PAGE: Final = re.compile(rf"({_REVISION.decode()})_main")

_NOT_REPLAYED: Final = frozenset(
    {
        # they belong to the session that got them, or would harm the one that gets them
        *("set-cookie", "set-cookie2", "clear-site-data", "refresh", "location"),
        # of a transfer that is over: Chromium has decoded the body
        *("content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"),
        *("proxy-authenticate", "proxy-connection", "trailer", "upgrade"),
    }
)


class Refused(Struct, frozen=True):
    """Such a document is neither stored nor served. ``why`` follows "the document"."""

    why: str


def page_url(url: str) -> str | None:
    """WhatsApp's page as Chromium writes its URL; None: it is not the page itself, the path ``/`` without a
    query. Another one's document is neither stored nor served."""
    parts = urlsplit(url)
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return None
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}/"


def check(
    *, url: str, wanted: str, status: int, headers: Sequence[tuple[str, str]], body: bytes
) -> int | Refused:
    """The revision of a document that came from ``url``; ``wanted``: ``page_url``."""
    if url != wanted:
        return Refused(f"is of {url[:200]}, which is not WhatsApp's page")
    if status != OK:
        return Refused(f"came with HTTP status {status}")
    kinds = [value for name, value in headers if name.lower() == "content-type"]
    if [kind.partition(";")[0].strip().lower() for kind in kinds] != [HTML]:
        return Refused(f"is not a page: its type is {', '.join(kinds)[:100] or 'missing'}")
    if (length := sum(len(name) + len(value) for name, value in headers)) > HEADERS_LIMIT:
        return Refused(f"has {length} characters of headers; {HEADERS_LIMIT} at most are expected")
    return check_body(body)


def check_body(body: bytes) -> int | Refused:
    """Check a document by its text alone."""
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
