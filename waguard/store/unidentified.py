"""Webhooks of people whose number nobody knows: the application loses what comes from a bare LID.

Each is a row of its own, kept as a dead letter that is listed only after a while, and is queued under
the number as soon as that is known. So a chat that waits takes no memory, and survives everything.
"""

import json
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages import naming
from waguard.core.messages.inbox import fitting, sent_key
from waguard.core.messages.message_ids import message_aliases
from waguard.core.messages.people import People
from waguard.core.webhooks.delivery import UNIDENTIFIED_AFTER, Cause
from waguard.ports.webhooks import UnidentifiedChat
from waguard.store.models import DELIVERIES, INBOX
from waguard.store.people import Pair
from waguard.store.types import length_of, storable

WHY: Final = "the phone number of this LID is not known"
_OWN: Final = DELIVERIES.c
WAITS: Final[ColumnElement[bool]] = (_OWN.state == "dead") & (
    func.coalesce(_OWN.cause, "") == Cause.UNIDENTIFIED
)
_ROWS_AT_ONCE: Final = 100
_CHATS_AT_ONCE: Final = 1_000
# built once: a first report of a session's people has hundreds
_WAITING: Final = select(_OWN.id).where(
    WAITS,
    _OWN.session_id == bindparam("session"),
    _OWN.lane.in_(bindparam("chats", expanding=True)),
)


def parked(now: float) -> dict[str, Any]:
    """What the row of one says that waits for a number."""
    due = now + UNIDENTIFIED_AFTER
    return {"state": "dead", "cause": Cause.UNIDENTIFIED, "last_error": WHY, "died_at": due}


def is_listed(now: float) -> ColumnElement[bool]:
    """Whether a dead letter is shown."""
    return or_(~WAITS, func.coalesce(_OWN.died_at, 0.0) <= now)


def of_chat(session_id: str, chat: str) -> ColumnElement[bool]:
    """What waits in one chat."""
    waits_in = storable(chat, length_of(_OWN.lane.type))
    return WAITS & (_OWN.session_id == session_id) & (_OWN.lane == waits_in)


async def chats(connection: AsyncConnection, now: float) -> list[UnidentifiedChat]:
    """As ``ports.messages.MessageStore`` has it."""
    since = func.min(_OWN.created_at)
    query = (
        select(_OWN.session_id, _OWN.lane, since, func.count())
        .where(WAITS)
        .group_by(_OWN.session_id, _OWN.lane)
        .having(func.min(_OWN.died_at) <= now)
        .order_by(since, _OWN.session_id, _OWN.lane)
    )
    return [UnidentifiedChat(*row) for row in await connection.execute(query)]


async def queue_known(
    connection: AsyncConnection, pairs: Sequence[Pair], people: dict[str, People], now: float
) -> set[str]:
    """Queue what waited for these numbers; the endpoints that have more to deliver."""
    endpoints: set[str] = set()
    lids: dict[str, list[str]] = {}
    for session_id, lid, _ in pairs:
        lids.setdefault(session_id, []).append(lid)
    for session_id, some in lids.items():
        numbers = await _waiting(connection, session_id, some)
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            chosen = WAITS & _OWN.id.in_(numbers[start : start + _ROWS_AT_ONCE])
            query = select(DELIVERIES).where(chosen).order_by(_OWN.id)
            found = [row._asdict() for row in await connection.execute(query)]
            endpoints |= await _queue(connection, session_id, found, people[session_id], now)
    return endpoints


async def _waiting(
    connection: AsyncConnection, session_id: str, lids: Sequence[str]
) -> Sequence[int]:
    """The ids of what waits for any of these, asked for at once: mostly nothing does."""
    waits_in = [storable(lid, length_of(_OWN.lane.type)) for lid in lids]
    found: list[int] = []
    for start in range(0, len(waits_in), _CHATS_AT_ONCE):
        named = {"session": session_id, "chats": waits_in[start : start + _CHATS_AT_ONCE]}
        found += await connection.scalars(_WAITING, named)
    return sorted(found)


async def _queue(
    connection: AsyncConnection,
    session_id: str,
    found: Sequence[dict[str, Any]],
    people: People,
    now: float,
) -> set[str]:
    """With new ids, at the end of the queue, but for what is known under the number already: all at once, for
    nobody else can write meanwhile."""
    numbers = [values.pop("id") for values in found]
    await connection.execute(delete(DELIVERIES).where(_OWN.id.in_(numbers)))
    again = {"state": "pending", "cause": None, "last_error": None, "died_at": None}
    times = {"attempts": 0, "next_at": now, "created_at": now}
    events = [json.loads(values["body"]) for values in found]
    for event in events:
        _rename(event["data"], people)
    keys = [
        _keys(one["event"], event["data"], people) for one, event in zip(found, events, strict=True)
    ]
    is_news = await _rename_rows(connection, session_id, keys)
    queued = []
    for values, event in compress(zip(found, events, strict=True), is_news):
        partition = storable(people.number(values["lane"]), length_of(_OWN.lane.type))
        body = {"body": msgspec.json.encode(event), "lane": partition}
        queued.append(values | again | times | body)
    if queued:
        await connection.execute(insert(DELIVERIES), queued)
    return {values["endpoint"] for values in queued}


def _rename(data: dict[str, Any], people: People) -> None:
    """Put numbers into it."""
    for part in (data, data.get("message")):
        if not isinstance(part, dict):
            continue
        sender = part.get("from") if part.get("group_id") is None else None
        part.update(naming.numbered(part, people, sender))
        for name in ("id", "message_id"):
            if isinstance(part.get(name), str):
                part[name] = message_aliases(part[name], people)[0]


def _keys(event: str, data: dict[str, Any], people: People) -> tuple[str, set[str]] | None:
    """The inbox's key of a message as the application hears it, and those of its other aliases; None: it is about another
    message."""
    message = data.get("message")
    if event not in {"message_received", "message_sent"} or not isinstance(message, dict):
        return None
    key_of = sent_key if event == "message_sent" else fitting
    wanted = storable(key_of(message["id"]))
    aliases = message_aliases(message["id"], people)
    return wanted, {storable(key_of(one)) for one in aliases} - {wanted}


async def _rename_rows(
    connection: AsyncConnection, session_id: str, keys: Sequence[tuple[str, set[str]] | None]
) -> list[bool]:
    """Store rows by the ids that the application hears, as what is about them comes under those. Of each whether it is
    news: the same message was not reported under another alias."""
    asked = {key for it in keys if it for key in (it[0], *it[1])}
    mine = INBOX.c.session_id == session_id
    query = select(INBOX.c.key).where(mine, INBOX.c.key.in_(asked))
    stored = set(await connection.scalars(query)) if asked else set()
    renamed, is_news = [], []
    for it in keys:
        wanted, others = it or ("", set())
        known = others & stored
        # a stored one was reported so already, or this is another receiver's copy of the one renamed before
        is_news.append(wanted not in stored or not known)
        if known and wanted not in stored:
            renamed += [{"old": key, "new": wanted} for key in known]
            stored = (stored - known) | {wanted}
    if renamed:
        same = update(INBOX).where(mine, INBOX.c.key == bindparam("old"))
        await connection.execute(same.values(key=bindparam("new")), renamed)
    return is_news
