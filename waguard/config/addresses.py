"""Addresses that the configuration names, and whose they may be."""

import ipaddress
from urllib.parse import urlsplit

from waguard.core import outgoing_address as address

# characters of the application's column that keeps it
PUBLIC_URL_LIMIT = 255


def is_loopback(host: str) -> bool:
    """Whether ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(url: str) -> bool:
    """Whether it is one of HTTP."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0  # raises above 65535
            and not any(c.isspace() or not c.isprintable() for c in url)
        )
    except ValueError:
        return False


def public_refusal(url: str) -> str | None:
    """Why others could not call waguard by it; None: they may."""
    if why := address.url_refusal(url, allow_private=True):
        return why
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc or url.endswith(("?", "#")):
        return "paths are put behind it, and everybody sees it: no ?, # or user"
    if len(url) > PUBLIC_URL_LIMIT:
        return f"it has {len(url)} characters, the application keeps {PUBLIC_URL_LIMIT}"
    return None
