"""Files to send that are too large for the database: on the disk, each by its SHA-256, for a day, or for an hour
where the next ones need its room."""

import asyncio
import functools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from waguard.config.sections import Config
from waguard.errors import NoRoomError, TooLargeError, UnavailableError
from waguard.host.files.media import START, MediaFolder, PartialFile
from waguard.ports.clock import Ages

AT_ONCE: Final = 8
THREADS: Final = 2
PIECE: Final = 1 << 20  # bytes that are written at a time
KEPT_FOR: Final = 86_400.0  # s after the last request that named it; longer where a message waits
KEPT_AT_LEAST: Final = 3_600.0  # s after that request, whoever needs room
RETRY_AFTER: Final = 5.0  # s


class OutgoingFile(NamedTuple):
    """A file that may be sent. ``name`` is its SHA-256, ``size`` in bytes, ``start`` its first ``media.START`` bytes."""

    name: str
    size: int
    mimetype: str
    start: bytes


class OutgoingFiles:
    """``config`` is read at each file; ``awaited``: the files of messages that wait. ``close`` it."""

    def __init__(
        self,
        files: MediaFolder,
        config: Callable[[], Config],
        awaited: Callable[[], Awaitable[Collection[str]]],
        ages: Ages,
    ) -> None:
        self.folder = files
        self._config = config
        self._awaited = awaited
        self._ages = ages
        self.threads = ThreadPoolExecutor(THREADS, "large files")
        """Write large files, received ones too: in the common threads small ones would wait for them."""
        self._coming = 0
        self._bytes = 0
        """Bytes that are still to come of those that said their size, and that came of the others."""

    def close(self) -> None:
        """No file comes any more."""
        self.threads.shutdown(wait=False)

    @property
    def limit(self) -> int:
        """Bytes of a file."""
        return self._config().media.file_limit << 20

    def path(self, name: str) -> Path | None:
        """Where the file lies; None: it is not kept. Blocks. Raises as ``MediaFolder.find``."""
        found = self.folder.find(name)
        return found and found[0]

    async def find(self, name: str) -> OutgoingFile | None:
        """The file; it is kept for another day. Raises as ``MediaFolder.find``."""
        return await asyncio.to_thread(self._find, name)

    def _find(self, name: str) -> OutgoingFile | None:
        if (found := self.folder.find(name)) is None:
            return None
        self.folder.touch(name)
        path, mimetype = found
        try:
            with path.open("rb") as file:
                return OutgoingFile(name, path.stat().st_size, mimetype, file.read(START))
        except FileNotFoundError:  # its day was over
            return None

    async def receive(
        self, pieces: AsyncIterator[bytes], mimetype: str, *, declared: int | None, field: str
    ) -> OutgoingFile:
        """Keep what comes; it is on the disk when this returns. ``declared``: how many bytes it is said to have.

        Raises ``TooLargeError``, ``NoRoomError``, ``UnavailableError``, and as ``pieces`` and the database do; then
        nothing is left.
        """
        self._require_fit(declared or 0, field)
        if self._coming >= AT_ONCE:
            raise UnavailableError(
                "too many files come in",
                field=field,
                remedy="send it again in a while",
                retry_after=RETRY_AFTER,
            )
        loop = asyncio.get_running_loop()
        self._coming += 1
        self._bytes += (expected := declared or self.limit)
        try:
            await self._require_share(field)
            draft = await loop.run_in_executor(self.threads, self.folder.begin, declared or 0)
            try:
                name = await self._written(draft, pieces, mimetype, field)
            finally:
                await asyncio.shield(loop.run_in_executor(self.threads, draft.discard))
            return OutgoingFile(name, draft.size, mimetype, draft.start)
        except OSError as error:
            raise _no_room(error.strerror or str(error), field, "free some space") from None
        finally:
            self._coming -= 1
            self._bytes -= expected

    async def _require_share(self, field: str) -> None:
        """Have the files no larger than ``media.limit``, together with those that come."""
        loop, limit = asyncio.get_running_loop(), self._config().media.limit << 20
        if await loop.run_in_executor(self.threads, self.folder.size) + self._bytes > limit:
            spared = await self._awaited()
            tidy = functools.partial(
                self.folder.tidy,
                now=self._ages.ago(KEPT_AT_LEAST) + KEPT_AT_LEAST,
                keep_for=math.inf,
                size_limit=limit - self._bytes,
                spared=spared,
                spared_for=KEPT_AT_LEAST,
            )
            await loop.run_in_executor(self.threads, tidy)
            if await loop.run_in_executor(self.threads, self.folder.size) + self._bytes > limit:
                raise _no_room(
                    "media.limit is full of files that wait to be sent, or were named within the hour",
                    field,
                    "wait until an hour after earlier ones have been sent, or raise media.limit",
                )

    async def _written(
        self, draft: PartialFile, pieces: AsyncIterator[bytes], mimetype: str, field: str
    ) -> str:
        loop, waiting = asyncio.get_running_loop(), bytearray()
        async for piece in pieces:
            waiting += piece
            self._require_fit(draft.size + len(waiting), field)
            if len(waiting) >= PIECE:
                await loop.run_in_executor(self.threads, draft.write, bytes(waiting))
                waiting.clear()
        await loop.run_in_executor(self.threads, draft.write, bytes(waiting))
        return await loop.run_in_executor(self.threads, draft.keep, mimetype)

    def _require_fit(self, size: int, field: str) -> None:
        if size > self.limit:
            raise TooLargeError(
                f"the file has more than {self.limit} bytes",
                field=field,
                remedy="send a smaller file or a link to it, or raise media.file_limit",
            )


def _no_room(why: str, field: str, remedy: str) -> NoRoomError:
    return NoRoomError(f"the file is not kept: {why}", field=field, remedy=remedy, retry_after=60)
