"""Chromium's DevTools pipe: JSON messages, each ended by a NUL byte, over two descriptors.

Neither direction is unbounded: Chromium itself drops the connection, and with it the browser, at a
message of 100 MB, and a browser that no longer reads must not fill the worker's memory.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Self

from waguard.worker.browser.errors import DevToolsClosedError, DevToolsError

MAX_MESSAGE = (
    64 << 20
)  # bytes of one message; the largest honest one is a screenshot or a media chunk
MAX_UNREAD = 128 << 20  # bytes that wait for a browser that does not read
HEAD = 4096  # bytes kept of a message that is too long: enough for the id of the call it answers


class _Incoming(asyncio.Protocol):
    """Cuts the stream into messages; of one that is too long it keeps the head only."""

    def __init__(
        self,
        deliver: Callable[[bytes], None],
        oversize: Callable[[bytes, int], None],
        lost: Callable[[], None],
        limit: int,
    ) -> None:
        self._deliver = deliver
        self._oversize = oversize
        self._lost = lost
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def data_received(self, data: bytes) -> None:
        for place, part in enumerate(data.split(b"\0")):
            if place:
                self._finish()
            if part:
                self._size += len(part)
                self._parts.append(part)
            if self._size > self._limit:
                self._parts = [b"".join(self._parts)[:HEAD]]

    def _finish(self) -> None:
        message, size = b"".join(self._parts), self._size
        self._parts, self._size = [], 0
        if size > self._limit:
            self._oversize(message, size)
        elif message:
            self._deliver(message)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost()


class _Outgoing(asyncio.BaseProtocol):
    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost()


class Pipe:
    """Both ends that the worker holds. It owns the descriptors from the call of ``open`` on.

    ``lost`` is called once, when either direction has ended, whoever ended it.
    """

    def __init__(self, lost: Callable[[], None], limit: int) -> None:
        self._on_lost = lost
        self._limit = limit
        self._open = 2
        self._closed = asyncio.Event()
        self._ready = False
        self._resting: asyncio.TimerHandle | None = None
        self._reader: asyncio.ReadTransport
        self._writer: asyncio.WriteTransport

    @classmethod
    async def open(
        cls,
        read_fd: int,
        write_fd: int,
        *,
        deliver: Callable[[bytes], None],
        oversize: Callable[[bytes, int], None],
        lost: Callable[[], None],
        limit: int = MAX_MESSAGE,
    ) -> Self:
        pipe = cls(lost, limit)
        loop = asyncio.get_running_loop()
        read_file, write_file = os.fdopen(read_fd, "rb", 0), os.fdopen(write_fd, "wb", 0)
        # asyncio closes the end that it was asked for when it is cancelled; the other one is ours
        try:
            pipe._writer, _ = await loop.connect_write_pipe(
                lambda: _Outgoing(pipe._one_lost), write_file
            )
        except BaseException:
            read_file.close()
            raise
        try:
            pipe._reader, _ = await loop.connect_read_pipe(
                lambda: _Incoming(deliver, oversize, pipe._one_lost, pipe._limit), read_file
            )
        except BaseException:
            pipe._writer.abort()
            raise
        pipe._ready = True
        if pipe._open < 2:  # noqa: PLR2004  # lost while the other was opened
            pipe._lose()
            lost()
        return pipe

    def send(self, message: bytes) -> None:
        """Queue a message; raises ``DevToolsError`` when it would pass a bound."""
        if self._open < 2:  # noqa: PLR2004  # both directions
            raise DevToolsClosedError("the browser is gone")
        if len(message) > self._limit:
            raise DevToolsError(
                f"a message of {len(message)} bytes is over the limit of {self._limit}",
                remedy="send it in chunks",
            )
        if self._writer.get_write_buffer_size() + len(message) > MAX_UNREAD:
            raise DevToolsError("the browser does not read what it is sent")
        self._writer.write(message + b"\0")

    @property
    def resting(self) -> bool:
        """Whether nothing is read for now."""
        return self._resting is not None

    def rest(self, seconds: float) -> None:
        """Read nothing for so long from now on, or until an earlier rest ends: Chromium keeps what it writes."""
        loop = asyncio.get_running_loop()
        if self._resting is not None and self._resting.when() >= loop.time() + seconds:
            return
        if self._resting is not None:
            self._resting.cancel()
        self._reader.pause_reading()
        self._resting = loop.call_later(seconds, self._read_again)

    def _read_again(self) -> None:
        self._resting = None
        self._reader.resume_reading()

    def abort(self) -> None:
        """Close both directions without waiting; ``lost`` follows."""
        if not self._writer.is_closing():  # asyncio's own is not safe to repeat
            self._writer.abort()
        self._reader.close()

    async def wait_closed(self) -> None:
        """Until both descriptors are closed."""
        await self._closed.wait()

    def _one_lost(self) -> None:
        self._open -= 1
        if self._ready:
            self._lose()
            if self._open == 1:
                self._on_lost()

    def _lose(self) -> None:
        if self._open == 1:
            self.abort()
        else:
            self._closed.set()
