"""What the daemon and a worker say to each other.

The worker listens, the daemon connects and says ``Hello``. On connect and on every change the
worker sends its whole ``Report``; events are numbered and sent again until they are ``Stored``.

What a worker says is bounded by the types here: the daemon reads nothing that does not fit them.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from waguard.core.link import Link

PROTOCOL: Final = 6

# what a worker may say; its own bounds, in ``worker/page_reports.py``, are no wider. Texts in characters
Id = Annotated[str, Meta(max_length=256)]
Chat = Annotated[str, Meta(max_length=128)]
Word = Annotated[str, Meta(max_length=128)]
Name = Annotated[str, Meta(max_length=256)]
Filename = Annotated[str, Meta(max_length=1_024)]
Text = Annotated[str, Meta(max_length=66_000)]
Words = Annotated[str, Meta(max_length=4_096)]
Raw = Annotated[str, Meta(max_length=8_192)]
File = Annotated[bytes, Meta(max_length=16 << 20)]
# LIDs that a text shows; a group has at most so many participants
Mentioned = Annotated[tuple[Chat, ...], Meta(max_length=1_024)]
Digits = Annotated[str, Meta(pattern=r"\A[0-9]{1,20}\Z")]
Code = Annotated[str, Meta(pattern=r"\A[ -~]{1,1000}\Z")]
Count = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
Pid = Annotated[int, Meta(ge=2, le=1 << 22)]
ExitCode = Annotated[int, Meta(ge=0, le=255)]
AckLevel = Annotated[int, Meta(ge=-1, le=4)]
# unix time in seconds, to the end of the year 9999
At = Annotated[float, Meta(ge=0, le=253_402_300_799)]
AtSecond = Annotated[int, Meta(ge=0, le=253_402_300_799)]
RoundTrip = Annotated[float, Meta(ge=0, le=86_400)]
RetryAfter = Annotated[float, Meta(ge=0, le=86_400)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Names = Annotated[tuple[Word, ...], Meta(max_length=100)]


class LogSettings(Struct, frozen=True, kw_only=True):
    """What a worker logs, and how it looks; as ``[log]`` has it."""

    level: Word = "INFO"
    format: Word = "auto"


class StoredDocument(Struct, frozen=True, kw_only=True):
    """WhatsApp Web's index document of an earlier load, to be served instead of the network's."""

    revision: int
    """WhatsApp's number of that version; the page's own is compared with it."""
    path: str
    """Its file in the store: an absolute path."""


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """All that a worker gets at its start (on stdin, as JSON)."""

    instance: str
    session: str
    generation: int
    workspace: int
    profile: str
    """The Chromium profile: an absolute path."""
    snapshots: str
    """Where copies of this session's credentials lie: an absolute path."""
    quarantine: str
    """Where a damaged profile is moved to: an absolute path."""
    snapshot_interval: float
    """Seconds between two copies of a connected session."""
    cache_limit: int
    """Bytes of Chromium's caches, above which they are emptied at a start."""
    socket: str
    """Unix socket to listen on: an absolute path, at most 107 bytes."""
    record: str
    """Where to write the worker's record: an absolute path."""
    temporary: str
    """A folder for Chromium's own temporary files; its path is short."""
    url: str
    wajs: str | None
    """wa-js to inject; None: the packed one, whose sha256 is checked."""
    wajs_sha256: str | None = None
    """In hex; checked before ``wajs`` is injected. None: an operator named that file, it is not checked."""
    document: StoredDocument | None = None
    """What to serve as WhatsApp's page; None: what the network serves."""
    documents: str | None = None
    """The folder to keep documents of new versions in: an absolute path; None: none is kept."""
    left_out: tuple[str, ...] = ()
    """How the ids of chats end of which nothing is reported."""
    executable: str | None
    flavour: str
    extra_args: tuple[str, ...]
    launch_timeout: float
    orphan_grace: float
    heartbeat: float
    sandbox: bool = True
    """Chromium's own."""
    log: LogSettings = LogSettings()

    def marks(self) -> dict[str, str]:
        """Environment variables by which the worker and its browser are known."""
        return {
            "WAGUARD_INSTANCE": self.instance,
            "WAGUARD_SESSION": self.session,
            "WAGUARD_GENERATION": str(self.generation),
            "WAGUARD_RECORD": self.record,
        }


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """``<runtime>/workers/<key>.json``: how a worker is known, also to the next daemon."""

    pid: int
    start_time: int
    """Clock ticks since boot: field 22 of /proc/PID/stat."""
    boot_id: str
    instance: str
    session: str
    generation: int
    profile: str
    socket: str
    protocol: int = 1
    """``PROTOCOL`` of the worker; the first version did not write it."""


