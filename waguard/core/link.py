"""The link to WhatsApp, derived from what the page says. Pure.

wa-js's ``isReady`` flags are true on the QR screen too, and are never reset. The stream's mode, the socket's state
and ``isAuthenticated`` together are reliable.
"""

from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.whatsapp_words import in_words


class Link(StrEnum):
    """The state of a session's link to WhatsApp."""

    UNKNOWN = auto()
    QR_PENDING = auto()
    PAIRING = auto()
    PASSKEY_REQUIRED = auto()
    SYNCING = auto()
    CONNECTED = auto()
    OFFLINE = auto()
    CONFLICT = auto()
    LOGGED_OUT = auto()
    BLOCKED = auto()
    NEEDS_UPDATE = auto()
    """WhatsApp does not accept this version of its page any more."""


class PageFacts(Struct, frozen=True, kw_only=True):
    """One reading of the page: values of wa-js, None where it has none."""

    authenticated: bool | None = None
    mode: str | None = None
    info: str | None = None
    socket: str | None = None
    has_code: bool = False
    events_wired: bool = True
    """False: the page works, but waguard does not get its events."""
    update_offered: bool = False
    """There is a newer version of the page. This one goes on working until ``DEPRECATED_VERSION``."""
    covered: bool = False
    """A dialog covers the page."""


TOO_OLD: Final = "DEPRECATED_VERSION"
BLOCKED_WORDS: Final = frozenset({"PROXYBLOCK", "TOS_BLOCK", "SMB_TOS_BLOCK", TOO_OLD})


def link_of(facts: PageFacts) -> Link:
    """The link; the first match wins."""
    words = {facts.mode, facts.socket}
    if words & BLOCKED_WORDS:
        return Link.NEEDS_UPDATE if TOO_OLD in words else Link.BLOCKED
    if "CONFLICT" in words:
        return Link.CONFLICT
    if facts.authenticated is None:
        return Link.UNKNOWN
    if facts.authenticated:
        return _of_authenticated(facts)
    if facts.info == "PAIRING" and not facts.has_code:
        return Link.PAIRING
    if facts.has_code or facts.mode == "QR" or facts.socket in {"UNPAIRED", "UNPAIRED_IDLE"}:
        return Link.QR_PENDING
    return Link.UNKNOWN


def _of_authenticated(facts: PageFacts) -> Link:
    if facts.mode == "MAIN" and facts.socket == "CONNECTED":
        return Link.CONNECTED if facts.events_wired else Link.SYNCING
    if facts.mode == "SYNCING" or facts.info == "SYNCING":
        return Link.SYNCING
    if facts.mode == "QR":  # the code was scanned, and the stream's mode has not changed yet
        return Link.PAIRING
    if facts.mode is None or facts.socket is None:
        return Link.UNKNOWN
    return Link.OFFLINE


def is_only_unwired(facts: PageFacts) -> bool:
    """Whether the page is connected, and waguard does not get its events for now."""
    return facts.mode == "MAIN" and facts.socket == "CONNECTED" and not facts.events_wired


BEFORE_A_PASSKEY: Final = frozenset({Link.UNKNOWN, Link.QR_PENDING, Link.PAIRING, Link.OFFLINE})
"""What the page may say of its link while the linking waits for the account's passkey."""


def blocked_because(facts: PageFacts) -> str | None:
    """Why WhatsApp blocks the session, with its own word for it."""
    words = (facts.mode, facts.socket)
    return next((in_words(word) for word in words if word in BLOCKED_WORDS), None)
