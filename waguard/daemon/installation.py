"""The daemon's check whether the database is that of this installation, and its markers."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from loguru import logger

from waguard.config.sections import Config
from waguard.core import installation
from waguard.core.installation import Found, Known, Marker, Unknown, Unmarked
from waguard.core.replace import replace
from waguard.errors import (
    ConflictError,
    DatabaseUnknownError,
    UnavailableError,
    WaguardError,
    one_line,
)
from waguard.host.memory import installation_file
from waguard.ports.store import InstallationStore
from waguard.supervision.outages import Outages

KIND = "database_unknown"
RETRY_AFTER = 5.0  # s
DISK_DEADLINE: Final = (
    3.0  # s that a renewal of the lease waits for the disk of the sessions folder
)

Result = TypeVar("Result")


class Installation:
    """Fills ``ports.store.DatabaseControl``. A database that is not known to be ours is used by nobody: it is
    treated like one that is away."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: InstallationStore,
        outages: Outages,
    ) -> None:
        self._config = config
        self._store = store
        self._outages = outages
        self.disk_within = DISK_DEADLINE
        self._at_disk: asyncio.Future[Any] | None = None
        self._there: Marker | None = None
        """The folder's marker, as it was read last."""
        self._checked = False
        self._seen: Marker | None = None
        """The marker of the folder, as this run knows it."""
        self._marking = asyncio.Lock()
        self._unknown: Unknown | None = None
        self._accepted: Unknown | None = None
        self._unwritten = False
        self._etcd: tuple[str, str] | None = None
        """The etcd that those rely on who own sessions, and this host's, which is another one."""
        self._accepted_etcd = ""
        self.workers = 0
        """Living workers of an earlier daemon that no session has yet."""

    @property
    def marked(self) -> str:
        """The name of the installation, after ``mark``."""
        return self._seen.installation if self._seen else ""

    def why_barred(self) -> str | None:
        """Why nobody may use the database; None: they may."""
        return installation.words(self._unknown) if self._unknown else self._other_etcd

    async def check_folder(self) -> None:
        """Read the folder's marker before the database is opened. Raises ``UnavailableError``."""
        if self._seen is None:
            if (read := await self._on_disk(self._read)) is None:
                raise _unread("its disk does not answer")
            self._there, self._checked = read[0], True

    def recognize(self, found: Found) -> None:
        """Raises ``DatabaseUnknownError`` where it is not known to be ours, ``UnavailableError`` where the folder's
        marker was not read yet, and cannot be now. Without ``check_folder`` before it reads a small file."""
        if self._seen is None and not self._checked:
            self._there = self._marker()
        self._identify(found)

    async def mark(self) -> None:
        """Check it now, and write the markers that are missing: the database's first, for that of a folder alone
        expects it. Raises as ``recognize``. While the folder's disk does not answer, what was seen last counts."""
        async with self._marking:
            read = await self._on_disk(self._read)
            if not (read or self._seen):
                raise _unread("its disk does not answer")
            self._there, bare = read or (self._seen, False)
            found = await self._store.found(counted=bare or self.workers > 0)
            name = self._identify(found).installation or secrets.token_hex(16)
            if found.installation is None:
                marked = await self._store.mark(name)
                if marked == name:
                    logger.info("database marked", event="installation_marked", installation=name)
                else:  # by another host, a moment ago
                    name = marked
                    self._identify(replace(found, installation=name))
            marker = Marker(installation=name, database=found.name)
            may_be_marked = read and installation.may_be_marked(found, bare=bare)
            if may_be_marked and self._there != marker:
                self._there = await self._on_disk(partial(self._write, marker)) or self._there
            self._seen, self._accepted, self.workers = marker, None, 0

    async def recognize_etcd(self, seen: str) -> None:
        """Raises ``DatabaseUnknownError`` where those who own sessions have their leases in another etcd than ``seen``:
        who is alive there would be dead here."""
        kept = await self._store.etcd(seen)
        if kept != seen == self._accepted_etcd:
            await self._store.change_etcd(seen)
            kept = seen
        if kept == seen:  # also where another host has changed it
            self._accepted_etcd = ""
        self._etcd = (kept, seen) if kept != seen else None
        self._outages.update(KIND, self.why_barred())
        if why := self._other_etcd:
            raise DatabaseUnknownError(why, field="cluster.endpoints", retry_after=RETRY_AFTER)

    @property
    def _other_etcd(self) -> str | None:
        return installation.other_etcd_words(*self._etcd) if self._etcd else None

    def _identify(self, found: Found) -> Known | Unmarked:
        folder = self._folder()
        match installation.identify(folder, found, workers=self.workers, accepted=self._accepted):
            case Unknown() as unknown:
                self._unknown = unknown
                words = installation.words(unknown)
                self._outages.update(KIND, words)
                raise DatabaseUnknownError(words, field="database.url", retry_after=RETRY_AFTER)
            case Unmarked() as unmarked if self._unknown and self.workers and found.rows is None:
                return unmarked  # its rows may say that it is none of ours: ``mark`` counts them
            case known:
                self._unknown = None
                self._outages.update(KIND, self._other_etcd)
                return known

    async def _on_disk(self, do: Callable[[], Result]) -> Result | None:
        """What ``do`` returns; None: the disk does not answer. One that hangs holds one thread, and the common ones may
        all wait for another disk: the lease must not."""
        if self._at_disk and not self._at_disk.done():
            return None
        own = ThreadPoolExecutor(1, "installation")
        doing = self._at_disk = asyncio.get_running_loop().run_in_executor(own, do)
        own.shutdown(wait=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.disk_within):
                return await asyncio.shield(doing)
        return None

    def _read(self) -> tuple[Marker | None, bool]:
        """The folder's marker, and whether it is bare. Blocks, where its disk hangs."""
        there = self._marker()
        return there, there is None and installation_file.is_bare(self._config().paths.sessions)

    def _folder(self) -> Marker | None:
        """The folder's marker; what was seen before, where the folder is away."""
        found = self._there
        return found if found and found.installation else self._seen or found

    def _marker(self) -> Marker | None:
        """The folder's marker; what was seen before, where the system does not let it be read now."""
        try:
            return installation_file.read(self._config().paths.sessions)
        except OSError as error:
            if self._seen:
                return self._seen
            raise _unread(error) from None

    def _write(self, marker: Marker) -> Marker | None:
        """The marker, once it is there."""
        sessions = self._config().paths.sessions
        try:
            if installation_file.read(sessions) != marker:
                installation_file.write(sessions, marker)
        except (OSError, WaguardError) as error:
            if not self._unwritten:
                logger.warning(
                    "the marker of the sessions folder cannot be written",
                    event="installation_not_marked",
                    why=one_line(error),
                )
            self._unwritten = True
            return None
        self._unwritten = False
        return marker

    def accept(self) -> str:
        """See ``ports.store.DatabaseControl``."""
        if self._unknown is None and self._etcd:
            return self._accept_etcd(*self._etcd)
        if self._unknown is None:
            raise ConflictError(
                "the database is known to be this installation's: there is nothing to accept",
                remedy="`waguard status` shows what is wrong",
            )
        self._accepted = self._unknown
        logger.warning(
            "a person accepted the database",
            event="database_accepted",
            database=self._unknown.database,
            expected=self._unknown.expected,
        )
        return self._unknown.database

    def _accept_etcd(self, before: str, etcd: str) -> str:
        self._accepted_etcd = etcd
        logger.warning(
            "a person accepted another etcd for the owners of sessions",
            event="etcd_accepted",
            etcd=etcd,
            expected=before,
        )
        return f"the database, with etcd {etcd},"


def _unread(why: object) -> UnavailableError:
    return UnavailableError(
        f"whose sessions these are is not known: {why}",
        field="paths.sessions",
        retry_after=RETRY_AFTER,
    )
