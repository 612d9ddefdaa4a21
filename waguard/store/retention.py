"""What is deleted when it is old, and how an SQLite file gets smaller after it."""

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from waguard.config.sections import Media as MediaKeeping
from waguard.config.sections import Retention
from waguard.core.incidents.folding import needed_since
from waguard.core.messages.undecryptable import KNOWN_FOR
from waguard.host.files.media import MediaFolder
from waguard.ports.clock import Ages
from waguard.ports.messages import MessageStore
from waguard.ports.outbox import OutboxStore
from waguard.ports.store import Store

ALL: Final = 1_000_000  # an open incident may have begun any number of entries ago
AT_ONCE: Final = 500  # rows a transaction
CHANGES_KEPT: Final = 100_000  # whoever has a key can ask for any number of them a day
ON_ITS_WAY: Final = (
    3_600.0  # s within which the message of a file that came is stored, and names it
)
CHECKPOINT_WAIT: Final = 200  # ms for readers to end; every writer waits meanwhile
_INCREMENTAL: Final = 2
_DAY: Final = 86_400.0  # s


class Compaction(Struct, frozen=True, kw_only=True):
    """How an SQLite file gives back its free pages."""

    pages: int = 1_000
    """Pages of a transaction; 4 MB as a rule."""
    rounds: int = 50
    """So many transactions at most."""


COMPACTION: Final = Compaction()


async def tidy_messages(
    messages: MessageStore,
    keep: Retention,
    ages: Ages,
    expire: Callable[[float], Awaitable[int]] | None = None,
) -> int:
    """Delete what is older than ``keep`` says. How many rows. ``expire`` gives up this daemon's webhooks that were queued
    before then (unix time), in its queues, too."""
    inbox_before = ages.ago(keep.inbox_days * _DAY)
    count = await expire(inbox_before) if expire else 0
    while gone := await messages.tidy(
        inbox_before=inbox_before,
        reported_before=ages.ago(max(keep.inbox_days, keep.outbox_days) * _DAY),
        dead_before=ages.ago(keep.dead_days * _DAY),
        undecryptable_before=ages.ago(KNOWN_FOR),
        limit=AT_ONCE,
    ):
        count += gone
    return count


async def tidy_outbox(outbox: OutboxStore, keep: Retention, ages: Ages) -> int:
    """Delete old rows of what was sent, refused or cancelled."""
    before, count = ages.ago(keep.outbox_days * _DAY), 0
    while gone := await outbox.tidy(before=before, limit=AT_ONCE):
        count += gone
    return count


async def tidy_audit(
    store: Store, keep: Retention, ages: Ages, *, changes: int = CHANGES_KEPT
) -> int:
    """Delete old rows of the audit trail, and all but so many ``changes``. What an open incident needs of the other rows is
    kept, however old it is."""
    oldest, count = ages.ago(keep.audit_days * _DAY), 0
    known = {row.session_id for row in await store.sessions_of_all_hosts()}
    for session_id in await store.audited(before=oldest):
        before = oldest
        if session_id is None or session_id in known:
            trail = await store.audit(session_id, limit=ALL)
            before = min(oldest, needed_since(trail, fleet=session_id is None) or oldest)
        while gone := await store.tidy_audit(session_id, before=before, limit=AT_ONCE):
            count += gone
    while gone := await store.tidy_changes(keep=changes, limit=AT_ONCE):
        count += gone
    return count


async def tidy_media(
    files: MediaFolder, messages: MessageStore, keep: MediaKeeping, ages: Ages
) -> int:
    """Delete old received files, but those whose webhooks still wait, or may be on their way to the database. How many
    files."""
    keep_for = keep.keep_days * _DAY
    limits: dict[str, Any] = {"keep_for": keep_for, "size_limit": keep.limit << 20}
    now = ages.ago(keep_for) + keep_for
    spared: Collection[str] = ()
    if await asyncio.to_thread(files.expired, now=now, **limits):
        spared = await messages.files_awaited()
    return await asyncio.to_thread(
        files.tidy, now=now, spared=spared, spared_for=ON_ITS_WAY, **limits
    )


async def tidy_outgoing(
    files: MediaFolder, outbox: OutboxStore, keep_for: float, ages: Ages
) -> int:
    """Delete files to send after ``keep_for`` s, but those of messages that wait. How many files."""
    spared = await outbox.files_awaited()
    now = ages.ago(keep_for) + keep_for
    return await asyncio.to_thread(
        files.tidy, now=now, keep_for=keep_for, size_limit=sys.maxsize, spared=spared
    )


async def empty_wal(engine: AsyncEngine) -> None:
    """Write what SQLite's WAL holds into the file, where nobody reads meanwhile."""
    async with engine.connect() as connection:
        (before,) = (await _pragma(connection, "busy_timeout"))[0]
        await _pragma(connection, "optimize")
        await _pragma(connection, f"busy_timeout={CHECKPOINT_WAIT}")
        try:
            await _pragma(connection, "wal_checkpoint(TRUNCATE)")
        finally:
            await _pragma(connection, f"busy_timeout={before}")


async def release_pages(engine: AsyncEngine, pages: int) -> bool:
    """Some free pages of an SQLite file, so many at most; whether there were any. One that another program
    made may keep them forever."""
    async with engine.connect() as connection:
        (mode,) = (await _pragma(connection, "auto_vacuum"))[0]
        (free,) = (await _pragma(connection, "freelist_count"))[0]
        if mode != _INCREMENTAL or not free:
            return False
        await _pragma(connection, f"incremental_vacuum({pages})")
        return True


async def _pragma(connection: AsyncConnection, pragma: str) -> Sequence[Any]:
    """Outside of any transaction, where a checkpoint has to be; all rows, as each gives a page back."""
    raw = await connection.get_raw_connection()
    if raw.driver_connection is None:
        raise sqlite3.OperationalError("the connection is closed")
    return list(await raw.driver_connection.execute_fetchall(f"PRAGMA {pragma}"))
