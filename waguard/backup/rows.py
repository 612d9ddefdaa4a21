"""The SQLite database of a backup: copied while others write, and made ready to be used again."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from waguard.core.backup_contents import Row
from waguard.core.messages.send_states import State
from waguard.core.restore_losses import Counts
from waguard.core.restored import REPEATABLE, WHY, doubt
from waguard.core.webhooks.delivery import EVENTS, HELD, Cause, Doubt
from waguard.errors import WaguardError
from waguard.host.files.private_files import open_private
from waguard.ports.webhooks import GLOBAL
from waguard.store.revision import VERSION_TABLE

_PATIENCE: Final = 30.0  # s that a locked database is waited for
_TEXT: Final = "CAST(body AS TEXT)"
_MARKED: Final = (  # as ``core.messages.news`` marks what comes in later
    f"body = CASE WHEN json_valid({_TEXT})"
    f" THEN CAST(json_set({_TEXT}, '$.data.restored', json('true')) AS BLOB) ELSE body END"
)
_UNFINISHED: Final = f"state IN ('{State.ACCEPTED}', '{State.SENDING}')"
_WAIT: Final = "state = 'pending' AND event NOT IN "
UNFINISHED: Final = "this installation was restored from a backup: it may have been sent since then"


class DatabaseUnreadableError(WaguardError):
    """The database cannot be read, or is damaged."""


def copy(source: Path, target: Path) -> str:
    """One moment of the database, in a new file, checked; its revision. Raises ``DatabaseUnreadableError``."""
    open_private(target).close()
    try:
        with (
            closing(_connect(source, "ro")) as there,
            closing(sqlite3.connect(target)) as copied,
        ):
            there.backup(copied)  # in one read transaction: writers go on beside it
            copied.execute("PRAGMA journal_mode=DELETE")
            _require_whole(copied, source)
            return _revision(copied)
    except sqlite3.Error as error:
        raise _unreadable(source, str(error)) from None


def count(database: Path) -> int | None:
    """How many sessions it has; None: nobody can say. 0 where there is no file, or nothing of waguard's in it."""
    if not database.exists():
        return 0
    try:
        with closing(_connect(database, "ro")) as connection:
            tables = _tables(connection) & {"waguard_sessions", "whatsapp_accounts"}
            counts = [
                connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - one of these two
                for name in tables
            ]
            return max(counts, default=0)
    except sqlite3.Error:
        return None


def sessions(database: Path) -> list[Row]:
    """Those that were not deleted, by id. Raises ``DatabaseUnreadableError``."""
    try:
        with closing(_connect(database, "ro")) as connection:
            if "waguard_sessions" not in _tables(connection):
                return []
            connection.row_factory = sqlite3.Row
            query = "SELECT * FROM waguard_sessions ORDER BY session_id"  # older ones lack columns
            found = [dict(it) for it in connection.execute(query)]
    except sqlite3.Error as error:
        raise _unreadable(database, str(error)) from None
    return [
        Row(
            session=str(it["session_id"]),
            workspace=it["workspace_id"],
            unpaired=bool(it.get("unpaired")),
        )
        for it in found
        if isinstance(it["workspace_id"], int)
        and not (it.get("removed_at") or it.get("deleted_at"))
    ]


