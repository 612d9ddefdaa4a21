"""Whether the receiver has stored a message, by the column in which it keeps WhatsApp's ids. Pure.

A 2xx says that the receiver's web server answered; the row says that the message is stored. What cannot be
looked up is unknown, and unknown is neither stored nor missing.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.replace import replace

INBOUND: Final = "inbound"
"""What the column ``type`` says of a received message."""
TYPE: Final = "type"
ACCOUNT: Final = "whatsapp_account_id"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # PostgreSQL's limit is 63, MySQL's 64
_OWN: Final = "waguard_"

Message = tuple[str, str]
"""The session that received it, and its id as the webhook has it."""


class StoredKey(Struct, frozen=True):
    """``webhook.stored``: table and column in waguard's own database."""

    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


DROP_IN: Final = StoredKey("chats", "whatsapp_message_id")
"""Where the application that the old service served keeps them."""


def parse(text: str) -> StoredKey:
    """``table.column``. Raises ``ValueError``, which says what is wrong."""
    table, dot, column = text.partition(".")
    if not dot:
        raise ValueError("it names no column")
    for name in (table, column):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a table or column")
    if table.lower().startswith(_OWN):
        raise ValueError("it names a table of waguard, not of the receiver")
    return StoredKey(table, column)


class Unknown(Struct, frozen=True):
    """The database did not say. ``reason``: why, in words."""

    reason: str
    passes: bool = False
    """The database as a whole is away: it says later."""
    late: bool = False
    """No answer came in time: waguard or the machine may have stood still, or the statement takes that long."""


class Presence(Enum):
    """Whether one message is in the receiver's table."""

    STORED = auto()
    MISSING = auto()
    UNKNOWN = auto()
    """The id cannot be looked up exactly: the message counts as without ``webhook.stored``."""


class Row(Struct, frozen=True):
    """A row that the look-up found. ``session`` is that of the row's account. None: the row says
    nothing."""

    message_id: str
    type: str | None = None
    session: str | None = None


class Columns(Struct, frozen=True, kw_only=True):
    """What the receiver's table has."""

    length: int | None = None
    """Characters that the column of ids holds; None: no limit that matters."""
    has_type: bool = False
    has_account: bool = False


def kept_as(message_id: str, columns: Columns) -> str | None:
    """The value that the column has where the message is stored; None: it cannot be looked up.

    A database that is not strict cuts what is too long. An id that is not printable ASCII is none of
    WhatsApp's: another character set would make the database convert, and scan, the column.
    """
    if not message_id or not message_id.isascii() or not message_id.isprintable():
        return None
    return message_id[: columns.length]


def received(
    messages: Iterable[Message], rows: Iterable[Row], columns: Columns
) -> Mapping[Message, Presence]:
    """A row counts where it is inbound and of this session's account, as far as the table says so: the
    same group message comes to two of our numbers under one id. Ids are compared exactly, whatever the
    database's collation."""
    there = {
        (row.session if columns.has_account else None, row.message_id)
        for row in rows
        if not columns.has_type or row.type == INBOUND
    }
    return {
        (session, found): _presence(session if columns.has_account else None, found, there, columns)
        for session, found in messages
    }


def sent(
    message_ids: Iterable[str], rows: Iterable[Row], columns: Columns
) -> Mapping[str, Presence]:
    """Whether what was sent is there. Any row counts: the application files it under the account of its choice."""
    ids = {(None, row.message_id) for row in rows}
    return {found: _presence(None, found, ids, columns) for found in message_ids}


def _presence(
    session: str | None,
    message_id: str,
    there: Collection[tuple[str | None, str]],
    columns: Columns,
) -> Presence:
    value = kept_as(message_id, columns)
    if value is None:
        return Presence.UNKNOWN
    return Presence.STORED if (session, value) in there else Presence.MISSING


# ---- on, and switched off where it fails ----


class Pace(Struct, frozen=True, kw_only=True):
    """Seconds: the look-up is checked each ``every`` while it works, after ``least``, doubled up to
    ``every``, while it does not. One that is late is taken to pass for ``every``."""

    every: float = 60.0
    least: float = 5.0


class Switch(Struct, frozen=True, kw_only=True):
    """Whether the look-up may be used. Times are monotonic seconds."""

    off: Unknown | None = Unknown("it was not checked yet")
    since: float | None = None
    """Since when it fails; None: it works, or nothing is known yet."""
    failures: int = 0
    next_check: float = 0.0


def checked(pace: Pace, switch: Switch, why: Unknown | None, *, now: float) -> Switch:
    """After a check, or a look-up that failed; ``why`` None: it works."""
    if why is None:
        return Switch(off=None, next_check=now + pace.every)
    if switch.since is not None and now < switch.next_check:
        return switch  # it began before the one that switched it off
    since = now if switch.since is None else switch.since
    if why.late:  # whoever drops a message in such a moment answers 2xx; what stays slow must not stop all deliveries
        why = replace(why, passes=now - since < pace.every)
    # what passes holds deliveries up, and is over soon
    pause = pace.least if why.passes else backoff(pace.least, switch.failures, longest=pace.every)
    return replace(
        switch,
        off=why,
        since=since,
        failures=switch.failures + 1,
        next_check=now + pause,
    )
