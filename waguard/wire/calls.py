"""What the daemon asks of a worker, and what may come of it."""

from typing import Any, Final, Literal

from msgspec import Struct, field

from waguard.wire.bounds import AckLevel, Answer, AtSecond, Id, Private, Raw, RoundTrip, Word, Words
from waguard.wire.events import InboundMessage
from waguard.wire.worker import LogSettings


class SendText(Private, tag="text", frozen=True, kw_only=True):
    """Send ``text``; ``message_id`` (``true_<wid>_<ID>``) was chosen before."""

    chat: str
    text: str
    message_id: str
    timeout: float
    quoted: str | None = None
    """The id of the message that this one answers."""
    mentions: tuple[str, ...] = ()
    """Ids of people."""
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other ids that the mentioned people are known by, where the page does not say."""
    first_contact_check: bool = False
    """Refuse a number that has no chat here and no WhatsApp."""
    absent: bool = False
    """WhatsApp was asked of late: the number has none."""
    hold: bool = False
    """Send it only where it is no first contact."""


class SendMedia(Private, tag="media", frozen=True, kw_only=True):
    """Send a file, as ``SendText``; ``kind`` is image, video, audio, voice (a voice note), sticker
    or document."""

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
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    first_contact_check: bool = False
    absent: bool = False
    hold: bool = False


class SendFile(SendMedia, tag="file", frozen=True, kw_only=True):
    """Send a file that lies on the disk, with an empty ``content``. Only for a worker whose ``Report`` says ``files``."""

    file: str
    """The SHA-256 in the outbox; on the wire an absolute path."""
    size: int
    """Bytes."""


class SendViewOnce(SendMedia, tag="view_once", frozen=True, kw_only=True):
    """Send a file that is shown once. It has a tag of its own: an earlier release would send it as any other."""


class SendContent(Private, tag="content", frozen=True, kw_only=True):
    """Send what is neither text nor file, as ``SendText``; ``content`` are its fields, ``kind`` says what it is."""

    chat: str
    kind: str
    """location, contact, poll; with a ``target`` reaction, edit, revoke."""
    content: dict[str, Any]
    target: str | None = None
    """The id of the message that this changes; None: it is a message itself."""
    message_id: str
    timeout: float
    quoted: str | None = None
    mentions: tuple[str, ...] = ()
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    first_contact_check: bool = False
    absent: bool = False
    hold: bool = False


class MarkSeen(Struct, tag="seen", frozen=True, kw_only=True):
    """Mark a chat as read: its senders see that."""

    chat: str


class ShowTyping(Struct, tag="typing", frozen=True, kw_only=True):
    """Show a chat that somebody types, records, or does so no more (paused)."""

    chat: str
    state: Literal["typing", "recording", "paused"]


class PairingCode(Private, tag="pairing_code", frozen=True, kw_only=True):
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


class Ask(Private, tag="ask", frozen=True, kw_only=True):
    """A question about chats, people or groups, or a change of a group. Only for a worker whose ``Report`` ``answers``."""

    name: str
    """The name of the question in ``worker/page/asking.js``."""
    given: str
    """The arguments of the question: a list in JSON."""
    timeout: float
    changes: bool = False
    """Once it has begun it is never repeated: without an answer nobody knows whether it was done."""


class CatchUp(Struct, tag="catch_up", frozen=True, kw_only=True):
    """Report what the chats have and no event brought; in each chat live messages wait behind it.

    The same asked again while it is being done is one; another takes its place.

    Unix times from which on: ``since`` by chat, ``floor`` for chats that are not in it.
    """

    since: dict[str, int]
    floor: int
    fresh: bool = False
    """The session was paired a moment ago: read as a person would, and no statuses. A call for the rest follows."""


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


class FetchFile(Struct, tag="fetch_file", frozen=True, kw_only=True):
    """Have the browser save a message's file in ``folder``, which is emptied before: ``SAVED`` is all that is in it then.

    Only for a worker whose ``Report`` says ``files``.
    """

    message_id: str
    folder: str
    """An absolute path."""
    limit: int
    """Bytes; a larger one is refused."""
    timeout: float


class PasskeyStart(Struct, tag="passkey_start", frozen=True, kw_only=True):
    """Have the page ask for the account's passkey, and hold its request; one that is held already is the same.

    This and the other calls of a passkey are only for a worker whose ``Report`` has one.
    """


class PasskeyAnswer(Private, tag="passkey_answer", frozen=True, kw_only=True):
    """Answer the request that is held with this ``AuthenticationResponseJSON``, which was checked."""

    request: str
    assertion: dict[str, Any]


class PasskeyConfirm(Private, tag="passkey_confirm", frozen=True, kw_only=True):
    """Confirm the code on the screen, where it is this one."""

    code: str


class PasskeyCancel(Private, tag="passkey_cancel", frozen=True, kw_only=True):
    """Refuse the request that is held, as somebody does who closes the browser's dialog."""

    request: str | None = None
    """Only this one; None: whichever it is."""