def make_ready(database: Path, *, uses_lookup: bool, now: float) -> Counts:
    """Nothing of it is sent or delivered again by itself. ``uses_lookup``: the table of ``webhook.url``'s receiver can be
    asked. ``now`` is unix time. Raises ``DatabaseUnreadableError``."""
    unfinished = (State.ACCEPTED, State.SENDING)
    try:
        with closing(_connect(database, "rw")) as connection:
            _require_whole(connection, database)
            if not _revision(connection):
                return Counts()
            with connection:
                uncertain = connection.execute(
                    "UPDATE waguard_outbox SET state = ?, error = ?, content = NULL, updated_at = ?"
                    " WHERE state IN (?, ?)",
                    (State.UNCERTAIN, UNFINISHED, now, *unfinished),
                ).rowcount
                held = sum(
                    _hold(connection, event, endpoint, now, uses_lookup=uses_lookup)
                    for event in sorted(EVENTS)
                    for endpoint in ("=", "!=")
                )
                # the number of their LID may have become known meanwhile: then they were delivered
                held += connection.execute(
                    f"UPDATE waguard_deliveries SET {_MARKED}, cause = ?, last_error = ?, died_at = ? WHERE cause = ?",  # noqa: S608 - a constant
                    (Cause.RESTORED, WHY, now, Cause.UNIDENTIFIED),
                ).rowcount
                connection.execute("UPDATE waguard_lease SET released = 1")
            return Counts(uncertain=uncertain, held=held)
    except sqlite3.Error as error:
        raise _unreadable(database, str(error)) from None


def statements(*, uses_lookup: bool, now: float) -> list[str]:
    """What does the same on a server, for a database that was restored from a dump; only the bodies get no mark.
    ``uses_lookup`` and ``now`` are as of ``make_ready``."""
    repeatable = ", ".join(f"'{event}'" for event in sorted(REPEATABLE))
    waits, asks = f"{_WAIT}({repeatable})", f"event = '{HELD}' AND endpoint = '{GLOBAL}'"
    of_table = f"cause = '{Cause.RESTORED}' WHERE state = 'pending' AND {asks}"
    uncertain = f"state = '{State.UNCERTAIN}', error = '{UNFINISHED}', content = NULL"
    restored = f"cause = '{Cause.RESTORED}', last_error = '{WHY}', died_at = {now!r}"
    if uses_lookup:
        waits += f" AND NOT ({asks})"
    changes = [
        f"waguard_outbox SET {uncertain}, updated_at = {now!r} WHERE {_UNFINISHED}",
        *([f"waguard_deliveries SET {of_table}"] if uses_lookup else []),
        f"waguard_deliveries SET state = 'dead', {restored} WHERE {waits}",
        f"waguard_deliveries SET {restored} WHERE cause = '{Cause.UNIDENTIFIED}'",
        "waguard_lease SET released = true",
    ]
    return [f"UPDATE {change};" for change in changes]


def _hold(
    connection: sqlite3.Connection, event: str, which: str, now: float, *, uses_lookup: bool
) -> int:
    """What is pending of an event: for ``webhook.url`` ("=") or for the sessions' own receivers ("!=")."""
    pending = f" WHERE state = 'pending' AND event = ? AND endpoint {which} ?"
    match doubt(event, uses_lookup=uses_lookup and which == "="):
        case Doubt.NONE:
            return 0
        case Doubt.LOOKUP:
            values = f"{_MARKED}, cause = ?"
            given: tuple[object, ...] = (Cause.RESTORED,)
        case Doubt.WAIT:
            values = f"{_MARKED}, state = 'dead', cause = ?, last_error = ?, died_at = ?"
            given = (Cause.RESTORED, WHY, now)
    statement = f"UPDATE waguard_deliveries SET {values}{pending}"  # noqa: S608 - all of it is above
    return connection.execute(statement, (*given, event, GLOBAL)).rowcount


def _revision(connection: sqlite3.Connection) -> str:
    """Empty: waguard has never opened it."""
    if VERSION_TABLE not in _tables(connection):
        return ""
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    return str(row[0]) if row else ""


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode={mode}", uri=True, timeout=_PATIENCE)


def _require_whole(connection: sqlite3.Connection, database: Path) -> None:
    said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        raise _unreadable(database, f"it is damaged: {said}")


def _unreadable(database: Path, why: str) -> DatabaseUnreadableError:
    return DatabaseUnreadableError(
        f"the database {database} cannot be used: {why}",
        field="database.url",
        value=str(database),
        remedy="see `waguard doctor`",
    )
