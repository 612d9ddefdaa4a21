"""``whatsapp_accounts`` as the application uses it, past the daemon."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, insert, select, update

from waguard.lab.application.manners import CONNECTED
from waguard.lab.application.tables import ACCOUNTS, METADATA, engine_of


class Accounts:
    """Reads and writes the rows past the daemon. A row that is soft-deleted is gone for it."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)
        self._url = url

    async def migrate(self) -> None:
        """Make all its tables, before the daemon starts for the first time."""
        engine = engine_of(self._url, create=True)
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        await engine.dispose()

    async def insert(self, session: str, **columns: Any) -> None:
        """A new row."""
        now = _now()
        row = {"session_id": session, "created_at": now, "updated_at": now, **columns}
        async with self._engine.begin() as connection:
            await connection.execute(insert(ACCOUNTS).values(row))

    async def update(self, session: str, **columns: Any) -> bool:
        """Whether there is such a row."""
        changed = (
            update(ACCOUNTS)
            .where(*_living(ACCOUNTS.c.session_id == session))
            .values(updated_at=_now(), **columns)
        )
        async with self._engine.begin() as connection:
            return bool((await connection.execute(changed)).rowcount)

    async def read(self, session: str) -> dict[str, Any] | None:
        """The row, or None where it is gone or soft-deleted."""
        wanted = select(*(column for column in ACCOUNTS.c if not isinstance(column.type, DateTime)))
        wanted = wanted.where(*_living(ACCOUNTS.c.session_id == session))
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).mappings().first()
        return None if found is None else dict(found)

    async def connected(self, session: str, phone: str | None) -> bool:
        """What ``session_ready`` does: it soft-deletes whoever else has this number in its workspace."""
        row = await self.read(session)
        if row is None or not phone:
            return False
        others = _living(ACCOUNTS.c.workspace_id == row["workspace_id"], ACCOUNTS.c.id != row["id"])
        same = update(ACCOUNTS).where(*others, ACCOUNTS.c.phone_number == phone)
        primary = select(ACCOUNTS.c.id).where(
            *others, ACCOUNTS.c.is_primary, ACCOUNTS.c.status == CONNECTED
        )
        async with self._engine.begin() as connection:
            await connection.execute(
                same.values(status="failed", phone_number=None, deleted_at=_now())
            )
            is_primary = (await connection.execute(primary)).first() is None
        return await self.update(
            session,
            status=CONNECTED,
            phone_number=phone,
            is_primary=is_primary,
            last_connected_at=_now(),
        )

    async def available(self, workspace: int) -> list[str]:
        """Sessions of a workspace through which it may work, in the order in which it asks for them."""
        wanted = (
            select(ACCOUNTS.c.session_id)
            .where(
                *_living(ACCOUNTS.c.workspace_id == workspace, ACCOUNTS.c.is_active),
                ACCOUNTS.c.status == CONNECTED,
            )
            .order_by(ACCOUNTS.c.is_primary.desc(), ACCOUNTS.c.last_connected_at.desc())
        )
        async with self._engine.connect() as connection:
            return list((await connection.execute(wanted)).scalars())

    async def disconnected(self, session: str) -> bool:
        """What ``session_disconnected`` does, and a status that cannot be had."""
        return await self.update(session, status="disconnected", disconnected_at=_now())

    async def delete(self, session: str) -> bool:
        """Soft."""
        return await self.update(session, deleted_at=_now())


def _living(*more: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
    return (*more, ACCOUNTS.c.deleted_at.is_(None))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
