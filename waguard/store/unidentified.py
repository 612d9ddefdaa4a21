"""Webhooks of people whose number nobody knows: the application loses what comes from a bare LID.

Each is a row of its own, kept as a dead letter that is listed only after a while, and is queued under
the number as soon as that is known. So a chat that waits takes no memory, and survives everything.
"""

import json
from collections.abc import Sequence
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
_LANES_AT_ONCE: Final = 1_000
# built once: a first report of a session's people has hundreds
_WAITING: Final = select(_OWN.id).where(
    WAITS,
    _OWN.session_id == bindparam("session"),
    _OWN.lane.in_(bindparam("lanes", expanding=True)),
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
        for number in await _waiting(connection, session_id, some):
            query = select(DELIVERIES).where(_OWN.id == number)
            row = (await connection.execute(query)).one()
            values = dict(row._mapping)  # noqa: SLF001 - the public name of its columns
            if await _queue(connection, values, people[session_id], now):
                endpoints.add(values["endpoint"])
    return endpoints


async def _waiting(
    connection: AsyncConnection, session_id: str, lids: Sequence[str]
) -> Sequence[int]:
    """The ids of what waits for any of these, asked for at once: mostly nothing does."""
    lanes = [storable(lid, length_of(_OWN.lane.type)) for lid in lids]
    found: list[int] = []
    for start in range(0, len(lanes), _LANES_AT_ONCE):
        named = {"session": session_id, "lanes": lanes[start : start + _LANES_AT_ONCE]}
        found += await connection.scalars(_WAITING, named)
    return sorted(found)


async def _queue(
    connection: AsyncConnection, values: dict[str, Any], people: People, now: float
) -> bool:
    """With a new id, at the end of the queue; False: it is known under the number already."""
    await connection.execute(delete(DELIVERIES).where(_OWN.id == values.pop("id")))
    event = json.loads(values["body"])
    data = event["data"]
    if not await _rename(connection, values["session_id"], values["event"], data, people):
        return False
    values["body"] = msgspec.json.encode(event)
    values["lane"] = storable(people.number(values["lane"]), length_of(_OWN.lane.type))
    again = {"state": "pending", "cause": None, "last_error": None, "died_at": None}
    times = {"attempts": 0, "next_at": now, "created_at": now}
    await connection.execute(insert(DELIVERIES).values(values | again | times))
    return True


async def _rename(
    connection: AsyncConnection, session_id: str, event: str, data: dict[str, Any], people: People
) -> bool:
    """Put numbers into it; False: the same message was reported under another alias."""
    for part in (data, data.get("message")):
        if not isinstance(part, dict):
            continue
        sender = part.get("from") if part.get("group_id") is None else None
        part.update(naming.numbered(part, people, sender))
        for name in ("id", "message_id"):
            if isinstance(part.get(name), str):
                part[name] = message_aliases(part[name], people)[0]
    message = data.get("message")
    if event not in {"message_received", "message_sent"} or not isinstance(message, dict):
        return True
    return await _rename_row(connection, session_id, event, message["id"], people)


async def _rename_row(
    connection: AsyncConnection, session_id: str, event: str, message_id: str, people: People
) -> bool:
    """Store a row by the id that the application hears, as what is about it comes under that."""
    key_of = sent_key if event == "message_sent" else fitting
    wanted = storable(key_of(message_id))
    others = {storable(key_of(one)) for one in message_aliases(message_id, people)} - {wanted}
    mine = INBOX.c.session_id == session_id
    if await connection.scalar(select(INBOX.c.id).where(mine, INBOX.c.key == wanted)):
        # it was reported so already, or this is another receiver's copy of the one renamed before
        return not await connection.scalar(select(INBOX.c.id).where(mine, INBOX.c.key.in_(others)))
    renamed = update(INBOX).where(mine, INBOX.c.key.in_(others)).values(key=wanted)
    await connection.execute(renamed)
    return True
