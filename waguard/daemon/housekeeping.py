"""What the configuration keeps no longer is deleted, a little at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.config.sections import Config
from waguard.errors import WaguardError
from waguard.host.files.media import MediaFolder
from waguard.host.memory.lived import LivedTime
from waguard.host.ticker import Ticker
from waguard.messaging.outbox.outgoing_files import KEPT_FOR, OutgoingFiles
from waguard.profile import quarantine
from waguard.store import retention
from waguard.store.engine import sqlite_file
from waguard.store.sql import SqlStore
from waguard.supervision.session import kept_screenshots

INTERVAL: Final = 3600.0  # s
DAY: Final = 86400.0  # s


class Housekeeping:
    """Quarantined profiles, rows, received files and pictures, each by its own retention."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: SqlStore,
        media: MediaFolder,
        ages: LivedTime,
        outgoing: OutgoingFiles,
    ) -> None:
        self._config = config
        self._store = store
        self._media = media
        self._ages = ages
        self._outgoing = outgoing

    def schedule(self, ticker: Ticker, expire: Callable[[float], Awaitable[int]]) -> None:
        """Hourly, each by itself: one that hangs holds up no other. ``expire``: as ``tidy_database`` has it."""
        ticker.every(INTERVAL, "tidy profiles", self.tidy_profiles)
        ticker.every(INTERVAL, "tidy database", partial(self.tidy_database, expire))
        ticker.every(INTERVAL, "tidy media", self.tidy_media)
        ticker.every(INTERVAL, "tidy evidence", self.tidy_evidence)

    async def tidy_profiles(self) -> None:
        """Delete quarantined profiles beyond ``profiles.quarantine_days`` or ``quarantine_limit``."""
        config = self._config()
        keep_for = config.profiles.quarantine_days * DAY
        purged = await asyncio.to_thread(
            quarantine.purge,
            config.paths.sessions,
            now=self._ages.ago(keep_for) + keep_for,
            keep_for=keep_for,
            size_limit=config.profiles.quarantine_limit << 20,
        )
        for copy in purged:
            logger.info(
                "quarantined profile deleted",
                event="quarantine_purged",
                session=copy.session,
                folder=copy.name,
            )

    async def tidy_database(self, expire: Callable[[float], Awaitable[int]]) -> None:
        """Delete rows beyond ``retention``; ``expire`` gives up webhooks that were queued before then (unix time)."""
        keep, ages = self._config().retention, self._ages
        try:
            messages = await retention.tidy_messages(self._store.messages, keep, ages, expire)
            messages += await retention.tidy_outbox(self._store.outbox, keep, ages)
            entries = await retention.tidy_audit(self._store, keep, ages)
            await self._store.compact()
        except WaguardError as error:
            logger.warning(
                "the database is not tidied, trying again later",
                event="database_not_tidied",
                why=error.line(),
            )
            return
        if messages or entries:
            logger.info("old rows deleted", event="rows_purged", messages=messages, audit=entries)

    async def tidy_media(self) -> None:
        """Delete received files beyond ``media``, and old ones to send."""
        try:
            count = await retention.tidy_media(
                self._media, self._store.messages, self._config().media, self._ages
            )
            count += await retention.tidy_outgoing(
                self._outgoing.folder, self._store.outbox, KEPT_FOR, self._ages
            )
        except WaguardError as error:
            logger.warning(
                "files are not tidied, trying again later",
                event="media_not_tidied",
                why=error.line(),
            )
            return
        if count:
            logger.info("old files deleted", event="media_purged", count=count)

    async def tidy_evidence(self) -> None:
        """Delete pictures of pages that no entry of the trail names any more: ``retention.audit_days``."""
        config = self._config()
        before = self._ages.ago(config.retention.audit_days * DAY)
        folder = config.paths.state / kept_screenshots.FOLDER
        try:
            count = await asyncio.to_thread(kept_screenshots.purge, folder, before=before)
        except OSError as error:
            logger.warning(
                "pictures are not tidied, trying again later",
                event="evidence_not_tidied",
                why=str(error),
            )
            return
        if count:
            logger.info("old pictures of pages deleted", event="evidence_purged", count=count)


def written(config: Config) -> tuple[Path, ...]:
    """Folders on whose disks sessions and messages are stored."""
    paths = (config.paths.sessions, config.paths.state)
    database = sqlite_file(config.database.url)
    return (*paths, database.parent) if database else paths
