"""Compressed bodies: unpacked piece by piece, and to their end.

By ourselves: aiohttp takes one that was cut off for a whole one, and so half an object for none.
"""

import zlib
from typing import Final, Protocol

from aiohttp import StreamReader, web

from waguard.api.timings import LIMITS
from waguard.errors import InvalidInputError, WaguardError

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8  # in the low half of the first byte; some clients leave this header out


class UnknownEncodingError(WaguardError):
    """The body is packed in a way that is not known here."""

    status = 415


class Source(Protocol):
    """Where a body comes from."""

    async def next(self) -> bytes:
        """The next bytes, b"" at the end; raises ``RequestPayloadError`` or ``WaguardError``."""


class _Plain:
    def __init__(self, content: StreamReader) -> None:
        self._content = content

    async def next(self) -> bytes:
        return await self._content.readany()


class _Packed:
    def __init__(self, content: StreamReader, encoding: str, piece: int) -> None:
        self._content = content
        self._encoding = encoding
        self._piece = piece
        self._unpack = zlib.decompressobj(_GZIP if encoding == "gzip" else zlib.MAX_WBITS)
        self._begun = False
        self._more = False  # there may be more, without more to read

    async def next(self) -> bytes:
        while not self._unpack.eof:
            packed = await self._packed()
            if not packed and not self._more:
                if self._begun:
                    raise self._broken()
                return b""  # no body at all
            if not self._begun:
                self._begin(packed)
            try:
                piece = self._unpack.decompress(packed, self._piece)
            except zlib.error:
                raise self._broken() from None
            self._more = len(piece) == self._piece
            if piece:
                return piece
        if self._unpack.unused_data or await self._content.readany():
            raise self._broken()
        return b""

    async def _packed(self) -> bytes:
        if self._more or self._unpack.unconsumed_tail:
            return self._unpack.unconsumed_tail
        return await self._content.readany()

    def _begin(self, packed: bytes) -> None:
        self._begun = True
        if self._encoding == "deflate" and packed[0] & 0xF != _ZLIB_METHOD:
            self._unpack = zlib.decompressobj(-zlib.MAX_WBITS)

    def _broken(self) -> InvalidInputError:
        return InvalidInputError(
            f"the body is no {self._encoding}, or only a part of one",
            field="body",
            remedy="send it whole, or without Content-Encoding",
        )


def source(request: web.Request) -> Source:
    """The source of a request's body. Raises ``UnknownEncodingError``."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"} or not request.can_read_body:
        return _Plain(request.content)
    if encoding in {"gzip", "deflate"}:
        return _Packed(request.content, encoding, request.app[LIMITS].piece)
    raise UnknownEncodingError(
        f"unknown Content-Encoding {encoding[:60]!r}",
        field="Content-Encoding",
        remedy="use gzip or deflate, or leave it out",
    )
