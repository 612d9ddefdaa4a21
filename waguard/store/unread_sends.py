"""Sends whose receipts may be missing: WhatsApp's server has them, and nobody is known to have read them."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.send_states import ACTIONS, State
from waguard.store.models import OUTBOX

MOST: Final = 200  # a session, the newest


async def by_session(
    connection: AsyncConnection, sessions: Collection[str], after: float
) -> dict[str, dict[str, State]]:
    """By session and WhatsApp's id, how far those have come that were accepted after then (unix time)."""
    own = OUTBOX.c
    place = func.row_number().over(partition_by=own.session_id, order_by=own.id.desc())
    unread = (
        select(own.session_id, own.message_id, own.state, place.label("place"))
        .where(own.session_id.in_(sessions), own.created_at >= after)
        .where(own.state.in_((State.SENT, State.DELIVERED)), own.kind.not_in(sorted(ACTIONS)))
        .subquery()
    )
    found: dict[str, dict[str, State]] = {}
    for session_id, message_id, state, _ in await connection.execute(
        select(unread).where(unread.c.place <= MOST)
    ):
        found.setdefault(session_id, {})[message_id] = State(state)
    return found
