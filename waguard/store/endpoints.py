"""Sessions' own receivers of webhooks: rows of ``waguard_endpoints``."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.webhooks.delivery import OLD_SERVICE, MessageFields
from waguard.ports.webhooks import Endpoint
from waguard.store.database import Database
from waguard.store.models import ENDPOINTS


class SqlEndpoints:
    """A part of ``ports.messages.MessageStore``; ``turn`` is everybody's who writes messages."""

    def __init__(self, database: Database, turn: asyncio.Lock) -> None:
        self._database = database
        self._turn = turn

    async def endpoints(self) -> list[Endpoint]:
        async with self._database.reading() as (connection, _):
            found = await connection.execute(select(ENDPOINTS).order_by(ENDPOINTS.c.session_id))
            return [_endpoint(row._asdict()) for row in found]

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        async with self._turn, self._database.writing() as work:
            new = {
                "url": endpoint.url,
                "secret": endpoint.secret,
                "hold": endpoint.hold,
                "events": list(endpoint.events),
                "fields": str(endpoint.fields),
                "updated_at": work.now,
            }
            same = ENDPOINTS.c.session_id == endpoint.session_id
            written = await work.connection.execute(update(ENDPOINTS).where(same).values(new))
            if not written.rowcount:
                new["session_id"] = endpoint.session_id
                await work.connection.execute(insert(ENDPOINTS).values(new))

    async def delete_endpoint(self, session_id: str) -> bool:
        async with self._turn, self._database.writing() as work:
            same = ENDPOINTS.c.session_id == session_id
            gone = await work.connection.execute(delete(ENDPOINTS).where(same))
            return bool(gone.rowcount)


async def wanted_events(
    connection: AsyncConnection, sessions: set[str]
) -> dict[str, Collection[str]]:
    """The events that sessions' own receivers get."""
    own = ENDPOINTS.c
    query = select(own.session_id, own.events).where(own.session_id.in_(sorted(sessions)))
    return {
        row.session_id: OLD_SERVICE if row.events is None else frozenset(row.events)
        for row in await connection.execute(query)
    }


def _endpoint(row: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        session_id=row["session_id"],
        url=row["url"],
        secret=row["secret"],
        hold=row["hold"] is not False,
        events=OLD_SERVICE if row["events"] is None else tuple(row["events"]),
        fields=MessageFields.ALL
        if row["fields"] == MessageFields.ALL
        else MessageFields.APPLICATION,
    )