# daemon → worker


class Hello(Struct, tag="hello", frozen=True, kw_only=True):
    """The first message; a worker of another protocol, session or generation hangs up."""

    protocol: int
    instance: str
    session: str
    generation: int


class _Private(Struct, frozen=True, kw_only=True):
    """Holds what somebody wrote, or what opens a session: no error and no log shows it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class SendText(_Private, tag="text", frozen=True, kw_only=True):
    """Send ``text``; ``message_id`` (``true_<wid>_<ID>``) was chosen before."""

    chat: str
    text: str
    message_id: str
    timeout: float
    quoted: str | None = None
    """The id of the message that this one answers."""
    mentions: tuple[str, ...] = ()
    """Ids of people."""
    aliases: dict[str, tuple[str, ...]] = {}
    """Of those: other ids that they are known by, where the page does not say."""
    first_contact_check: bool = False
    """Refuse a number that has no chat here and no WhatsApp."""
    absent: bool = False
    """It was asked of late: it has none."""
    hold: bool = False
    """Send it only where it is no first contact."""


class SendMedia(_Private, tag="media", frozen=True, kw_only=True):
    """Send a file, as ``SendText``; ``kind`` is image, video, audio or document."""

    chat: str
    content: bytes
    mimetype: str
    kind: str
    message_id: str
    timeout: float
    filename: str | None = None
    caption: str | None = None
    quoted: str | None = None
    mentions: tuple[str, ...] = ()
    aliases: dict[str, tuple[str, ...]] = {}
    first_contact_check: bool = False
    absent: bool = False
    hold: bool = False


class PairingCode(_Private, tag="pairing_code", frozen=True, kw_only=True):
    """Ask WhatsApp for a code that is typed on the phone with this number (digits)."""

    phone: str


class RefreshQr(Struct, tag="refresh_qr", frozen=True, kw_only=True):
    """Show a new QR code."""


class Unlink(Struct, tag="unlink", frozen=True, kw_only=True):
    """Log out at WhatsApp: the phone forgets this device."""


class Screenshot(Struct, tag="screenshot", frozen=True, kw_only=True):
    """A picture of the page."""


class Exists(Struct, tag="exists", frozen=True, kw_only=True):
    """Whether a number has WhatsApp."""

    chat: str


class CatchUp(Struct, tag="catch_up", frozen=True, kw_only=True):
    """Report what the chats have and no event brought; in each chat live messages wait behind it.

    The same asked again while it is being done is one; another takes its place.

    Unix times from which on: ``since`` by chat, ``floor`` for chats that are not in it.
    """

    since: dict[str, int]
    floor: int


class GoOn(Struct, tag="go_on", frozen=True, kw_only=True):
    """Report what comes, and read nothing back: the pairing is too fresh. ``CatchUp`` follows."""


class TakeOver(Struct, tag="take_over", frozen=True, kw_only=True):
    """Use WhatsApp here although another client of this device took the stream."""


class Reload(Struct, tag="reload", frozen=True, kw_only=True):
    """Reload the page; answered when that begins."""


class Acks(Struct, tag="acks", frozen=True, kw_only=True):
    """What the page shows as the acks of these sends; ``aliases``: by id, what else its chat was
    ever called."""

    ids: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]] = {}


class Reread(Struct, tag="reread", frozen=True, kw_only=True):
    """Look up messages that could not be decrypted, and report those that can be read now.

    The ``Value`` says of each id what was found. ``aliases``: by id, what else its chat was ever
    called.
    """

    ids: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]] = {}


class SetLog(Struct, tag="set_log", frozen=True, kw_only=True):
    """Log like this from now on. Only for a worker whose ``Report`` says how it logs."""

    log: LogSettings


Send = SendText | SendMedia
_OfPage = (
    PairingCode
    | RefreshQr
    | Unlink
    | Screenshot
    | Exists
    | CatchUp
    | GoOn
    | Reload
    | TakeOver
    | Acks
    | Reread
)
OfPage = Send | _OfPage
"""What the page has to be there for."""
Operation = _OfPage | SetLog
"""A call that sends nothing: its answer is a ``Value``, or it failed."""
Call = Send | Operation


class Request(Struct, tag="request", frozen=True, kw_only=True):
    """Answered by one ``Reply`` with the same ``id``."""

    id: int
    call: Call


class Stored(Struct, tag="stored", frozen=True, kw_only=True):
    """Every event up to ``seq`` is safe with the daemon."""

    seq: int


class Stop(Struct, tag="stop", frozen=True, kw_only=True):
    """Close Chromium and exit 0."""


FromDaemon = Hello | Request | Stored | Stop


# worker → daemon


class QrCode(_Private, frozen=True, kw_only=True):
    """The code on the screen. ``expires_at`` is unix time in seconds; ``count`` starts at 1."""

    raw: Code
    count: Count
    expires_at: At


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
    socket: Words | None = None
    """WhatsApp's words for its socket and its stream."""
    update_offered: bool = False
    """The page says that there is a newer version of it."""
    passkey_until: At | None = None
    """Unix time until which the account's passkey can be shown; None: nobody asks for it."""
    covered: bool = False
    """A dialog lies over the page."""
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
    exit_code: ExitCode | None = None
    """Of the last report; who adopted the worker learns it from nobody else."""


