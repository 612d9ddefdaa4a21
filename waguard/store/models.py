"""The tables, as the newest migration leaves them.

``ACCOUNTS`` is what waguard creates where the application has made none; at run time the table
that is really there is used (see ``layout``).
"""

from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.dialects import mysql

from waguard.core.messages.send_states import State
from waguard.core.row_status import Reason, Status
from waguard.store.types import JsonText, LongJsonText, UtcDateTime

METADATA = MetaData()

# SQLite counts up only a column that is exactly INTEGER PRIMARY KEY
SERIAL = BigInteger().with_variant(Integer, "sqlite")

# MySQL compares by collation: without this "A" and "a" would be one session, or one key of the inbox
_BYTEWISE = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
SESSION_ID = String(255).with_variant(mysql.VARCHAR(255, **_BYTEWISE), "mysql", "mariadb")
KEY = SESSION_ID
# WhatsApp's id of a message has at most so many characters (``wire.bounds.Id``)
MESSAGE_ID = String(256).with_variant(mysql.VARCHAR(256, **_BYTEWISE), "mysql", "mariadb")
# a received file can be inside: MySQL's BLOB ends at 64 KiB
BODY = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class Provider(StrEnum):
    """``whatsapp_accounts.provider_type``: only webjs is ours."""

    META = "meta"
    WEBJS = "webjs"


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """A CHECK that holds a plain string column to the values of an enum."""
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({allowed})", name=f"whatsapp_accounts_{column}_check")


