"""Writing sessions: one transaction, the session's row locked first; in a cluster its owner's row before that."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from msgspec import Struct, field
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.row_status import DerivedStatus, Status
from waguard.errors import NotOwnedError
from waguard.ports.store import SessionRow
from waguard.store.layout import Layout, fit
from waguard.store.models import EVENTS, SESSIONS, Provider
from waguard.store.rows import Held, held, listed, rows, session_row

if TYPE_CHECKING:
    from waguard.core.cluster.records import Owning

NOT_OWNED: Final = "this host does not own the session, or no more: another one does, or will"

# a row that we insert into a table with these columns says the same as one of the application's
_NEW_ACCOUNT: Mapping[str, Any] = {
    "status": Status.QR_SCANNING.value,
    "provider_type": Provider.WEBJS.value,
    "is_primary": False,
    "is_active": True,
    "health_score": 100,
    "session_restore_count": 0,
}

# how a removed or deleted session comes back: as a new one that waits for its QR
_REVIVED: Mapping[str, Any] = {
    "status": Status.QR_SCANNING.value,
    "is_active": True,
    "disconnect_reason": None,
    "disconnect_details": None,
    "deleted_at": None,
}


class Refusals:
    """How many writes were refused since the start, for this host did not own their session."""

    count: int = 0


class Work(Struct, frozen=True):
    """One write transaction. ``now`` is whole seconds: MySQL would round the rest up."""

    connection: AsyncConnection
    layout: Layout
    now: datetime
    owning: "Owning | None" = None
    """None: there is no cluster, and every session is this host's."""
    refusals: Refusals = field(default_factory=Refusals)

    async def lost(self, sessions: Iterable[str]) -> frozenset[str]:
        """Those that this host does not own; nobody claims the others until the transaction ends. Called before anything
        else is locked."""
        if self.owning is None:
            return frozenset()
        from waguard.store import epochs  # noqa: PLC0415 - one host alone has none

        found = await self.connection.run_sync(epochs.lost, self.owning, sessions)
        self.refusals.count += len(found)
        return found

    async def own(self, session_id: str) -> None:
        """As ``lost``, of one session. Raises ``NotOwnedError``."""
        if await self.lost((session_id,)):
            raise NotOwnedError(NOT_OWNED)

    async def own_new(self, session_id: str) -> None:
        """As ``own``, for a session of which nobody may have been the owner so far."""
        if self.owning is None:
            return
        from waguard.store import epochs  # noqa: PLC0415 - one host alone has none

        if not await self.connection.run_sync(epochs.hold_new, self.owning, session_id):
            self.refusals.count += 1
            raise NotOwnedError(NOT_OWNED)

    async def lock(self, session_id: str) -> Held | None:
        """Lock the row and read it, whoever's it is; None: there was none to lock.

        One that another transaction commits in between is None too: it was not locked, and what
        is read of it may be outdated before it is written. Asking again locks it.
        """
        accounts = self.layout.accounts
        same = self.layout.is_session(session_id)
        # the lock apart from the read: PostgreSQL locks no outer join, MariaDB knows no OF
        lock = select(accounts.c.status).where(same).with_for_update()
        if (await self.connection.execute(lock)).first() is None:
            return None
        found = (await self.connection.execute(rows(self.layout).where(same))).first()
        return held(found) if found is not None else None

    async def lock_ours(self, session_id: str) -> Held | None:
        """``lock``, but another provider's and deleted rows do not exist."""
        found = await self.lock(session_id)
        return found if found and found.ours and not found.deleted else None

    async def resembles(self, session_id: str) -> bool:
        """Whether the database takes another row's id for this one (MySQL: "A" for "a")."""
        accounts = self.layout.accounts
        alike = accounts.c.session_id == session_id
        # not this very id: another transaction may have committed it a moment ago
        query = select(accounts.c.session_id).where(alike, ~self.layout.is_session(session_id))
        return (await self.connection.execute(query)).first() is not None

    async def insert(self, session_id: str, workspace_id: int) -> None:
        """A new row in the application's table. Its constraints may refuse it."""
        new = {
            **_NEW_ACCOUNT,
            "session_id": session_id,
            "workspace_id": workspace_id,
            "uuid": str(uuid4()),
            "created_at": self.now,
            "updated_at": self.now,
        }
        shared, _ = self.layout.split(new)
        await self.connection.execute(insert(self.layout.accounts).values(shared))

    async def revive(self, session: Held) -> None:
        """Undo the deletion, whoever's and whichever it was."""
        await self.put(session, {**_REVIVED, "updated_at": self.now})
        own = {"deleted_at": None, "removed_at": None, "unpaired": True}
        await self.remember(session, own)

    async def delete(self, session: Held) -> None:
        """Mark it deleted, and down."""
        await self.update(session, {"deleted_at": self.now, "updated_at": self.now})
        await self.remember(session, {"desired": "down"})

    async def want(self, session: Held, *, up: bool, **own: Any) -> None:
        """Set the desired state, and further columns of our own row.

        Whoever wants it up switches on an account that the application has switched off.
        """
        if up and not session.active:
            await self.update(session, {"is_active": True, "updated_at": self.now})
        await self.remember(session, {"desired": _desired(up=up), **own})

    async def read(self, session_id: str) -> SessionRow:
        """As it is now, for the world. Raises ``NoResultFound`` where it does not exist."""
        query = listed(self.layout).where(self.layout.is_session(session_id))
        return session_row((await self.connection.execute(query)).one())

    async def derive(self, session: Held, derived: DerivedStatus, phone_number: str | None) -> None:
        """Write the status and what belongs to it."""
        await self.put(session, self.derived(session, derived), phone_number)

    def derived(self, session: Held, derived: DerivedStatus) -> dict[str, Any]:
        """What the row says with this status.

        The times are those of the change: a status that is only confirmed moves none of them.
        """
        changed = session.row.status != derived.status
        values: dict[str, Any] = {
            "status": derived.status.value,
            "disconnect_reason": derived.reason.value if derived.reason else None,
            "disconnect_details": derived.details,
            "updated_at": self.now,
        }
        match derived.status:
            case Status.CONNECTED if changed or session.row.connected_at is None:
                values |= {"last_connected_at": self.now, "last_activity_at": self.now}
            case Status.DISCONNECTED | Status.FAILED if changed:
                values["disconnected_at"] = self.now
            case _:
                pass
        if derived.status is Status.CONNECTED and session.row.unpaired:
            values["unpaired"] = False
        return values

    async def put(
        self, session: Held, values: Mapping[str, Any], phone_number: str | None = None
    ) -> None:
        """``update`` with a status, which is never lost to a unique index.

        An installation may have one on (phone_number, workspace_id, status), and another row
        of the same number with this status. Then the number gives way: the row's becomes NULL,
        which no index refuses, we remember it, show it, say so in the audit trail, and put it
        back with the first status that has room for it.
        """
        number = phone_number or session.displaced
        full = {**values, "phone_number": number} if number else values
        try:
            async with self.connection.begin_nested():
                await self.update(session, full)
        except IntegrityError:
            number = number or session.row.phone_number
            if number is None:  # then it was not the number
                raise
            await self.update(session, {**values, "phone_number": None})
            await self._displace(session, number)
        else:
            if session.displaced:
                await self.remember(session, {"displaced_phone": None})

    async def update(self, session: Held, values: Mapping[str, Any]) -> None:
        """Write each value to the application's row, or to its stand-in in ours."""
        shared, own = self.layout.split(values)
        await self.remember(session, own)
        if shared:
            same = self.layout.is_session(session.row.session_id)
            await self.connection.execute(update(self.layout.accounts).where(same).values(shared))

    async def _displace(self, session: Held, number: str) -> None:
        await self.remember(session, fit(SESSIONS, {"displaced_phone": number}))
        if session.displaced == number:
            return
        await self.connection.execute(
            insert(EVENTS).values(
                at=self.now.timestamp(),
                session_id=session.row.session_id,
                kind="phone_number_displaced",
                before=number,
                reason="another row of this workspace has the same number and status, and a unique index allows one",
                evidence={"workspace_id": session.row.workspace_id},
            )
        )

    async def remember(self, session: Held, own: Mapping[str, Any]) -> None:
        """Write these columns to our row, and make it first where there is none yet.

        A row that is made now keeps the desired state of the status before this transaction.
        """
        row = session.row
        values = {"workspace_id": row.workspace_id, **own, "updated_at": self.now}
        same = SESSIONS.c.session_id == row.session_id
        written = await self.connection.execute(update(SESSIONS).where(same).values(values))
        if written.rowcount:
            return
        new = {
            "session_id": row.session_id,
            "desired": _desired(up=session.wanted),
            "generation": row.generation,
            "priority": row.priority,
            "created_at": self.now,
        }
        await self.connection.execute(insert(SESSIONS).values({**new, **values}))


def _desired(*, up: bool) -> str:
    return "up" if up else "down"
