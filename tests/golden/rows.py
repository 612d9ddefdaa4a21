"""Databases of each revision of the schema, as SQL: their tables, and a row with every column in each."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.golden.formats import KEPT
from waguard.store import migrations
from waguard.store.migrate import configuration
from waguard.store.revision import VERSION_TABLE

FOLDER: Final = KEPT / "rows"
AT: Final = 1_790_000_000.5
WHEN: Final = "2026-09-21 14:13:20.500000"
KEY: Final = b"what all hosts have in a file"
MESSAGE: Final = "true_628123@c.us_3EB0"
WEBHOOK: Final = b'{"event":"message_received","data":{"message":{"id":"false_628123@c.us_3A","body":"h\xc3\xa9"}}}'
ROWS: Final[Mapping[str, Mapping[str, Any]]] = {
    "whatsapp_accounts": {
        "id": 5,
        "uuid": "00000000-0000-0000-0000-000000000005",
        "workspace_id": 7,
        "session_id": "alpha",
        "phone_number": "628123",
        "provider_type": "webjs",
        "status": "disconnected",
        "is_primary": True,
        "is_active": True,
        "qr_code": "2@code",
        "session_data": "{}",
        "metadata": '{"theirs": 1}',
        "last_activity_at": WHEN,
        "last_connected_at": WHEN,
        "disconnected_at": WHEN,
        "disconnect_reason": "timeout",
        "disconnect_details": "the network is down",
        "health_score": 70,
        "session_restore_count": 3,
        "last_cleanup_at": WHEN,
        "assigned_instance_index": 1,
        "assigned_instance_url": "http://127.0.0.1:3001",
        "session_storage_path": "/sessions/alpha",
        "session_file_size_bytes": 4096,
        "created_by": 2,
        "created_at": WHEN,
        "updated_at": WHEN,
        "deleted_at": None,
    },
    "waguard_sessions": {
        "session_id": "alpha",
        "workspace_id": 7,
        "desired": "up",
        "generation": 9,
        "account_id": 5,
        "priority": 3,
        "displaced_phone": "628999",
        "linked_phone": "628123",
        "removed_at": None,
        "unpaired": False,
        "limits": '{"codes":[1790000000.0]}',
        "disconnect_reason": "timeout",
        "disconnect_details": "the network is down",
        "disconnected_at": WHEN,
        "last_connected_at": WHEN,
        "last_activity_at": WHEN,
        "metadata": '{"theirs": 1}',
        "deleted_at": None,
        "created_at": WHEN,
        "updated_at": WHEN,
    },
    "waguard_events": {
        "id": 1,
        "at": AT,
        "session_id": "alpha",
        "kind": "status",
        "before": "connected",
        "after": "disconnected",
        "reason": "the network is down",
        "evidence": '{"blame": "network", "\\u00e4": [1, null]}',
        "host": "h1",
    },
    "waguard_inbox": {
        "id": 1,
        "session_id": "alpha",
        "key": "false_628123@c.us_3A",
        "workspace_id": 7,
        "kind": "message",
        "chat": "628123@c.us",
        "at": AT,
        "stored_at": AT,
        "backfilled": False,
        "payload": '{"message": {"id": "false_628123@c.us_3A", "body": "h\\u00e9"}}',
    },
    "waguard_deliveries": {
        "id": 1,
        "endpoint": "*",
        "event_id": "00112233445566778899aabbccddeeff",
        "event": "message_received",
        "session_id": "alpha",
        "lane": "628123@c.us",
        "body": WEBHOOK,
        "state": "pending",
        "attempts": 2,
        "next_at": AT,
        "last_error": "HTTP 500",
        "created_at": AT,
        "died_at": None,
        "tried_since": AT,
        "held_since": AT,
        "cause": None,
    },
    "waguard_endpoints": {
        "session_id": "alpha",
        "url": "https://receiver.example/hook",
        "secret": "s",
        "hold": False,
        "events": '["message_received"]',
        "updated_at": WHEN,
    },
    "waguard_outbox": {
        "id": 1,
        "session_id": "alpha",
        "workspace_id": 7,
        "chat": "628123@c.us",
        "kind": "text",
        "body": b'{"type":"text","chat":"628123@c.us","text":"hi","message_id":"","timeout":0.0}',
        "content": None,
        "message_id": MESSAGE,
        "state": "delivered",
        "ack": 2,
        "error": None,
        "attempts": 1,
        "idempotency_key": "order-1",
        "fingerprint": "0f" * 32,
        "queued": True,
        "answered": True,
        "send_at": AT,
        "expires_at": AT + 60,
        "sent_at": 1_790_000_001,
        "bulk_id": "00000000-0000-0000-0000-000000000001",
        "phone": "628123",
        "created_at": AT,
        "updated_at": AT,
    },
    "waguard_people": {
        "id": 1,
        "session_id": "alpha",
        "lid": "7@lid",
        "number": "628123@c.us",
        "learned_at": AT,
    },
    "waguard_numbers": {
        "id": 1,
        "session_id": "alpha",
        "number": "628123@c.us",
        "known": True,
        "asked_at": AT,
    },
    "waguard_readers": {
        "id": 1,
        "session_id": "alpha",
        "message_id": MESSAGE,
        "reader": "628999@c.us",
        "ack": 3,
        "at": AT,
    },
    "waguard_undecryptable": {
        "id": 1,
        "session_id": "alpha",
        "workspace_id": 7,
        "message_id": "false_628123@c.us_3B",
        "chat": "628123@c.us",
        "at": AT,
        "since": AT,
        "state": "waiting",
        "inbox_key": None,
    },
    "waguard_lease": {
        "id": 1,
        "epoch": 4,
        "machine": "0a" * 16,
        "runtime": "/run/waguard",
        "host": "one",
        "pid": 4242,
        "instance": "00112233445566ff",
        "taken_at": AT,
        "renewed_at": AT,
        "lasts": 75.0,
        "renewed_every": 25.0,
        "released": True,
    },
    "waguard_installation": {"id": 1, "installation": "0f" * 8},
    "waguard_credentials": {
        "session_id": "alpha",
        "host": "0c" * 16,
        "epoch": 4,
        "pairing": "0a" * 16,
        "files": b"sealed",
        "files_epoch": 3,
        "shipped_at": AT,
        "orderly": True,
    },
    "waguard_credential_parts": {
        "session_id": "alpha",
        "file": "0d" * 16,
        "part": 0,
        "epoch": 3,
        "bytes": b"sealed",
    },
    "waguard_proxies": {"session_id": "alpha", "mark": "0e" * 8, "at": AT, "sealed": b"sealed"},
    "waguard_owners": {
        "session_id": "alpha",
        "host": "h1",
        "incarnation": "0b" * 16,
        "epoch": 5,
        "to_host": "h2",
        "moved_at": AT,
    },
    "waguard_hosts": {"host": "h1", "revision": 9, "record": '{"format":1,"host":"h1"}'},
    "waguard_keys": {
        "sha256": "0f" * 32,
        "id": "0a1b2c3d",
        "version": 1,
        "record": '{"id": "0a1b2c3d", "name": "shop", "sha256": "'
        + "0f" * 32
        + '", "right": "send", "workspaces": [7], "sessions": ["alpha"], "expires_at": 1790000060.0,'
        ' "created_at": 1790000000.0, "created_by": "ani", "made_with": "ffffffff", "used_at": null,'
        ' "ended_at": null, "ended_by": null, "for_page": false}',
        "expires_at": AT + 60,
        "ended_at": AT,
        "ended_by": "root by the socket",
        "used_at": AT,
        "seal": "4633bb90fc0b4040ee666d99ba490e1d5c04561049ccc286e339e0dadd9941e7",
    },
    "waguard_key_changes": {"id": 1, "revision": 9},
    "waguard_alerts": {
        "destination": "0f" * 8,
        "at": AT,
        "record": '{"reported": {"disk_low/disk_low/@h1": {"type": "disk_low", "reason": "disk_low",'
        ' "session": null, "message": "m", "remedy": "r", "since": 1.0, "seen": 2.0, "ended": null,'
        ' "host": "h1"}}, "causes": {"disk_low/disk_low": 3.0}, "at": 3.0}',
    },
}


def revisions() -> list[str]:
    """All of the schema, the oldest first."""
    scripts = ScriptDirectory(str(next(iter(migrations.__path__))))
    return [it.revision for it in reversed(list(scripts.walk_revisions()))]


def _fill(connection: Connection, revision: str) -> None:
    command.upgrade(configuration(connection), revision)
    inspector = inspect(connection)
    for name, row in ROWS.items():
        if inspector.has_table(name):
            there = {column["name"] for column in inspector.get_columns(name)}
            insert(connection, name, {key: value for key, value in row.items() if key in there})


def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    """As a program that knows these columns alone."""
    columns = ", ".join(f'"{name}"' for name in row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f'INSERT INTO "{table}" ({columns}) VALUES ({values})'), row)


async def write() -> None:
    """Databases of the revisions that have no golden file yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for revision in revisions():
        target = FOLDER / f"{revision}.sql"
        if target.exists():
            continue
        async with create_async_engine("sqlite+aiosqlite://", poolclass=NullPool).connect() as made:
            await made.run_sync(_fill, revision)
            await made.commit()
            raw = await made.get_raw_connection()
            driver: Any = raw.driver_connection
            lines = [line async for line in driver.iterdump()]
        target.write_text("\n".join(lines) + "\n")
        print(target)


def make(revision: str, path: Path) -> None:
    """The database as it was then."""
    with sqlite3.connect(path) as connection:
        connection.executescript((FOLDER / f"{revision}.sql").read_text())
    connection.close()


def tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, but for the version of the schema."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [name for (name,) in connection.execute(query) if name != VERSION_TABLE]
    found = {
        name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names
    }
    connection.close()
    return found
