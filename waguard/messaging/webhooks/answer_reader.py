"""Reads what a server answers that nobody vouches for: in pieces, and no further than it is worth.

Each chunk of a body, and each "100 Continue", costs as much as a whole one. A server could send millions.
"""

import asyncio
import time
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

PIECE: Final = 32 << 10  # bytes at a time; of chunks of one byte that is 8 ms
MOST: Final = 0.25  # s of CPU to understand an answer; a file of 16 MB takes 0.02


class CostlyAnswerError(aiohttp.ClientPayloadError):
    """An answer that costs too much to be read."""


class AnswerReader(ResponseHandler, asyncio.BufferedProtocol):
    """Ends the connection where an answer costs more than ``MOST`` seconds of CPU time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._piece = memoryview(bytearray(PIECE))
        self._cost: float | None = None
        """Seconds of CPU for the answer so far; None: it has not begun."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio.BufferedProtocol``."""
        del sizehint
        return self._piece

    def set_response_params(self, **params: Any) -> None:
        """aiohttp calls it before each answer."""
        self._cost = None
        super().set_response_params(**params)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own
        """aiohttp calls it for each chunk that is read, and it parses what may be left each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.BaseProtocol``. A body that only the connection's end ends is not whole where that broke,
        which aiohttp does not see."""
        if exc is not None and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError("the connection broke"), exc)
        super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        if self._cost is None:  # most answers have one piece, whose cost its size bounds
            self._cost = 0.0
            self.data_received(bytes(self._piece[:nbytes]))
            return
        began = time.thread_time()
        self.data_received(bytes(self._piece[:nbytes]))
        self._cost += time.thread_time() - began
        if self._cost > MOST:
            costly = CostlyAnswerError("its server sends it in too many small pieces")
            self.set_exception(costly)
            if self._payload is not None:
                self._payload.set_exception(costly)
            if self.transport:
                self.transport.abort()
