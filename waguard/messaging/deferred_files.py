"""Files that come after their messages: fetched one at a time for each session, and again where that failed."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import Final, Self

from loguru import logger
from msgspec import Struct

from waguard.config.sections import Config
from waguard.core.messages.received_media import content_type
from waguard.core.messages.transfers import transfer_time
from waguard.errors import (
    DatabaseUnavailableError,
    NotFoundError,
    UnavailableError,
    WaguardError,
)
from waguard.host.files.lock import private_folder
from waguard.host.files.media import MediaFolder
from waguard.messaging.journal import Journal
from waguard.messaging.own_sessions import OwnSessions
from waguard.ports.clock import Ages
from waguard.ports.messages import DeferredFile, FileState, MessageStore, NamedFile
from waguard.ports.sessions import Sessions
from waguard.wire.calls import SAVED, FetchFile

SLACK: Final = 1 << 20  # bytes that a file may have beyond what its sender says
GIVE_UP_AFTER: Final = (
    86_400.0  # s of a daemon for its session to be connected, and for room on the disk
)


class FetchTimings(Struct, frozen=True, kw_only=True):
    """In seconds."""

    base: float = 60.0
    """For a file, beside what its size takes."""
    retry: float = 15.0
    """Until a session is asked again that was not ready, or whose file was not fetched."""
    tries: int = 3
    """How often a file is tried."""
    at_once: int = 4
    """Files of different sessions."""


class DeferredFiles:
    """An async context manager. ``config`` is read at each file; ``threads`` are for large ones; ``base``: of the
    addresses of files; ``in_cluster``: only files of sessions that are acquired are fetched."""

    def __init__(  # noqa: PLR0913 - the seams, as a port each
        self,
        sessions: Sessions,
        journal: Journal,
        files: MediaFolder,
        config: Callable[[], Config],
        ages: Ages,
        *,
        threads: Executor,
        base: str,
        timings: FetchTimings | None = None,
        in_cluster: bool = False,
    ) -> None:
        self._sessions = sessions
        self._store: MessageStore = journal.store
        self._files = files
        self._config = config
        self._ages = ages
        self._threads = threads
        self._base = base
        self._timings = timings or FetchTimings()
        self._own = OwnSessions(every=not in_cluster)
        self._changed = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        """By session."""
        self._rests: dict[str, float] = {}
        """By session: time of the loop before which it is not asked again."""
        self._coming = 0
        """Bytes that Chromium may write for the files that are under way."""
        journal.announcer.on_file.append(self._changed.set)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="deferred files")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Begin nothing more; what is under way is fetched by the next run."""
        tasks = [self._task, *self._busy.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``."""
        self._own.expect(sessions)
        self._changed.set()

    async def release(self, session_id: str) -> None:
        """As at the end: what is under way is fetched by the next owner."""
        await self.lose((session_id,))

    async def lose(self, sessions: Collection[str]) -> None:
        """Fetch nothing more of them, and write nothing."""
        self._own.drop(sessions)
        tasks = [task for name in sessions if (task := self._busy.get(name))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in sessions:
            self._rests.pop(name, None)

    async def fetch_again(self, file: NamedFile) -> tuple[str, FileState]:
        """Have a message's file fetched, unless it is kept; its address, and whether it is there. Errors are those of ``Store``."""
        kept = file.deferred.sha256 if file.deferred else file.sha256
        found = await asyncio.to_thread(self._files.find, kept) if kept else None
        if kept and found:
            name, state = file.deferred.handle if file.deferred else kept, FileState.KEPT
        else:
            name, state = await self._store.fetch_again(file), FileState.WAITING
            self._rests.pop(file.session_id, None)
            self._changed.set()
        return f"{self._base}/api/media/{name}", state

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            busy = frozenset(self._busy)  # of those that end meanwhile it reads what was before
            try:
                for file in await self._store.files_to_fetch():
                    if file.session_id not in busy and file.session_id in self._own:
                        self._begin(file)
            except WaguardError as error:
                logger.debug("files wait for the database", why=error.line())
            except Exception:  # noqa: BLE001 - nobody else would fetch what waits
                logger.exception("a bug in waguard: files wait, trying again", event="bug")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.retry):
                    await self._changed.wait()

    def _begin(self, file: DeferredFile) -> None:
        name = file.session_id
        rests = self._rests.get(name, 0.0) > asyncio.get_running_loop().time()
        if name in self._busy or rests or len(self._busy) >= self._timings.at_once:
            return
        task = asyncio.create_task(self._handle(file), name=f"file {name}")
        self._busy[name] = task
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, session_id: str) -> None:
        del self._busy[session_id]
        self._changed.set()

    async def _handle(self, file: DeferredFile) -> None:
        self._coming += (limit := self._limit(file))
        try:
            await self._fetch_or_wait(file, limit)
        except Exception as error:  # noqa: BLE001 - it would be begun again at once, and no log would say why
            logger.exception(
                "a bug in waguard: a file could not be fetched",
                event="bug",
                session=file.session_id,
                id=file.message_id,
            )
            await self._failed(file, f"a bug in waguard: {type(error).__name__}")
        finally:
            self._coming -= limit

    def _limit(self, file: DeferredFile) -> int:
        """Bytes that Chromium may write for it."""
        most = self._config().media.file_limit << 20
        return min(most, file.size + SLACK) if file.size else most

    async def _fetch_or_wait(self, file: DeferredFile, limit: int) -> None:
        """Fetch it, or let it wait; give up what cannot be had."""
        try:
            if (size := file.size or 0) > limit:
                why = f"the file is said to have {size} bytes, the limit is {limit}"
                await self._give_up(file, why)
                return
            await self._sessions.ready(file.session_id, wait=0.0)
            await self._require_room(file)
        except NotFoundError as error:
            await self._give_up(file, error.message)
            return
        except WaguardError as error:
            if self._ages.age(file.at) > GIVE_UP_AFTER:
                await self._give_up(file, f"it waited for a day: {error.message}")
            self._rest(file)
            return
        await self._try(file, limit)

    async def _require_room(self, file: DeferredFile) -> None:
        """Raises ``UnavailableError`` where the disk takes nothing now, or not so many at once."""
        loop, handle, coming = asyncio.get_running_loop(), file.handle, self._coming
        try:
            await loop.run_in_executor(self._threads, _prepare, self._files, handle, coming)
        except OSError as error:
            raise UnavailableError(error.strerror or str(error)) from None

    async def _try(self, file: DeferredFile, limit: int) -> None:
        try:
            await self._store.begin_file(file.handle)
            await self._record(file, await self._fetch(file, limit))
        except DatabaseUnavailableError:
            self._rest(file)
        except (WaguardError, OSError) as error:
            why = error.message if isinstance(error, WaguardError) else str(error.strerror)
            logger.warning(
                "a file could not be fetched",
                event="media_not_fetched",
                session=file.session_id,
                id=file.message_id,
                why=why,
            )
            await self._failed(file, why)

    async def _record(self, file: DeferredFile, name: str) -> None:
        """Record that it is kept; a database that is away costs it no other try."""
        while True:
            try:
                await self._store.end_file(file.handle, sha256=name)
            except DatabaseUnavailableError:
                await asyncio.sleep(self._timings.retry)
            else:
                return

    async def _failed(self, file: DeferredFile, why: str) -> None:
        self._rest(file)
        if file.tries + 1 >= self._timings.tries:
            await self._give_up(file, why)

    async def _fetch(self, file: DeferredFile, limit: int) -> str:
        loop, folder = asyncio.get_running_loop(), self._files.coming(file.handle)
        call = FetchFile(
            message_id=file.message_id,
            folder=str(folder),
            limit=limit,
            timeout=self._timings.base + transfer_time(file.size or limit),
        )
        try:
            await self._sessions.call(file.session_id, call, wait=0.0)
            mimetype = content_type(file.mimetype)
            saved = folder / SAVED
            return await loop.run_in_executor(self._threads, self._files.keep_file, saved, mimetype)
        finally:
            await asyncio.shield(loop.run_in_executor(self._threads, self._files.discard, folder))

    async def _give_up(self, file: DeferredFile, why: str) -> None:
        try:
            await self._store.end_file(file.handle, error=why)
        except WaguardError as error:  # without the database it is tried once more
            logger.debug("a file is not given up yet", why=error.line())
            self._rest(file)
            return
        logger.warning(
            "a file is left out",
            event="media_left_out",
            why=why,
            session=file.session_id,
            key=file.message_id,
        )

    def _rest(self, file: DeferredFile) -> None:
        now = asyncio.get_running_loop().time()
        self._rests[file.session_id] = now + self._timings.retry


def _prepare(files: MediaFolder, name: str, size: int) -> None:
    """Make the folder of what comes. Raises ``OSError`` where its disk does not take so many bytes."""
    files.require_room(size)
    private_folder(files.coming(name))