class Heartbeat(Struct, tag="heartbeat", frozen=True, kw_only=True):
    """Sent every ``heartbeat`` seconds; round trips in seconds, None: no answer in time."""

    devtools: RoundTrip | None
    page: RoundTrip | None
    hopeless: bool = False
    """The page is silent, and its script was ended without effect or its process is stopped."""


class InboundMessage(_Private, tag="message", frozen=True, kw_only=True):
    """A message as the page showed it; ``timestamp`` is unix time in seconds."""

    id: Id
    chat: Chat
    sender: Chat
    to: Chat
    body: Text
    timestamp: AtSecond
    from_me: bool
    kind: Word
    """WhatsApp's word: chat, image, ptt, document, …"""
    sender_name: Name | None = None
    group_name: Name | None = None
    caption: Text | None = None
    mimetype: Word | None = None
    filename: Filename | None = None
    size: Count | None = None
    quoted_id: Id | None = None
    mentioned: Mentioned = ()
    media: File | None = None
    media_error: Words | None = None
    backfilled: bool = False
    """Read from its chat later: no event brought it."""


class Ack(Struct, tag="ack", frozen=True, kw_only=True):
    """WhatsApp's ack: -1 error, 0 pending, 1 server, 2 device, 3 read, 4 played."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=500)]
    chat: Chat
    ack: AckLevel


class Happening(_Private, frozen=True, kw_only=True):
    """What happened beside messages; ``id`` is its own. ``timestamp`` is unix time in seconds."""

    id: Id
    chat: Chat
    sender: Chat
    timestamp: AtSecond


class Edit(Happening, tag="edit", frozen=True, kw_only=True):
    """A message has another text, or its file another caption."""

    message_id: Id
    body: Text
    mentioned: Mentioned = ()


class Revoke(Happening, tag="revoke", frozen=True, kw_only=True):
    """A message was deleted for everybody, by its sender or by an admin of its group."""

    message_id: Id


class Reaction(Happening, tag="reaction", frozen=True, kw_only=True):
    """``text`` is an emoji; empty: the reaction was taken back."""

    message_id: Id
    text: Word


class IncomingCall(Happening, tag="call", frozen=True, kw_only=True):
    """Somebody calls; ``chat`` is the caller also in a group's call."""

    video: bool
    group: bool


