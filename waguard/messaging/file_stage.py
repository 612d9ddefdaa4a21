"""Received files: onto the disk before their messages are stored.

What the disk does not take is fetched after its message.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from loguru import logger

from waguard.core.messages.inbox import File, InboxRecord
from waguard.messaging.records import size_of, with_file, without_file
from waguard.messaging.write_queue import Put
from waguard.ports.inbox import MediaStore

DEADLINE: Final = 10.0  # s for the disk to write or read a file
NO_ANSWER: Final = "the disk does not answer"


class MediaWriter:
    """One file at a time, within ``deadline`` s; while one is stuck, no other is begun."""

    def __init__(self, files: MediaStore, *, deadline: float = DEADLINE) -> None:
        self._files = files
        self._deadline = deadline
        # the common threads may all wait for something else
        self._thread = ThreadPoolExecutor(1, "received files")
        self._last: asyncio.Future[str] | None = None

    async def write(self, file: File) -> str:
        """Write the file; its name. Raises ``OSError``, of which ``TimeoutError`` is one."""
        if self._last and not self._last.done():
            raise TimeoutError(NO_ANSWER)
        loop, keep = asyncio.get_running_loop(), self._files.keep
        self._last = loop.run_in_executor(self._thread, keep, file.content, file.mimetype)
        # the result of one that was too slow is not used
        self._last.add_done_callback(lambda it: it.cancelled() or it.exception())
        async with asyncio.timeout(self._deadline):
            return await asyncio.shield(self._last)


class FileStage:
    """Puts whose files are not on the disk yet, and those that came after them: ``add`` gets each
    in the order of their coming. ``base``: of the addresses of files."""

    def __init__(self, writer: MediaWriter, add: Callable[[Put], None], *, base: str) -> None:
        self._writer = writer
        self._add = add
        self._base = base
        self._puts: deque[Put] = deque()
        self._task: asyncio.Task[None] | None = None
        self.bytes = 0
        """Bytes of their bodies and files."""

    def __len__(self) -> int:
        return len(self._puts)

    @property
    def since(self) -> float | None:
        """When the oldest of them came (monotonic); None: there is none."""
        return self._puts[0].since if self._puts else None

    def put(self, put: Put) -> None:
        """Add it at once where no file is in its way; else behind that."""
        if not self._puts and not any(record.file for record in put.records):
            self._add(put)
            return
        self._puts.append(put)
        self.bytes += put.size
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="journal files")

    async def close(self) -> None:
        """Wait until all are added."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while self._puts:
            put, size = self._puts[0], self._puts[0].size
            if any(record.file for record in put.records):
                await self._write(put)
            self.bytes -= size
            self._puts.popleft()
            self._add(put)

    async def _write(self, put: Put) -> None:
        try:
            put.records = tuple([await self._written(record) for record in put.records])
        except Exception as error:  # noqa: BLE001 - it must not hold up everybody else
            logger.opt(exception=error).critical(
                "a bug in waguard: files are fetched after their messages", event="bug"
            )
            put.records = tuple(without_file(it, str(error), base=self._base) for it in put.records)
        put.size = size_of(put.records)

    async def _written(self, record: InboxRecord) -> InboxRecord:
        if record.file is None:
            return record
        try:
            name = await self._writer.write(record.file)
        except TimeoutError:
            return without_file(record, NO_ANSWER, base=self._base)
        except OSError as error:
            return without_file(record, error.strerror or str(error), base=self._base)
        return with_file(record, sha256=name, url=f"{self._base}/api/media/{name}")
