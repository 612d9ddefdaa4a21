"""Messages over a stream: four bytes of length, then MessagePack."""

import asyncio
import socket
import struct
from typing import Any, Final, Generic, TypeVar

import msgspec

from waguard.errors import WaguardError, printable

# a message carries at most one media file (16 MiB) and a little around it
FRAME_LIMIT: Final = 24 << 20
_HEADER: Final = 4
_CHUNK: Final = 64 << 10
_SHOWN: Final = 200  # characters of what is wrong: it may quote what came

_UCRED: Final = struct.Struct("3i")

Incoming = TypeVar("Incoming")


def peer_uid(writer: asyncio.StreamWriter) -> int:
    """Who is at the other end of a Unix socket."""
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(raw)
    return int(uid)


class ChannelError(WaguardError):
    """The peer sent something that is no message of the protocol: ``frame``, where all of it came."""

    def __init__(self, message: str, frame: bytes = b"") -> None:
        super().__init__(message)
        self.frame = frame


class Channel(Generic[Incoming]):
    """One connection; ``incoming`` is the union of what the peer may say."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        incoming: Any,
        *,
        limit: int = FRAME_LIMIT,
    ) -> None:
        """``limit``: bytes of a message, either way."""
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._read = bytearray()
        self.received = 0
        """Bytes so far."""

    async def receive(self) -> Incoming:
        """Raises ``EOFError`` when the peer is gone, ``ChannelError`` when it talks nonsense."""
        while (frame := self._whole_frame()) is None:
            try:
                chunk = await self._reader.read(_CHUNK)
            except ConnectionError as error:
                raise EOFError("the peer hung up") from error
            if not chunk:
                raise EOFError("the peer hung up")
            self._read += chunk
            self.received += len(chunk)
        try:
            message: Incoming = self._decoder.decode(frame)
        except (ValueError, RecursionError) as error:
            why = printable(str(error)[:_SHOWN])
            raise ChannelError(f"not a message of this protocol: {why}", frame) from error
        return message

    def _whole_frame(self) -> bytes | None:
        """The next one, as soon as all of it is there."""
        if len(self._read) < _HEADER:
            return None
        size = int.from_bytes(self._read[:_HEADER])
        if size > self._limit:
            raise ChannelError(f"a message of {size} bytes is over the limit of {self._limit}")
        end = _HEADER + size
        if len(self._read) < end:
            return None
        frame = bytes(self._read[_HEADER:end])
        del self._read[:end]
        return frame

    @property
    def closing(self) -> bool:
        """Whether nothing that is posted now leaves any more."""
        return self._writer.is_closing()

    def post(self, *messages: msgspec.Struct) -> None:
        """Queue without waiting, many with one write: each write counts all that wait. What a dead peer does not take is
        lost with it. Raises ``ChannelError`` at the first that is too large, with those before it queued."""
        if self.closing:
            return
        frames = bytearray()
        try:
            for message in messages:
                frame = self._encoder.encode(message)
                if len(frame) > self._limit:
                    raise ChannelError(
                        f"a message of {len(frame)} bytes is over the limit of {self._limit}"
                    )
                frames += len(frame).to_bytes(_HEADER)
                frames += frame
        finally:
            self._writer.write(frames)

    async def send(self, message: msgspec.Struct) -> None:
        """Queue and wait until the peer keeps up. Raises ``EOFError`` when it is gone."""
        self.post(message)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise EOFError("the peer hung up") from error

    def close(self) -> None:
        """Hang up; idempotent."""
        self._writer.close()