class MessageError(_Private, tag="message_error", frozen=True, kw_only=True):
    """What the page reported and could not be read as what it says to be; kept as it came."""

    what: Word
    """message, ack, edit, revoke, reaction or call."""
    id: Id | None
    chat: Chat
    """Empty where it has none."""
    error: Words
    raw: Raw
    """JSON, or as much of it as is kept."""
    digest: Word
    """Of ``raw``: what makes it the same when it is read again and has no id."""


class Undecryptable(Struct, tag="undecryptable", frozen=True, kw_only=True):
    """The page has this message and cannot decrypt it yet; ``timestamp`` is unix time in seconds."""

    id: Id
    chat: Chat
    sender: Chat
    timestamp: AtSecond


class Acquainted(Struct, tag="acquainted", frozen=True, kw_only=True):
    """What the page has learned of people."""

    pairs: Annotated[tuple[tuple[Chat, Chat], ...], Meta(max_length=1_000)] = ()
    """LIDs (``…@lid``), each with its number (``…@c.us``)."""
    asked: Annotated[tuple[tuple[Chat, bool], ...], Meta(max_length=1_000)] = ()
    """Numbers of which WhatsApp was asked, and whether it knows them."""


class BackfillGap(Struct, tag="backfill_gap", frozen=True, kw_only=True):
    """Of this chat not all may have been reported that came since then, or not in order."""

    chat: Chat
    """Empty where even that could not be read."""
    why: Words
    since: AtSecond | None
    """Unix time, where it is known."""


class LoggedOut(Struct, tag="logged_out", frozen=True, kw_only=True):
    """The account was unlinked, by the phone or by ``Unlink``."""

    reason: Word | None = None


class ProfileMended(Struct, tag="profile_mended", frozen=True, kw_only=True):
    """The profile could not be used as it was."""

    done: Annotated[tuple[Words, ...], Meta(max_length=100)]
    """What was done, in words."""
    grave: bool
    """It was replaced, or has lost its session; else what a crash leaves was tidied up."""
    aside: Words | None = None
    """Where the old profile lies now."""


Incoming = (
    InboundMessage | Ack | Edit | Revoke | Reaction | IncomingCall | MessageError | Undecryptable
)
Lasting = Incoming | Acquainted | BackfillGap | LoggedOut | ProfileMended


class Event(Struct, tag="event", frozen=True, kw_only=True):
    """Sent again after a reconnect until ``Stored(seq)``."""

    seq: Count
    at: At
    body: Lasting


class Sent(Struct, tag="sent", frozen=True, kw_only=True):
    """Outcome of a send. ``outcome``: sent (server ack), refused, uncertain (no answer)."""

    outcome: Word
    message_id: Id
    timestamp: AtSecond
    error: Words | None = None
    ack: AckLevel | None = None
    """As the page showed it, where that is uncertain; 0: it waits for the server."""
    standing: Word | None = None
    """What its chat was before (``core.first_contacts.ChatHistory``), where the page said it."""
    thrown: Words | None = None
    """Broken code of the page: what it threw at the send."""


class Value(_Private, tag="value", frozen=True, kw_only=True):
    """Outcome of the other calls: the pairing code, whether a number exists, a PNG, acks by id, what
    a ``Reread`` found by id (words of ``core.undecryptable.Outcome``)."""

    text: Word | None = None
    flag: bool | None = None
    content: bytes | None = None
    acks: dict[Id, AckLevel] | None = None
    found: dict[Id, Word] | None = None


class Failed(Struct, tag="failed", frozen=True, kw_only=True):
    """The call was not done; ``kind`` is not_ready, refused, timeout, error, too_often (WhatsApp's
    429); paused (it is a first contact, and WhatsApp was asked for too many numbers) or held."""

    kind: Word
    error: Words
    field: Word | None = None
    """Of the request; None: no single one is to blame."""
    standing: Word | None = None
    """As ``Sent`` has it."""
    thrown: Words | None = None
    """The same."""


class Reply(Struct, tag="reply", frozen=True, kw_only=True):
    """The answer to ``Request(id)``."""

    id: Count
    outcome: Sent | Value | Failed


FromWorker = Report | Heartbeat | Event | Reply
