"""``chats``: the messages as its users see them. What is not a row here, they do not have."""

from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.lab.application.tables import ACCOUNTS, CHATS, CONTACTS, engine_of

STORED: Final = f"{CHATS.name}.{CHATS.c.whatsapp_message_id.name}"
"""Where it keeps WhatsApp's id of a message, as ``webhook.stored`` names it."""

Type = Literal["inbound", "outbound"]


class Seen(NamedTuple):
    """A row as its users see it; ``phone`` is the contact that it is filed under."""

    id: int
    session: str
    phone: str
    message_id: str | None
    type: Type
    metadata: str


_SEEN: Final = (
    select(
        CHATS.c.id,
        ACCOUNTS.c.session_id,
        CONTACTS.c.phone,
        CHATS.c.whatsapp_message_id,
        CHATS.c.type,
        CHATS.c.metadata,
    )
    .join(ACCOUNTS, ACCOUNTS.c.id == CHATS.c.whatsapp_account_id)
    .join(CONTACTS, CONTACTS.c.id == CHATS.c.contact_id)
    .where(CHATS.c.deleted_at.is_(None))
    .order_by(CHATS.c.id)
)


class Chats:
    """Every method raises ``SQLAlchemyError`` where the database does not serve."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)

    async def add(
        self,
        account: dict[str, Any],
        phone: str,
        message_id: str | None,
        kind: Type,
        metadata: str,
        status: str,
    ) -> int:
        """One more row, whatever is there; its id."""
        async with self._engine.begin() as connection:
            row = insert(CHATS).values(
                workspace_id=account["workspace_id"],
                whatsapp_account_id=account["id"],
                contact_id=await _contact(connection, account["workspace_id"], phone),
                whatsapp_message_id=message_id,
                wam_id=message_id,
                type=kind,
                message_status=status,
                metadata=metadata,
                created_at=_now(),
            )
            key = (await connection.execute(row)).inserted_primary_key
        assert key  # noqa: S101 - it has one
        return int(key[0])

    async def find(self, message_id: str) -> int | None:
        """The first row with this id, of whatever account."""
        same = or_(CHATS.c.whatsapp_message_id == message_id, CHATS.c.wam_id == message_id)
        wanted = select(CHATS.c.id).where(same).order_by(CHATS.c.id).limit(1)
        async with self._engine.connect() as connection:
            return (await connection.execute(wanted)).scalar()

    async def set_status(self, row: int, status: str) -> None:
        """Set the status of one row."""
        changed = update(CHATS).where(CHATS.c.id == row).values(message_status=status)
        async with self._engine.begin() as connection:
            await connection.execute(changed)

    async def seen(self) -> list[Seen]:
        """All rows, in the order in which its users see them."""
        async with self._engine.connect() as connection:
            return [Seen(*row) for row in await connection.execute(_SEEN)]


async def _contact(connection: AsyncConnection, workspace: int, phone: str) -> int:
    """Found, or made."""
    wanted = select(CONTACTS.c.id).where(
        CONTACTS.c.workspace_id == workspace, CONTACTS.c.phone == phone
    )
    if found := (await connection.execute(wanted)).scalar():
        return int(found)
    row = insert(CONTACTS).values(workspace_id=workspace, phone=phone, created_at=_now())
    key = (await connection.execute(row)).inserted_primary_key
    assert key  # noqa: S101 - it has one
    return int(key[0])


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
