"""What it costs to keep a message before it leaves, and the barest commit of the same row."""

import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

from waguard.core.messages.send_states import State
from waguard.host.files.media import MediaFolder
from waguard.messaging.journal import Journal
from waguard.ports.outbox import NewMessage
from waguard.store.outbox import _values as values
from waguard.store.sql import SqlStore


def message() -> NewMessage:
    """A text that goes at once, as the daemon keeps it."""
    return NewMessage(
        session_id="s0",
        workspace_id=1,
        chat="6281180002@c.us",
        kind="text",
        body=b'{"type":"send_text","chat":"6281180002@c.us","text":"message 1"}',
        content=None,
        message_id=f"true_6281180002@c.us_3EB0{os.urandom(9).hex().upper()}",
        state=State.SENDING,
        fingerprint="0" * 64,
        key=None,
        queued=False,
        send_at=None,
        expires_at=time.time() + 60,
        bulk_id=None,
    )


class Bare:
    """Commits one row in a transaction of its own, by Python's sqlite3 alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator["Bare"]:
        """The store's tables and settings, in a new file."""
        store = SqlStore(f"sqlite+aiosqlite:///{path}")
        await store.open()
        await store.close()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            yield cls(connection)

    def commit(self) -> float:
        """Milliseconds."""
        row = values(message(), time.time())
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        began = time.perf_counter()
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(
            f"INSERT INTO waguard_outbox ({names}) VALUES ({marks})", tuple(row.values())
        )
        self._connection.execute("COMMIT")
        return (time.perf_counter() - began) * 1000


@contextlib.asynccontextmanager
async def journal(folder: Path) -> AsyncIterator[Journal]:
    """The daemon's, on a new database."""
    store = SqlStore(f"sqlite+aiosqlite:///{folder / 'journal.db'}")
    await store.open()
    files = MediaFolder(folder / "media")
    async with Journal(store.messages, files, base="", for_global=lambda: ()) as made:
        yield made
    await store.close()
