"""Files that are fetched after their messages: a row each, from the message's own transaction on."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.inbox import InboxRecord, Kind, fitting, sent_key
from waguard.core.messages.received_media import UNKNOWN, handle_of
from waguard.ports.messages import DeferredFile, FileState, NamedFile
from waguard.store import owned
from waguard.store.database import Database
from waguard.store.engine import commit_with_next
from waguard.store.models import FILES, INBOX
from waguard.store.types import storable

ERROR_LIMIT: Final = 1_000  # characters
_OWN: Final = FILES.c
_WITH_FILES: Final = (Kind.MESSAGE.value, Kind.SENT.value)
_FOUND: Final = select(*(column for column in FILES.c if column.name not in {"id", "inbox_key"}))


async def remember(
    connection: AsyncConnection, received: Iterable[InboxRecord], now: float
) -> None:
    """Keep which files are still to be fetched."""
    for one in received:
        if it := one.deferred:
            await _put(
                connection, one.session_id, one.key, it.message_id, it.mimetype, it.size, now
            )


async def _put(
    connection: AsyncConnection,
    session_id: str,
    key: str,
    message_id: str,
    mimetype: str,
    size: int | None,
    now: float,
) -> str:
    """Have it wait, for the first time or again; its handle."""
    handle = handle_of(session_id, message_id)
    fresh = {"state": FileState.WAITING, "tries": 0, "sha256": None, "error": None, "at": now}
    again = update(FILES).where(_OWN.handle == handle).values(fresh)
    if not (await connection.execute(again)).rowcount:
        row: dict[str, Any] = {
            "session_id": session_id,
            "inbox_key": storable(key),
            "handle": handle,
            "message_id": storable(message_id),
            "mimetype": storable(mimetype),
            "size": size,
        }
        await connection.execute(insert(FILES).values(row | fresh))
    return handle


class SqlDeferredFiles:
    """``ports.messages.DeferredFiles``; a part of ``SqlMessages``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deferred_file(self, handle: str) -> DeferredFile | None:
        return await self._one(_FOUND.where(_OWN.handle == handle))

    async def files_to_fetch(self) -> list[DeferredFile]:
        # what has failed waits behind what was not tried
        place = func.row_number().over(partition_by=_OWN.session_id, order_by=(_OWN.tries, _OWN.id))
        waiting = select(_OWN.id, place.label("place")).where(_OWN.state == FileState.WAITING)
        waiting = owned.only(self._database.owning(), waiting, _OWN.session_id)
        ranked = waiting.subquery()
        first = select(ranked.c.id).where(ranked.c.place == 1)
        async with self._database.reading() as (connection, _):
            commit_with_next(connection)
            found = await connection.execute(_FOUND.where(_OWN.id.in_(first)).order_by(_OWN.id))
            return [_file(row) for row in found]

    async def begin_file(self, handle: str) -> None:
        await self._set(handle, tries=_OWN.tries + 1)

    async def end_file(
        self, handle: str, *, sha256: str | None = None, error: str | None = None
    ) -> None:
        state = FileState.FAILED if sha256 is None else FileState.KEPT
        shown = error and storable(error, ERROR_LIMIT)
        await self._set(handle, state=state, sha256=sha256, error=shown)

    async def named_file(self, message_id: str, sessions: Collection[str]) -> NamedFile | None:
        keys = [storable(fitting(message_id)), storable(sent_key(message_id))]
        own = INBOX.c
        query = select(own.session_id, own.key, own.payload).where(
            own.session_id.in_(sorted(sessions)), own.key.in_(keys), own.kind.in_(_WITH_FILES)
        )
        async with self._database.reading() as (connection, _):
            row = (await connection.execute(query.limit(1))).first()
            if row is None:
                return None
            its = (_OWN.session_id == row.session_id) & (_OWN.inbox_key == row.key)
            found = (await connection.execute(_FOUND.where(its))).first()
        media = (row.payload.get("message") or {}).get("media")
        if not media:
            return None
        return NamedFile(
            session_id=row.session_id,
            key=row.key,
            message_id=row.payload.get("raw_id") or message_id,
            mimetype=media.get("mimetype") or UNKNOWN,
            size=media.get("size"),
            sha256=media.get("sha256"),
            deferred=_file(found) if found else None,
        )

    async def fetch_again(self, file: NamedFile) -> str:
        now = self._database.wall()
        raw = file.deferred.message_id if file.deferred else file.message_id
        async with self._database.writing() as work:
            await work.own(file.session_id)
            return await _put(
                work.connection, file.session_id, file.key, raw, file.mimetype, file.size, now
            )

    async def _one(self, query: Select[Any]) -> DeferredFile | None:
        async with self._database.reading() as (connection, _):
            row = (await connection.execute(query)).first()
            return _file(row) if row else None

    async def _set(self, handle: str, **values: Any) -> None:
        async with self._database.writing() as work:
            if work.owning is not None:
                whose = select(_OWN.session_id).where(_OWN.handle == handle)
                if session_id := await work.connection.scalar(whose):
                    await work.own(session_id)
            await work.connection.execute(
                update(FILES).where(_OWN.handle == handle).values(**values)
            )


def _file(row: Row[Any]) -> DeferredFile:
    return DeferredFile(**{**row._mapping, "state": FileState(row.state)})  # noqa: SLF001 - its public mapping
