"""Messages whose keeping seemed to fail, and that may have been kept all the same: they are forgotten."""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.messages.send_states import State
from waguard.ports.outbox import Withdrawal
from waguard.store.models import OUTBOX
from waguard.store.types import storable

_OWN: Final = OUTBOX.c
_UNSENT: Final = _OWN.state.in_([State.ACCEPTED, State.SENDING])
# only PostgreSQL deletes past a row that is not committed yet; its locks end behind the commit
_EARLIER_WRITERS: Final = text("""
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE relation = 'waguard_outbox'::regclass AND mode = 'RowExclusiveLock' AND granted
        AND datname = current_database() AND pid <> pg_backend_pid()
        AND (xact_start IS NULL OR xact_start <= clock_timestamp() - make_interval(secs => :ago))
""")


async def may_come(connection: AsyncConnection, withdrawn: Sequence[Withdrawal]) -> bool:
    """Whether a transaction that may keep one of these messages is still open."""
    if not withdrawn or connection.dialect.name != "postgresql":
        return False
    ago = time.monotonic() - max(it.since for it in withdrawn)
    return bool(await connection.scalar(_EARLIER_WRITERS, {"ago": max(0.0, ago)}))


async def withdraw(connection: AsyncConnection, item: Withdrawal) -> int:
    """How many messages it deleted. One that was answered stays: another host found it, and said that it is kept."""
    same = _OWN.message_id == storable(item.message_id)
    gone = await connection.execute(delete(OUTBOX).where(same, _UNSENT, ~_OWN.answered))
    return gone.rowcount
