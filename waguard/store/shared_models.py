"""Tables of what the hosts of a cluster share beside their sessions, as the newest migration leaves them."""

from sqlalchemy import BigInteger, Column, Double, Integer, String, Table, Text
from sqlalchemy.dialects import mysql

from waguard.store.models import METADATA

# keys that all hosts of a cluster accept, by their SHA-256
SHARED_KEYS = Table(
    "waguard_keys",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("id", String(8), nullable=False, unique=True),
    Column(
        "version", Integer, nullable=False
    ),  # of the record: who knows another one accepts no such key
    Column("record", Text, nullable=False),  # the key as it was issued, as JSON
    Column("expires_at", Double),  # unix time, as the others
    Column("ended_at", Double),  # it was revoked: that is final
    Column("ended_by", String(255)),
    Column("used_at", Double),
    Column("seal", String(64), nullable=False),  # without a good one nobody accepts the key
)

# one row, which whoever changes keys has locked
KEY_CHANGES = Table(
    "waguard_key_changes",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

# what each destination was sent, for the next host that sends alerts
SENT_ALERTS = Table(
    "waguard_alerts",
    METADATA,
    Column("destination", String(32), primary_key=True),
    Column("at", Double, nullable=False),  # unix time; an earlier one is not written over it
    Column("record", Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
)
