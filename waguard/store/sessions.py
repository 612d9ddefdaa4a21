"""Sessions in the database: the application's row of each, and waguard's own."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.send_states import ABANDONED, State
from waguard.core.row_status import LEFT, Status
from waguard.errors import InvalidInputError, NoObjectError, SessionIdTakenError, WaguardError
from waguard.ports.store import SessionRow
from waguard.store import marker
from waguard.store.database import Database
from waguard.store.failures import is_refusal
from waguard.store.layout import Layout
from waguard.store.models import ACCOUNTS, EVENTS, OUTBOX
from waguard.store.rows import listed, session_row
from waguard.store.types import length_of, storable


class SqlSessions:
    """The part of ``ports.store.Store`` that has rows of sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sessions(self) -> list[SessionRow]:
        """By id. Rows without an id or a workspace are no sessions.

        Raises ``DatabaseUnknownError`` where they are not known to be ours.
        """
        found, owning = await self.sessions_of_all_hosts(), self._database.owning()
        return [row for row in found if owning is None or row.session_id in owning.epochs]

    async def sessions_of_all_hosts(self) -> list[SessionRow]:
        """Raises as ``sessions``."""
        async with self._database.reading() as (connection, layout):
            query = listed(layout).order_by(layout.accounts.c.session_id)
            found = [session_row(row) for row in await connection.execute(query)]
            marked = await marker.read(connection)
        self._database.recognize(self._database.found(marked, rows=len(found)))
        return found

    async def session(self, session_id: str) -> SessionRow | None:
        async with self._database.reading() as (connection, layout):
            query = listed(layout).where(layout.is_session(session_id))
            row = (await connection.execute(query)).first()
            return session_row(row) if row is not None else None

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> SessionRow:
        """As the port says. The status of a row that the application made stays as it is.

        Raises ``InvalidInputError`` for an id that the table cannot hold, ``SessionIdTakenError``
        also for another provider's, ``WaguardError`` where the application's table refuses the row.
        """
        try:
            return await self._create(session_id, workspace_id, account_id, priority)
        except IntegrityError:
            # most likely somebody else inserted it a moment ago: now it can be taken over
            pass
        except DBAPIError as error:
            raise _refused(session_id, error) from error
        try:
            return await self._create(session_id, workspace_id, account_id, priority)
        except DBAPIError as error:
            raise _refused(session_id, error) from error

    async def _create(
        self, session_id: str, workspace_id: int, account_id: int | None, priority: int
    ) -> SessionRow:
        async with self._database.writing() as work:
            _require_storable(session_id, work.layout)
            await work.own_new(session_id)
            session = await work.lock(session_id)
            is_known = session is not None and session.row.connected_at is not None
            if session is None and not await work.resembles(session_id):
                await work.insert(session_id, workspace_id)
                # again: an older row of ours may know its generation
                session = await work.lock(session_id)
            if session is None or not session.ours or session.row.workspace_id != workspace_id:
                raise SessionIdTakenError(
                    "the id belongs to another workspace", field="session_id", value=session_id
                )
            own: dict[str, Any] = {"priority": priority}
            if session.deleted or session.row.removed_at:
                await work.revive(session)
            elif session.row.status == Status.QR_SCANNING and not is_known:
                own["unpaired"] = True
            if account_id is not None:
                own["account_id"] = account_id
            await work.want(session, up=True, generation=session.row.generation + 1, **own)
            return await work.read(session_id)

    async def set_desired(self, session_id: str, *, up: bool) -> SessionRow | None:
        async with self._database.writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            if up and session.row.removed_at:
                await work.revive(session)
            newer = session.row.generation + (up and not session.row.desired_up)
            await work.want(session, up=up, generation=newer)
            return await work.read(session_id)

    async def leave(self, session_id: str, *, removed: bool) -> SessionRow | None:
        async with self._database.writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            await work.derive(session, LEFT, None)
            own = {"unpaired": True} | ({"removed_at": work.now} if removed else {})
            if not removed:  # the row of a deleted one says what is left to do, on whatever host
                await _abandon(work.connection, session_id)
            await work.want(session, up=False, generation=session.row.generation + 1, **own)
            return await work.read(session_id)

    async def touch(self, session_id: str) -> None:
        async with self._database.writing() as work:
            await work.own(session_id)
            if session := await work.lock_ours(session_id):
                await work.update(session, {"last_activity_at": work.now})

    async def keep_limits(self, session_id: str, limits: str | None) -> None:
        async with self._database.writing() as work:
            await work.own(session_id)
            if session := await work.lock_ours(session_id):
                await work.remember(session, {"limits": limits})

    async def soft_delete(self, session_id: str) -> None:
        async with self._database.writing() as work:
            if session := await work.lock_ours(session_id):
                await work.delete(session)

    async def metadata(self, session_id: str) -> dict[str, Any]:
        async with self._database.reading() as (connection, layout):
            return await _metadata(connection, layout, session_id)

    async def set_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        async with self._database.writing() as work:
            session = await work.lock_ours(session_id)
            if session:
                await work.update(session, {"metadata": dict(metadata), "updated_at": work.now})
            return session is not None

    async def merge_metadata(
        self, session_id: str, updates: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        async with self._database.writing() as work:
            session = await work.lock_ours(session_id)
            if session is None:
                return None
            before = await _metadata(work.connection, work.layout, session_id)
            merged = {**before, **updates}
            await work.update(session, {"metadata": merged, "updated_at": work.now})
            return merged


def _refused(session_id: str, error: DBAPIError) -> Exception:
    """What to raise for ``error``: only a refusal of the row is anything but itself."""
    if not is_refusal(error):
        return error
    return WaguardError(
        f"the application's table refuses the session: {error.orig}",
        field=ACCOUNTS.name,
        value=session_id,
        remedy="create the account in the application first",
    )


async def _metadata(connection: AsyncConnection, layout: Layout, session_id: str) -> dict[str, Any]:
    query = listed(layout).where(layout.is_session(session_id))
    try:
        value = await connection.scalar(query.with_only_columns(layout.home("metadata")))
    except (TypeError, ValueError):  # a number or text that is no JSON
        raise NoObjectError(session_id) from None
    return json_object(value, session_id)


def json_object(value: Any, session_id: str) -> dict[str, Any]:
    """Metadata as the application has stored them. Raises ``NoObjectError``."""
    if isinstance(value, dict):
        return value
    if value in (None, []):  # PHP writes an empty one as []
        return {}
    raise NoObjectError(session_id)


def _require_storable(session_id: str, layout: Layout) -> None:
    limit = min(
        length_of(column.type) or 255
        for column in (layout.accounts.c.session_id, EVENTS.c.session_id)
    )
    if not session_id or storable(session_id, limit) != session_id:
        raise InvalidInputError(
            f"a session id has 1 to {limit} characters, none of them NUL",
            field="session_id",
            value=session_id,
        )
    if not layout.takes_id(session_id):
        raise InvalidInputError(
            "the application's table cannot hold a character of the session id",
            field="session_id",
            value=session_id,
            remedy=f"use ASCII, or convert {ACCOUNTS.name} to utf8mb4",
        )


async def _abandon(connection: AsyncConnection, session_id: str) -> None:
    """Nothing that waits for the session now is begun any more."""
    waits = (OUTBOX.c.session_id == session_id) & (OUTBOX.c.state == State.ACCEPTED)
    await connection.execute(update(OUTBOX).where(waits).values(expires_at=ABANDONED))
