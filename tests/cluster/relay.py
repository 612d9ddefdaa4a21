"""Stands before a server: loses answers, hangs, or is cut."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

Address = Path | tuple[str, int]


@dataclass
class _Connection:
    """What was said on it, and how much of that before its last answer."""

    said: bytearray = field(default_factory=bytearray)
    answered: int = 0


class Relay:
    """Passes everything on to ``leads_to``, both ways."""

    def __init__(self, leads_to: Address, *, at: Path | None = None) -> None:
        """``at``: where it listens; None: at a port of its own."""
        self._leads_to = leads_to
        self._at = at
        self._serving: set[asyncio.Task[None]] = set()
        self.swallow: bytes | None = None
        """Who has ever said this gets no answer any more; b"": nobody gets one. What is asked is passed on."""
        self.swallowed = asyncio.Event()
        self._connections: list[_Connection] = []
        self._cut = False

    async def __aenter__(self) -> Self:
        if self._at is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._at)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """End all connections, and all that are made until ``mend``."""
        self._cut = True
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def has_answered(self, what: bytes) -> bool:
        """Whether somebody who said this was given an answer."""
        return any(what in it.said[: it.answered] for it in self._connections)

    def mend(self) -> None:
        """Pass everything on again."""
        self._cut = False
        self.swallow = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.close()
            return
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._relay(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, out = await self._connect()
        with contextlib.closing(out):
            await self._copy(reader, writer, theirs, out)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises ``OSError``."""
        if isinstance(self._leads_to, Path):
            return await asyncio.open_unix_connection(self._leads_to)
        return await asyncio.open_connection(*self._leads_to)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        theirs: asyncio.StreamReader,
        out: asyncio.StreamWriter,
    ) -> None:
        this = _Connection()
        self._connections.append(this)

        async def ask() -> None:
            while piece := await reader.read(1 << 16):
                this.said.extend(piece)
                out.write(piece)
                await out.drain()

        async def answer() -> None:
            while piece := await theirs.read(1 << 16):
                if self.swallow is not None and self.swallow in this.said:
                    self.swallowed.set()
                    continue
                writer.write(piece)
                await writer.drain()
                this.answered = len(this.said)

        both = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for it in both:
                it.cancel()
            await asyncio.gather(*both, return_exceptions=True)
