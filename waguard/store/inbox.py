"""The inbox: what was received, a row each, once."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import Text, func, select, tuple_, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.store.models import INBOX
from waguard.store.types import length_of, storable

_KEYS_AT_ONCE: Final = 1_000
_WITH_FILES: Final = (Kind.MESSAGE.value, Kind.SENT.value)


async def known_keys(
    connection: AsyncConnection, keys: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those sessions' keys that are in the inbox already."""
    wanted = list(dict.fromkeys((session_id, storable(key)) for session_id, key in keys))
    known: set[tuple[str, str]] = set()
    own = INBOX.c
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        some = tuple_(own.session_id, own.key).in_(wanted[start : start + _KEYS_AT_ONCE])
        found = await connection.execute(select(own.session_id, own.key).where(some))
        known |= {(row.session_id, row.key) for row in found}
    return known


def row(received: InboxRecord, now: float) -> dict[str, Any]:
    """What is stored of it."""
    return {
        "session_id": received.session_id,
        "key": storable(received.key),
        "workspace_id": received.workspace_id,
        "kind": received.kind.value,
        "chat": received.chat and storable(received.chat, length_of(INBOX.c.chat.type)),
        "at": received.at,
        "stored_at": now,
        "backfilled": received.backfilled,
        "payload": received.payload(),
    }


async def has_file(connection: AsyncConnection, name: str, sessions: Collection[str]) -> bool:
    """Whether a message of one of these sessions came with the file."""
    own = INBOX.c
    theirs = own.session_id.in_(sorted(sessions)) & own.kind.in_(_WITH_FILES)
    # a text that reads like this has backslashes before its quotes
    named = type_coerce(own.payload, Text).contains(f'"sha256": "{name}"', autoescape=True)
    found = await connection.execute(select(own.id).where(theirs, named).limit(1))
    return found.first() is not None


async def newest_by_chat(
    connection: AsyncConnection, sessions: Collection[str], after: float
) -> dict[str, dict[str, float]]:
    """By session: the time of each chat's newest message, where it came after then; unix times."""
    # the index has all but the kind: so it is read for the chats, and of each the end. One GROUP BY
    # with the kind would have to read every row
    own, one = INBOX.c, INBOX.alias().c
    theirs = own.session_id.in_(sessions) & own.chat.is_not(None)
    some = (
        select(own.session_id, own.chat)
        .where(theirs)
        .group_by(own.session_id, own.chat)
        .having(func.max(own.at) >= after)
        .subquery()
    )
    last = (
        select(one.at)
        .where(one.session_id == some.c.session_id, one.chat == some.c.chat, one.at >= after)
        .where(one.kind == Kind.MESSAGE.value)
        .order_by(one.at.desc())
        .limit(1)
    )
    query = select(some.c.session_id, some.c.chat, last.scalar_subquery())
    newest: dict[str, dict[str, float]] = {}
    for session_id, chat, at in await connection.execute(query):
        if at is not None:
            newest.setdefault(session_id, {})[chat] = float(at)
    return newest
