"""Reading sessions: the application's row joined with waguard's own."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Row, Select, func, select, true

from waguard.core.row_status import Status
from waguard.ports.store import SessionRow
from waguard.store.layout import Layout
from waguard.store.models import SESSIONS

# without a row of ours (the database was the old service's until now) these want to be up
UP_AT_TAKEOVER = frozenset({Status.CONNECTED, Status.AUTHENTICATED})


class Held(Struct, frozen=True):
    """A session's row, locked until the transaction ends."""

    row: SessionRow
    ours: bool
    deleted: bool
    displaced: str | None
    """The phone number that the application's row has no room for."""
    wanted: bool
    """The desired state alone: ``row.desired_up`` also asks whether the account is active."""
    active: bool


def rows(layout: Layout) -> Select[Any]:
    """Every row with an id and a workspace, whoever's it is; ``ours`` and ``deleted`` say."""
    accounts = layout.accounts
    return select(
        accounts.c.session_id,
        accounts.c.workspace_id,
        accounts.c.status,
        accounts.c.phone_number,
        layout.is_ours().label("ours"),
        layout.is_deleted().label("deleted"),
        layout.home("disconnect_reason").label("disconnect_reason"),
        layout.home("disconnect_details").label("disconnect_details"),
        layout.home("last_connected_at").label("connected_at"),
        layout.home("last_activity_at").label("last_activity"),
        SESSIONS.c.desired,
        func.coalesce(SESSIONS.c.generation, 0).label("generation"),
        SESSIONS.c.account_id,
        func.coalesce(SESSIONS.c.priority, 0).label("priority"),
        SESSIONS.c.displaced_phone,
        SESSIONS.c.removed_at,
        SESSIONS.c.unpaired,
        SESSIONS.c.limits,
        (accounts.c.is_active if layout.has("is_active") else true()).label("is_active"),
    ).select_from(accounts.outerjoin(SESSIONS, SESSIONS.c.session_id == accounts.c.session_id))


def listed(layout: Layout) -> Select[Any]:
    """Those that exist for the world: ours, and not deleted."""
    return rows(layout).where(layout.is_ours(), ~layout.is_deleted())


def held(row: Row[Any]) -> Held:
    """What was read under the lock."""
    return Held(
        row=session_row(row),
        ours=bool(row.ours),
        deleted=bool(row.deleted),
        displaced=row.displaced_phone,
        wanted=_wanted(row),
        active=_active(row),
    )


def session_row(row: Row[Any]) -> SessionRow:
    """The port's value. A status outside the enum is passed on: the reconciler corrects it."""
    status = row.status or Status.DISCONNECTED.value
    return SessionRow(
        session_id=row.session_id,
        workspace_id=int(row.workspace_id),
        status=status,
        desired_up=_wanted(row) and _active(row),
        generation=row.generation,
        phone_number=row.phone_number or row.displaced_phone,
        disconnect_reason=row.disconnect_reason,
        disconnect_details=row.disconnect_details,
        connected_at=row.connected_at,
        last_activity=row.last_activity,
        account_id=row.account_id,
        priority=row.priority,
        removed_at=row.removed_at,
        unpaired=bool(row.unpaired),
        limits=row.limits,
        switched_off=not _active(row),
    )


def _wanted(row: Row[Any]) -> bool:
    """The desired state, or what the old service's status means where there is none yet."""
    if row.desired:
        return bool(row.desired == "up")
    return (row.status or Status.DISCONNECTED.value) in UP_AT_TAKEOVER


def _active(row: Row[Any]) -> bool:
    """Whether the application has not switched the account off; NULL, and no such column, is on."""
    return row.is_active is None or bool(row.is_active)
