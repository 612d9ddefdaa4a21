"""An installation on an SQLite database, with paired sessions, and a host that has nothing yet."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.profile.leveldb_files import profile
from tests.store import template
from waguard.backup import restoring, saving
from waguard.backup.restoring import Result
from waguard.config.placing import placed
from waguard.config.sections import Config
from waguard.core.backup_contents import Manifest
from waguard.core.installation import Marker
from waguard.host.memory import installation_file
from waguard.profile import layout, owner_mark
from waguard.profile.lock import ProfileLock

KEY: Final = bytes(range(32))
API_KEY: Final = "a-key-of-more-than-16-characters\n"
MARKER: Final = Marker(installation="0a1b2c3d", database="waguard.db")
PAIRED: Final = ("alpha", "beta")
UNPAIRED: Final = "gamma"


class Installation:
    """Everything below ``folder``."""

    def __init__(self, folder: Path, **sections: dict[str, Any]) -> None:
        folder.mkdir(mode=0o700)
        self.folder = folder
        paths = {name: name for name in ("state", "sessions")} | {"runtime": "run"}
        self.config: Config = placed(({"paths": paths, **sections},), folder)
        self.database = folder / "state/waguard.db"
        self.file = folder / "waguard.toml"
        for name in ("state", "sessions"):
            (folder / name).mkdir(mode=0o700)

    async def fill(self) -> None:
        """Sessions, a database, keys."""
        await template.copy_to(self.database)
        for name in PAIRED:
            at = layout.places(self.config.paths.sessions, 7, name)
            profile(at.profile, name)
            with ProfileLock(at.profile) as lock:
                owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        profile(layout.path(self.config.paths.sessions, 7, UNPAIRED))
        installation_file.write(self.config.paths.sessions, MARKER)
        for name, content in (
            ("state/api-key", API_KEY),
            ("state/keys.json", '{"version":1,"keys":[]}'),
            ("state/versions.json", "{}"),
            ("waguard.toml", "[log]\nlevel = 'DEBUG'\n"),
        ):
            (self.folder / name).write_text(content)
            (self.folder / name).chmod(0o600)

    def run(self, statement: str, *rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """A statement on the database."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            if not rows:
                return connection.execute(statement).fetchall()
            connection.executemany(statement, rows)
        return []

    def save(
        self, folder: Path, key: bytes | None = None, keep: int | None = None
    ) -> tuple[Path, Manifest]:
        """A backup, as `waguard backup` makes one."""
        folder.mkdir(exist_ok=True)
        return saving.into_folder(self.source(key), folder, keep=keep)

    def source(self, key: bytes | None = None) -> saving.Source:
        return saving.Source(config=self.config, configuration=self.file, key=key)

    def restore(self, file: Path, key: bytes | None = None, **more: bool) -> Result:
        """As `waguard restore` does it."""
        with file.open("rb") as raw:
            used = self.file if self.file.exists() else None
            return restoring.run(self.config, used, raw, key, **more)

    def files(self) -> dict[str, bytes]:
        """All that is there."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


OUTBOX: Final = (
    "INSERT INTO waguard_outbox (session_id, workspace_id, chat, kind, body, content, message_id, state, attempts,"
    " fingerprint, queued, answered, created_at, updated_at) VALUES ('alpha', 7, '4917@c.us', 'text', x'7b7d', x'00',"
    " ?, ?, 0, 'f', 1, 0, ?, ?)"
)
DELIVERY: Final = (
    "INSERT INTO waguard_deliveries (endpoint, event_id, event, session_id, lane, body, state, attempts, next_at,"
    " created_at, cause) VALUES (?, ?, ?, 'alpha', ?, ?, ?, 0, 0, 0, ?)"
)


def message(number: int, state: str) -> tuple[Any, ...]:
    """A row for ``OUTBOX``."""
    return f"true_4917@c.us_{number}", state, time.time(), time.time()


def webhook(
    number: int,
    event: str,
    endpoint: str = "*",
    state: str = "pending",
    cause: str | None = None,
    chat: str = "4917@c.us",
) -> tuple[Any, ...]:
    """A row for ``DELIVERY``."""
    body = {"event": event, "data": {"message": {"id": f"false_{chat}_{number}"}}}
    return endpoint, f"{number:032x}", event, chat, json.dumps(body).encode(), state, cause
