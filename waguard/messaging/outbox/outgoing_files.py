"""Files to send that are too large for the database: on the disk, each by its SHA-256, for a day."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from waguard.config.sections import Config
from waguard.errors import NoRoomError, TooLargeError, UnavailableError
from waguard.host.files.media import MediaFolder, PartialFile

AT_ONCE: Final = 8
THREADS: Final = 2
PIECE: Final = 1 << 20  # bytes that are written at a time
KEPT_FOR: Final = 86_400.0  # s after the last request that named it; longer where a message waits
RETRY_AFTER: Final = 5.0  # s


class OutgoingFile(NamedTuple):
    """A file that may be sent. ``name`` is its SHA-256, ``size`` in bytes."""

    name: str
    size: int
    mimetype: str


class OutgoingFiles:
    """``config`` is read at each file. ``close`` it."""

    def __init__(self, files: MediaFolder, config: Callable[[], Config]) -> None:
        self.folder = files
        self._config = config
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
        """Where the file lies; None: it is not kept. Blocks."""
        found = self.folder.find(name)
        return found and found[0]

    async def find(self, name: str) -> OutgoingFile | None:
        """The file; it is kept for another day."""
        return await asyncio.to_thread(self._find, name)

    def _find(self, name: str) -> OutgoingFile | None:
        if (found := self.folder.find(name)) is None:
            return None
        self.folder.touch(name)
        try:
            return OutgoingFile(name, found[0].stat().st_size, found[1])
        except FileNotFoundError:  # its day was over
            return None

    async def receive(
        self, pieces: AsyncIterator[bytes], mimetype: str, *, declared: int | None, field: str
    ) -> OutgoingFile:
        """Keep what comes; it is on the disk when this returns. ``declared``: how many bytes it is said to have.

        Raises ``TooLargeError``, ``NoRoomError``, ``UnavailableError``, and as ``pieces`` does; then nothing is left.
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
            held = await loop.run_in_executor(self.threads, self.folder.size)
            if held + self._bytes > self._config().media.limit << 20:
                raise _no_room("the files to send have more than media.limit", field)
            draft = await loop.run_in_executor(self.threads, self.folder.begin, declared or 0)
            try:
                name = await self._written(draft, pieces, mimetype, field)
            finally:
                await asyncio.shield(loop.run_in_executor(self.threads, draft.discard))
            return OutgoingFile(name, draft.size, mimetype)
        except OSError as error:
            raise _no_room(error.strerror or str(error), field) from None
        finally:
            self._coming -= 1
            self._bytes -= expected

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


def _no_room(why: str, field: str) -> NoRoomError:
    return NoRoomError(
        f"the file is not kept: {why}",
        field=field,
        remedy="free some space, or wait until earlier files have been sent",
        retry_after=60,
    )
