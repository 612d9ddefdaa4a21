"""A worker's state: sent on connect and on every change."""

from typing import Literal

from msgspec import Struct

from waguard.core.link import Link
from waguard.core.passkey_link import PasskeyStage
from waguard.wire.bounds import (
    At,
    Code,
    Count,
    Digits,
    ExitCode,
    Id,
    Names,
    Pid,
    Private,
    RetryAfter,
    RoundTrip,
    Sha256,
    Word,
    Words,
)
from waguard.wire.worker import LogSettings


class QrCode(Private, frozen=True, kw_only=True):
    """The code on the screen. ``expires_at`` is unix time in seconds; ``count`` starts at 1."""

    raw: Code
    count: Count
    expires_at: At


class Passkey(Private, frozen=True, kw_only=True):
    """A linking that needs the account's passkey (``core.passkey_link.PasskeyLink``). Unix times."""

    stage: PasskeyStage
    until: At
    unattended_until: At | None = None
    request: Word | None = None
    code: Word | None = None
    error: Word | None = None


class PageVersion(Struct, frozen=True, kw_only=True):
    """What the loaded page is, as far as that could be read."""

    page: Count | None = None
    """The revision that runs, by WhatsApp's own word."""
    document: Count | None = None
    """The revision of the index document as it was served."""
    wajs: Sha256 | None = None
    """SHA-256 of the injected wa-js, in hex."""
    wajs_version: Word | None = None
    """wa-js's own word for its version."""
    served_by: Literal["network", "store"] = "network"
    kept: bool = False
    """The document of that revision lies in the worker's folder of documents."""
    missing: Names = ()
    """Exports of wa-js that waguard uses and that cannot be had after this load."""
    spent: Words | None = None
    """The stored document that was to be served cannot be used: its scripts are not there any more,
    although their server answers. The page is the network's."""


class Report(Struct, tag="report", frozen=True, kw_only=True):
    """The worker's whole state."""

    session: Id
    generation: Count
    phase: Literal["launching", "loading", "settling", "ready", "closing"]
    """Settling: it only waits for wa-js."""
    link: Link
    browser_pid: Pid | None = None
    phone: Digits | None = None
    """Digits of the linked account, once known."""
    qr: QrCode | None = None
    qr_idle: bool = False
    """WhatsApp has stopped showing codes: nobody scanned."""
    loads: Count = 0
    """How often the page was loaded: what came in while it was, raised no event."""
    scripts_ended: Count = 0
    """How often the page's script was ended because the page did not answer; each time it is loaded again."""
    socket: Words | None = None
    """WhatsApp's words for its socket and its stream."""
    update_offered: bool = False
    """The page says that there is a newer version of it."""
    passkey: Passkey | None = None
    """None: the page does not ask for the account's passkey."""
    passkey_until: At | None = None
    """When the passkey's stage ends, for a daemon of a version that knows no ``passkey``."""
    covered: bool = False
    """A dialog lies over the page."""
    flooded: bool = False
    """The page reports more than it may."""
    refused: bool = False
    """WhatsApp does not serve its page; ``details`` has what it does instead."""
    refusals: Count = 0
    """Loads in a row that it refused: each is news."""
    retry_after: RetryAfter | None = None
    """Seconds that it asks to wait, of the last of them."""
    locked_until: At | None = None
    """Unix time until which WhatsApp takes no first contacts, by its page; 0: it takes them, None: it
    does not say."""
    details: Words | None = None
    silence: Words | None = None
    """Evidence, while the page does not answer."""
    version: PageVersion | None = None
    """None: no page has been loaded yet, or the worker is of a version that does not say it."""
    log: LogSettings | None = None
    """None: it is of a version that knows no ``SetLog``."""
    proxy: Word | None = None
    """The mark of the session's own proxy that the worker was given; None: it goes the host's own way."""
    obeys: bool = False
    """The worker ends when what ``Lend`` said is over; False: its version knows none, or the kernel gave no timer."""
    waits: bool = False
    """Chromium is not started before the daemon says so (``StartBrowser``)."""
    answers: bool = False
    """The worker knows ``Ask``."""
    files: bool = False
    """The worker sends and fetches files by their paths; False: it is of a version that does not."""
    exit_code: ExitCode | None = None
    """The exit code, in the last report; who adopted the worker learns it from nobody else."""


class Heartbeat(Struct, tag="heartbeat", frozen=True, kw_only=True):
    """Written in the worker's slot every ``heartbeat`` seconds, or else sent; round trips in seconds, None: no answer in time."""

    devtools: RoundTrip | None
    page: RoundTrip | None
    hopeless: bool = False
    """The page is silent, and its script was ended without effect or its process is stopped."""
