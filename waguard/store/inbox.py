"""The inbox: what was received, a row each, once."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.ports.messages import Entry
from waguard.store.derived_events import DerivedEvents
from waguard.store.models import INBOX
from waguard.store.types import length_of, storable

_KEYS_AT_ONCE: Final = 1_000


async def known_keys(
    connection: AsyncConnection, keys: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those sessions' keys that are in the inbox already."""
    asked: dict[str, dict[str, None]] = {}
    for session_id, key in keys:
        asked.setdefault(session_id, {})[storable(key)] = None
    known: set[tuple[str, str]] = set()
    for session_id, some in asked.items():
        wanted = list(some)
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            query = select(INBOX.c.key).where(
                INBOX.c.session_id == session_id,
                INBOX.c.key.in_(wanted[start : start + _KEYS_AT_ONCE]),
            )
            known |= {(session_id, key) for key in (await connection.scalars(query)).all()}
    return known


def is_news(entry: Entry, known: set[tuple[str, str]], also: DerivedEvents) -> bool:
    """Whether it is to be stored in the inbox."""
    received = entry.received
    if received.kind in {Kind.PEOPLE, Kind.UNDECRYPTABLE}:
        return False
    keys = (received.key, *received.unless)
    if also.is_own(received):
        return False
    if any((received.session_id, storable(key)) in known for key in keys):
        return False
    known.add((received.session_id, storable(received.key)))
    return True


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


async def newest_by_chat(
    connection: AsyncConnection, session_id: str, after: float
) -> Mapping[str, float]:
    """The time of each chat's newest message, where it came after then; unix times."""
    # the index has all but the kind: so it is read for the chats, and of each the end. One GROUP BY
    # with the kind would have to read every row
    own, one = INBOX.c, INBOX.alias().c
    mine = (own.session_id == session_id) & own.chat.is_not(None)
    chats = select(own.chat).where(mine).group_by(own.chat).having(func.max(own.at) >= after)
    some = chats.subquery()
    last = (
        select(one.at)
        .where(one.session_id == session_id, one.chat == some.c.chat, one.at >= after)
        .where(one.kind == Kind.MESSAGE.value)
        .order_by(one.at.desc())
        .limit(1)
    )
    query = select(some.c.chat, last.scalar_subquery())
    found = await connection.execute(query)
    return {chat: float(at) for chat, at in found if at is not None}
