"""Who of a group has got, read or played a message: each once a level."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.sent_events import ack_of
from waguard.ports.outbox import Reader
from waguard.store.models import READERS
from waguard.store.types import length_of, storable

_AT_ONCE: Final = 500
_OWN: Final = READERS.c


async def record(connection: AsyncConnection, acks: Sequence[InboxRecord]) -> None:
    """Keep those that name a reader, as far as they are not kept."""
    said: dict[tuple[str, str, str, int], float] = {}
    for one in acks:
        if one.reader is not None:
            message_id, ack = ack_of(one)
            reader = storable(one.reader, length_of(_OWN.reader.type))
            said.setdefault((one.session_id, storable(message_id), reader, ack), one.at)
    about = sorted({(session_id, message_id) for session_id, message_id, *_ in said})
    for start in range(0, len(about), _AT_ONCE):
        some = about[start : start + _AT_ONCE]
        query = select(_OWN.session_id, _OWN.message_id, _OWN.reader, _OWN.ack).where(
            _OWN.message_id.in_({message_id for _, message_id in some})
        )
        for row in await connection.execute(query):
            said.pop((row.session_id, row.message_id, row.reader, row.ack), None)
    names = ("session_id", "message_id", "reader", "ack")
    if rows := [dict(zip(names, one, strict=True)) | {"at": at} for one, at in said.items()]:
        await connection.execute(insert(READERS), rows)


async def of(connection: AsyncConnection, session_id: str, message_id: str) -> list[Reader]:
    """As ``ports.outbox.OutboxStore`` has it."""
    same = (_OWN.session_id == session_id) & (_OWN.message_id == storable(message_id))
    query = select(_OWN.reader, _OWN.ack, _OWN.at).where(same).order_by(_OWN.id)
    return [Reader(**row._asdict()) for row in await connection.execute(query)]