ACCOUNTS = Table(
    "whatsapp_accounts",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("uuid", String(36), unique=True),
    Column("workspace_id", BigInteger, nullable=False),
    Column("session_id", SESSION_ID, nullable=False, unique=True),
    Column("phone_number", String(50)),
    Column("provider_type", String(16), nullable=False, server_default=Provider.WEBJS),
    Column("status", String(16), nullable=False, server_default=Status.QR_SCANNING),
    Column("is_primary", Boolean, nullable=False, server_default=false()),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    Column("qr_code", Text),
    Column("session_data", Text),
    Column("metadata", JSON),
    Column("last_activity_at", UtcDateTime),
    Column("last_connected_at", UtcDateTime),
    Column("disconnected_at", UtcDateTime),
    Column("disconnect_reason", String(32)),
    Column("disconnect_details", Text),
    Column("health_score", Integer, nullable=False, server_default="100"),
    Column("session_restore_count", Integer, nullable=False, server_default="0"),
    Column("last_cleanup_at", UtcDateTime),
    Column("assigned_instance_index", Integer),
    Column("assigned_instance_url", String(255)),
    Column("session_storage_path", String(500)),
    Column("session_file_size_bytes", BigInteger),
    Column("created_by", BigInteger),
    Column("created_at", UtcDateTime),
    Column("updated_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    one_of("provider_type", Provider),
    one_of("status", Status),
    one_of("disconnect_reason", Reason),
)

SESSIONS = Table(
    "waguard_sessions",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("workspace_id", BigInteger, nullable=False),
    Column("desired", String(4), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("account_id", BigInteger),
    Column("priority", Integer, nullable=False),
    # the number that a unique index of the application's left no room for (see ``Work.put``)
    Column("displaced_phone", String(50)),
    # the number that was linked last: what waits for the session is of this number
    Column("linked_phone", String(50)),
    # when DELETE took it down for good; the application's row stays
    Column("removed_at", UtcDateTime),
    Column("unpaired", Boolean),  # no scan since it was made, logged out or deleted; NULL: unknown
    # JSON: what WhatsApp grants no more of for a while (see ``supervision/session/whatsapp_quotas.py``)
    Column("limits", Text),
    # stand-ins for columns that the application's table may lack, under the same names
    Column("disconnect_reason", String(32)),
    Column("disconnect_details", Text),
    Column("disconnected_at", UtcDateTime),
    Column("last_connected_at", UtcDateTime),
    Column("last_activity_at", UtcDateTime),
    Column("metadata", JsonText),
    Column("deleted_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("desired IN ('up', 'down')", name="waguard_sessions_desired_check"),
)

EVENTS = Table(
    "waguard_events",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),  # unix time
    Column("session_id", SESSION_ID),
    Column("kind", String(64), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("reason", Text),
    Column("evidence", JsonText, nullable=False),
    Index("waguard_events_session", "session_id", "id"),
)

INBOX = Table(
    "waguard_inbox",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("key", KEY, nullable=False),
    Column("workspace_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("chat", String(128)),
    Column("at", Double, nullable=False),  # unix time, as the next one
    Column("stored_at", Double, nullable=False),
    Column("backfilled", Boolean, nullable=False),
    Column("payload", LongJsonText, nullable=False),
    UniqueConstraint("session_id", "key", name="waguard_inbox_once"),
    Index("waguard_inbox_chat", "session_id", "chat", "at"),
    Index("waguard_inbox_age", "stored_at"),
)

DELIVERIES = Table(
    "waguard_deliveries",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("endpoint", SESSION_ID, nullable=False),  # a session's, or "*" for webhook.url
    Column("event_id", String(32), nullable=False),
    Column("event", String(64), nullable=False),
    Column("session_id", SESSION_ID, nullable=False),
    Column("lane", String(255), nullable=False),
    Column("body", BODY, nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("last_error", Text),
    Column("created_at", Double, nullable=False),
    Column("died_at", Double),
    # of the first webhook of a chat: since when it has been tried without a pause, or is held; unix time
    Column("tried_since", Double),
    Column("held_since", Double),
    Column("cause", String(16)),  # what kind of dead letter it is
    CheckConstraint("state IN ('pending', 'dead')", name="waguard_deliveries_state_check"),
    Index("waguard_deliveries_queue", "state", "endpoint", "id"),
    Index("waguard_deliveries_session", "session_id", "event"),
    Index("waguard_deliveries_lane", "session_id", "lane", "id"),
    # an id is never given twice: a reader that has seen 7 asks for what came after 7
    sqlite_autoincrement=True,
)

ENDPOINTS = Table(
    "waguard_endpoints",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text),
    Column("hold", Boolean),  # NULL: true
    Column("events", JsonText),  # NULL: those of the old service
    Column("fields", String(16)),  # NULL: those of the application
    Column("updated_at", UtcDateTime, nullable=False),
)

OUTBOX = Table(
    "waguard_outbox",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("workspace_id", BigInteger, nullable=False),
    Column("chat", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", BODY, nullable=False),  # the command as JSON, without a file
    Column("content", BODY),  # the file, as long as it may have to be sent
    Column("message_id", KEY, nullable=False),
    Column("state", String(16), nullable=False),
    Column("ack", Integer),
    Column("error", Text),
    Column("attempts", Integer, nullable=False),
    Column("idempotency_key", KEY),
    Column("fingerprint", String(64), nullable=False),
    Column("queued", Boolean, nullable=False),  # nobody waits for its outcome
    Column("answered", Boolean, nullable=False),  # its reply was written
    Column("send_at", Double),  # unix time, as the others
    Column("expires_at", Double),
    Column("sent_at", BigInteger),
    Column("bulk_id", String(36)),
    Column("phone", String(50)),  # the session's number when it was accepted; NULL: none yet
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("session_id", "idempotency_key", name="waguard_outbox_once"),
    CheckConstraint(
        f"state IN ({', '.join(repr(str(state)) for state in State)})",
        name="waguard_outbox_state_check",
    ),
    Index("waguard_outbox_message", "message_id"),
    Index("waguard_outbox_state", "state", "id"),
    Index("waguard_outbox_bulk", "bulk_id"),
    Index("waguard_outbox_age", "created_at"),
    sqlite_autoincrement=True,
)

# whose LID it is, or was: of each LID the newest row counts
PEOPLE = Table(
    "waguard_people",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("lid", String(128), nullable=False),
    Column("number", String(128), nullable=False),
    Column("learned_at", Double, nullable=False),  # unix time
    Index("waguard_people_session", "session_id", "id"),
)

# the numbers of which WhatsApp was asked whether it knows them
NUMBERS = Table(
    "waguard_numbers",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("number", String(128), nullable=False),
    Column("known", Boolean, nullable=False),
    Column("asked_at", Double, nullable=False),  # unix time
    UniqueConstraint("session_id", "number", name="waguard_numbers_once"),
)

# who of a group has got, read or played a message
READERS = Table(
    "waguard_readers",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("message_id", KEY, nullable=False),
    Column("reader", String(128), nullable=False),
    Column("ack", Integer, nullable=False),
    Column("at", Double, nullable=False),  # unix time
    Index("waguard_readers_message", "message_id", "session_id"),
    Index("waguard_readers_age", "at"),
)

# messages that WhatsApp Web could not decrypt: remembered until they can be read, and some time longer
UNDECRYPTABLE = Table(
    "waguard_undecryptable",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("workspace_id", BigInteger, nullable=False),
    Column("message_id", MESSAGE_ID, nullable=False),  # as the page has it
    Column("chat", String(128)),
    Column("at", Double, nullable=False),  # unix time of the message; the others are of waguard
    Column("since", Double, nullable=False),
    Column("state", String(16), nullable=False),
    Column("inbox_key", KEY),  # under which the inbox has it, once it could be read
    UniqueConstraint("session_id", "message_id", name="waguard_undecryptable_once"),
    CheckConstraint(
        "state IN ('waiting', 'readable', 'over', 'given_up')",
        name="waguard_undecryptable_state_check",
    ),
    Index("waguard_undecryptable_age", "state", "since"),
    Index("waguard_undecryptable_inbox", "session_id", "inbox_key"),
)

# files that are fetched after their messages
FILES = Table(
    "waguard_files",
    METADATA,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("session_id", SESSION_ID, nullable=False),
    Column("inbox_key", KEY, nullable=False),  # of its message
    Column("message_id", MESSAGE_ID, nullable=False),  # as the page has it
    Column("handle", String(64), nullable=False),  # by which the application asks for it
    Column("mimetype", String(200), nullable=False),
    Column("size", BigInteger),  # bytes, as its sender says
    Column("state", String(8), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("sha256", String(64)),  # under which it is kept
    Column("error", Text),
    Column("at", Double, nullable=False),  # unix time, since when it waits
    UniqueConstraint("handle", name="waguard_files_once"),
    CheckConstraint("state IN ('waiting', 'kept', 'failed')", name="waguard_files_state_check"),
    Index("waguard_files_state", "state", "session_id", "id"),
    Index("waguard_files_inbox", "session_id", "inbox_key"),
)

# which daemon supervises: one row. Its times are unix time by the database's own clock
LEASE = Table(
    "waguard_lease",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("machine", String(64), nullable=False),
    Column("runtime", Text, nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("instance", String(64), nullable=False),
    Column("taken_at", Double, nullable=False),
    Column("renewed_at", Double, nullable=False),
    Column("lasts", Double, nullable=False),  # seconds without a renewal, as the next one
    Column("renewed_every", Double, nullable=False),
    Column("released", Boolean, nullable=False),
)

# which installation this database belongs to: one row; the sessions folder has the same
INSTALLATION = Table(
    "waguard_installation",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("installation", String(64), nullable=False),
)

# credentials for another host: who has used each session's profile last, and what was shipped of it, sealed
CREDENTIALS = Table(
    "waguard_credentials",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("host", String(64), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("pairing", String(64)),
    Column("files", BODY),  # which files belong together; NULL: nothing was shipped
    Column("files_epoch", BigInteger, nullable=False),
    Column("shipped_at", Double, nullable=False),  # unix time
    Column("orderly", Boolean, nullable=False),
)

CREDENTIAL_PARTS = Table(
    "waguard_credential_parts",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("file", String(32), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("bytes", BODY, nullable=False),
)

# which proxy each session has; a session without a row: nobody has ever said so
PROXIES = Table(
    "waguard_proxies",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("mark", String(64), nullable=False),  # "": it has none
    Column("at", Double, nullable=False),  # unix time
    Column("sealed", LargeBinary),  # the proxy with its login; NULL: hosts share no credentials
)

# who owns which session, where several hosts share them; a session without a row: nobody has ever owned it
OWNERS = Table(
    "waguard_owners",
    METADATA,
    Column("session_id", SESSION_ID, primary_key=True),
    Column("host", String(255)),
    Column("incarnation", String(64)),
    Column("epoch", BigInteger, nullable=False),
    Column("to_host", String(255)),
    Column("moved_at", Double),  # unix time
)

# the leases of hosts, where the database is the engine; ``record``: the host record as JSON
HOSTS = Table(
    "waguard_hosts",
    METADATA,
    Column("host", SESSION_ID, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
)