class SetLog(Struct, tag="set_log", frozen=True, kw_only=True):
    """Log like this from now on. Only for a worker whose ``Report`` says how it logs."""

    log: LogSettings


SAVED: Final = "file"
"""The name of the file that ``FetchFile`` saves."""
Send = SendText | SendMedia | SendViewOnce | SendFile | SendContent
PasskeyCall = PasskeyStart | PasskeyAnswer | PasskeyConfirm | PasskeyCancel
_OfPage = (
    PairingCode
    | RefreshQr
    | Unlink
    | Screenshot
    | Exists
    | Ask
    | MarkSeen
    | ShowTyping
    | CatchUp
    | Reload
    | TakeOver
    | Acks
    | Reread
    | FetchFile
    | PasskeyCall
)
OfPage = Send | _OfPage
"""What the page has to be there for."""
Operation = _OfPage | SetLog
"""A call that sends nothing: its answer is a ``Value``, or it failed."""
Call = Send | Operation


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
    seen: bool | None = None
    """Whether the page reported it as a message; None: it is no sentinel."""


class PasskeyRequest(Private, frozen=True, kw_only=True):
    """The page's request for the account's passkey."""

    request: Word
    """The id of the request."""
    options: Raw
    """JSON, as the page says it."""
    left: RoundTrip
    """Seconds until the page gives it up."""


class Value(Private, tag="value", frozen=True, kw_only=True):
    """Outcome of the other calls: the pairing code, whether a number exists, a PNG, acks by id, what
    a ``Reread`` found by id (words of ``core.undecryptable.Outcome``), the request for a passkey, and of its other
    calls whether the page still waited for it; the answer to an ``Ask`` in JSON, or messages of a chat, the newest first,
    and ``before`` which further ones are."""

    text: Word | None = None
    flag: bool | None = None
    content: bytes | None = None
    acks: dict[Id, AckLevel] | None = None
    unread: tuple[Id, ...] = ()
    """Ids of ``Acks`` whose ack was not found in time: nothing is known of them."""
    found: dict[Id, Word] | None = None
    passkey: PasskeyRequest | None = None
    answer: Answer | None = None
    messages: tuple[InboundMessage, ...] = ()
    before: Id | None = None


class Failed(Struct, tag="failed", frozen=True, kw_only=True):
    """The call was not done; ``kind`` is not_ready, refused, timeout, error, too_often (WhatsApp's
    429); paused (it is a first contact, and WhatsApp was asked for too many numbers) or held; no_passkey (the page asks for
    none); of an ``Ask`` absent (the page has no such chat), later (WhatsApp failed) or uncertain."""

    kind: Word
    error: Words
    field: Word | None = None
    """The field of the request; None: no single one is to blame."""
    standing: Word | None = None
    """As ``Sent`` has it."""
    thrown: Words | None = None
    """As ``Sent`` has it."""
