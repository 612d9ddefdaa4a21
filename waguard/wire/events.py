"""What happened at a worker: numbered, and sent again until it is stored."""

from typing import Annotated

from msgspec import Meta, Struct

from waguard.wire.bounds import (
    AckLevel,
    At,
    AtSecond,
    Chat,
    Content,
    Count,
    File,
    Filename,
    Id,
    Mentioned,
    Name,
    Participants,
    Private,
    Raw,
    Text,
    Word,
    Words,
)


class InboundMessage(Private, tag="message", frozen=True, kw_only=True):
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
    participants: Participants = ()
    """The participants of the group, as far as the page knows them."""
    caption: Text | None = None
    mimetype: Word | None = None
    filename: Filename | None = None
    size: Count | None = None
    quoted_id: Id | None = None
    mentioned: Mentioned = ()
    media: File | None = None
    media_error: Words | None = None
    deferred: bool = False
    """The file does not come with its message: it is too large or slow, failed, or had no room. ``FetchFile`` fetches it. ``media_error`` is for a daemon that knows no such call."""
    backfilled: bool = False
    """Read from its chat later: no event brought it."""
    content: Content | None = None
    """JSON of what it has beside its text, by what it is (``worker/page/message_content.py``)."""


class Ack(Struct, tag="ack", frozen=True, kw_only=True):
    """WhatsApp's ack: -1 error, 0 pending, 1 server, 2 device, 3 read, 4 played."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=500)]
    chat: Chat
    ack: AckLevel


class Happening(Private, frozen=True, kw_only=True):
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


class MessageError(Private, tag="message_error", frozen=True, kw_only=True):
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
    """A digest of ``raw``: what makes it the same when it is read again and has no id."""


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
    """Not all of this chat may have been reported that came since then, or not in order."""

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
    """The profile was replaced, or has lost its session; else what a crash leaves was tidied up."""
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
