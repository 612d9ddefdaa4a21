"""How the stand-in behaves: every field can be changed while it runs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, fields

from waguard.lab.standin.refusal import Refusal, refusal_of

Seconds = Annotated[float, msgspec.Meta(ge=0)]

SendError = Literal[
    "", "ERROR_NETWORK", "ERROR_EXPIRED", "ERROR_CANCELLED", "ERROR_UPLOAD", "ERROR_UNKNOWN"
]


class Policy(Struct):
    """The defaults are a healthy WhatsApp that answers at once."""

    send_error: SendError = ""
    """Refuse every send with this result (the send resolves with ack -1)."""
    never_answer: Literal["", "recorded", "lost", "drop"] = ""
    """Sends get no answer: the server recorded them, never got them, or recorded them and dropped the socket."""
    ack_delay: Seconds = 0.0
    auto_receipt: Literal[0, 2, 3] = 0
    """After the server's ack the recipient's receipt follows by itself: 2 delivered, 3 read."""
    slow_modules: Seconds = 0.0
    """Page modules appear this much later than the rest (a cold load)."""
    slow_part: Literal["core", "rest"] = "core"
    """core: nearly all are late. rest: Socket, Stream, Conn, Cmd, Msg exist, others that wa-js needs are late."""
    factories: dict[str, float] = field(default_factory=dict)
    """Id of a module → seconds from the load of a page until it can be had, negative: never. It is
    registered from the start (wa-js#3496, #3640); the page itself waits for what it needs."""
    block_headless: bool = True
    """A user agent with HeadlessChrome gets the unsupported-browser page."""
    qr_first_lifetime: Seconds = 60.0
    qr_lifetime: Seconds = 20.0
    qr_count: Annotated[int, msgspec.Meta(ge=1)] = 6
    """Codes until the page goes idle (UNPAIRED_IDLE)."""
    csp: bool = True
    """Content-Security-Policy with a nonce, as WhatsApp's: no inline script, no eval."""
    passkey: bool = False
    """After a scan or a pairing code the page has to show the account's passkey (the phone's `passkey`)."""
    passkey_lifetime: Seconds = 600.0
    """How long the options of a request for it are good."""
    passkey_unattended: Seconds = 300.0
    """How long the page confirms the code by itself; later, and after any error, a person compares it."""
    passkey_wait: Seconds = 120.0
    """How long the page waits: for the phone, for the code, for the pairing."""
    passkey_way: Literal["", "wrong_account", "silent", "compare"] = ""
    """The answer is refused as another account's, accepted and then silent (waha#2227), or its code is to be
    compared at any time."""
    update_again: bool = False
    """Each connection of a page gets a newer version announced: a reload does not bring it."""
    ghosts: Annotated[int, msgspec.Meta(ge=0)] = 0
    """So many log-ins to come are never answered, and the page takes that for a connection under way."""
    codes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """So many requests for pairing codes to come are granted, then they are answered 429; None: all."""
    sync: Seconds = 0.3
    """How long the stream is SYNCING after a pairing."""
    history: bool = True
    """A newly paired device gets the account's earlier messages (stored, not announced)."""
    history_chunk: Annotated[int, msgspec.Meta(ge=0)] = 0
    """So many of these at a time, after the page is connected (read: OpenWA#456; assumed: no event); 0: all
    of them before."""
    exists: dict[str, bool] = field(default_factory=dict)
    """Phone number → is it on WhatsApp; numbers that are not here are."""
    exists_error: bool = False
    """The server fails at the question whether a number exists."""
    exists_too_often: bool = False
    """WhatsApp refuses that question with a 429 (read: that it does; assumed: how the page says so)."""
    lids: dict[str, str] = field(default_factory=dict)
    """The user part of a LID → the phone number that a page knows for it, from its next load on."""
    history_error: list[str] = field(default_factory=list)
    """Ids of chats whose history throws when it is read, from the page's next load on."""
    history_delay: dict[str, Seconds] = field(default_factory=dict)
    """Id of a chat → how long each reading of its history takes, from the page's next load on."""
    exists_silent: bool = False
    """The server never answers that question."""
    groups: Literal["ok", "error", "too_often", "silent"] = "ok"
    """What is asked about groups and pictures: answered, failed, refused with a 429, or done and never answered."""
    not_addable: list[str] = field(default_factory=list)
    """Phone numbers that nobody may add to a group (403): an invitation takes its place."""
    page: Literal[
        "ok",
        "hang",
        "away",
        "error",
        "too_often",
        "too_often_empty",
        "broken",
        "silent",
        "cdn_away",
        "portal",
    ] = "ok"
    """The document: served, never answered, its connection broken, answered 500, answered 429 with
    Retry-After, the same without a body, served without its scripts (404), with scripts that are never
    answered, with a CDN that breaks each connection, or in its place the login of a captive portal."""
    cdn_delay: Seconds = 0.0
    """How long the CDN takes for each script."""
    service_worker: bool = False
    """The page registers a service worker that serves the document which it saw first, from then on."""
    refuse_sockets: bool = False
    """New connections of pages are refused (live ones stay: see the phone's drop)."""
    media_gone: bool = False
    """Files cannot be downloaded any more."""
    connect_delay: Seconds = 0.0
    """A page that was loaded waits so long before it connects for the first time."""
    reconnect_delay: Seconds = 0.2
    """The page's first wait before it connects again; it doubles up to reconnect_max."""
    reconnect_max: Seconds = 5.0

    def update(self, changes: dict[str, Any]) -> None:
        """Change the given fields, all or none; raises Refusal naming the field that is wrong."""
        known = [f.name for f in fields(self)]
        for name, value in changes.items():
            if name not in known:
                raise Refusal(
                    400, f"unknown policy {name!r}", f"one of: {', '.join(known)}", name, value
                )
        try:
            checked = msgspec.convert(asdict(self) | changes, Policy)
        except msgspec.ValidationError as error:
            raise refusal_of(error, changes) from None
        for name in changes:
            setattr(self, name, getattr(checked, name))
