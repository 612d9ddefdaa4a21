"""The worker's end of the line: it listens, the daemon connects, also a later daemon.

Events are kept until the daemon says ``Stored``, beyond the end of this worker (``unstored.py``).
While nobody listens they wait in a bounded buffer; acks are dropped before messages, and what was dropped is
said in the log. Of messages a gap stays, for each chat one, and so many at most as events: the chat is read back.
Files beyond its bound come after their messages.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from loguru import logger
from msgspec import Struct

from waguard.core.messages.received_media import DEFERRED
from waguard.errors import WaguardError, one_line
from waguard.wire.calls import Failed
from waguard.wire.channel import Channel, peer_uid
from waguard.wire.events import BackfillGap, Event, InboundMessage, Lasting
from waguard.wire.protocol import (
    FromDaemon,
    Hello,
    Lend,
    Reply,
    Request,
    StartBrowser,
    Stop,
    Stored,
)
from waguard.wire.reports import Heartbeat, Report
from waguard.worker.link.event_buffer import EventBuffer
from waguard.worker.timings import TIMINGS, Timings

Answer = Callable[[Request], Awaitable[Reply]]


class BufferLimits(Struct, frozen=True, kw_only=True):
    """Bounds of what waits for a daemon."""

    events: int = 10_000
    room: int = 1_000
    """Events beyond which nothing is sent that can be sent later."""
    files: int = 64 << 20
    """Bytes in all."""


LIMITS: Final = BufferLimits()


def _forever(_: float | None) -> None:
    """Nobody lends this worker its time."""


def _nowhere(_: Heartbeat) -> None:
    """This worker has no slot."""


def _nobody(_: BackfillGap) -> None:
    """This worker reads nothing back."""


class DaemonLink:
    """One daemon at a time; the newest one that greets properly wins."""

    def __init__(
        self,
        hello: Hello,
        earlier: Sequence[Event] = (),
        *,
        lend: Callable[[float | None], None] = _forever,
        write: Callable[[Heartbeat], int | None] = _nowhere,
        timings: Timings = TIMINGS,
        limits: BufferLimits = LIMITS,
    ) -> None:
        """``earlier``: events of the worker before, which come first. ``lend`` is called with what ``Lend`` says, and
        with None where a daemon greets that says nothing of it. ``write``: see ``HeartbeatSlot.write``."""
        self._expected = hello
        self._lend = lend
        self._write = write
        self._slot: int | None = None
        """Where the daemon reads heartbeats."""
        self._timings = timings
        self._limits = limits
        self.may_start = asyncio.Event()
        """Chromium may be started."""
        self._channel: Channel[FromDaemon] | None = None
        self._report: Report | None = None
        numbered = enumerate(earlier, start=1)
        self._pending = EventBuffer(
            limits.events, (msgspec.structs.replace(event, seq=seq) for seq, event in numbered)
        )
        self._seq = len(self._pending)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[asyncio.Task[Any], Channel[FromDaemon]] = {}
        self._progress = asyncio.Event()
        self.stop_asked = asyncio.Event()
        self.owe: Callable[[BackfillGap], None] = _nobody
        """Called with the gap that takes the place of a message which is dropped."""
        self.greeted = asyncio.Event()
        """A daemon has ever connected."""
        self.alone_since: float | None = time.monotonic()
        """Monotonic time since which no daemon is connected; None: one is."""

    async def listen(self, path: Path, answer: Answer) -> asyncio.Server:
        """Serve on ``path`` (folder 0700), replacing what a dead worker left there."""
        path.unlink(missing_ok=True)
        return await asyncio.start_unix_server(partial(self._serve, answer), path)

    def report(self, report: Report) -> None:
        """Report the whole state, when it differs from the last report."""
        if report != self._report:
            self._report = report
            self._post(report)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Report that the worker lives, and how quickly the layers below it answer."""
        written = self._write(heartbeat)
        if written is None or written != self._slot:
            self._post(heartbeat)

    def event(self, body: Lasting) -> None:
        """Keep and send; sent again on the next connection until it is stored."""
        self._seq += 1
        event = Event(seq=self._seq, at=time.time(), body=self._bounded(body))
        if gap := self._pending.append(event):
            self.owe(gap)
        self._post(event)

    def _bounded(self, body: Lasting) -> Lasting:
        if not isinstance(body, InboundMessage) or body.media is None:
            return body
        bodies = (event.body for event in self._pending)
        files = [it.media for it in bodies if isinstance(it, InboundMessage) and it.media]
        if sum(map(len, files)) + len(body.media) <= self._limits.files:
            return body
        why = "too much waits for the daemon"
        logger.warning("a file comes later", event="media_not_fetched", id=body.id, why=why)
        return msgspec.structs.replace(body, media=None, deferred=True, media_error=DEFERRED)

    @property
    def unstored(self) -> tuple[Event, ...]:
        """Events that no daemon has stored yet, the oldest first."""
        return tuple(self._pending)

    async def stored(self, seq: int) -> None:
        """Wait until a daemon has stored every event up to ``seq``."""
        while self._pending.has(seq):
            self._progress.clear()
            await self._progress.wait()

    async def room(self) -> None:
        """Wait until the daemon has stored nearly all that was sent to it."""
        while len(self._pending) >= self._limits.room:
            self._progress.clear()
            await self._progress.wait()

    async def flushed(self) -> None:
        """Wait until every event is stored; returns at once when no daemon is there."""
        while self._pending and self._channel is not None:
            self._progress.clear()
            await self._progress.wait()

    async def close(self) -> None:
        """Hang up on everybody, and wait until what was said is on its way, or nobody takes it."""
        for channel in self._connections.values():
            channel.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._timings.hang_up)
        left = [*self._connections, *self._tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _post(self, message: Report | Heartbeat | Event) -> None:
        if self._channel is not None:
            self._channel.post(message)

    async def _serve(
        self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        channel: Channel[FromDaemon] = Channel(reader, writer, FromDaemon)
        connection = asyncio.current_task()
        assert connection  # noqa: S101 - the server runs each connection as a task
        self._connections[connection] = channel
        try:
            _refuse_foreign(writer)
            async with asyncio.timeout(self._timings.hello):
                hello = await channel.receive()
            self._greet(channel, self._meant(hello))
            while True:
                self._handle(channel, await channel.receive(), answer)
        except EOFError:
            pass
        except (WaguardError, TimeoutError) as error:
            logger.warning("daemon connection refused", event="daemon_refused", why=one_line(error))
        finally:
            self._connections.pop(connection, None)
            channel.close()
            if self._channel is channel:
                self._channel, self.alone_since = None, time.monotonic()
            self._progress.set()

    def _meant(self, hello: FromDaemon) -> Hello:
        """Any daemon of this user may adopt; it must mean this session and speak this protocol."""
        ours = self._expected
        if not isinstance(hello, Hello) or (hello.protocol, hello.session, hello.generation) != (
            ours.protocol,
            ours.session,
            ours.generation,
        ):
            raise WaguardError(f"not this worker's daemon: {hello!r}")
        return hello

    def _greet(self, channel: Channel[FromDaemon], hello: Hello) -> None:
        if not hello.lends:
            self._lend(None)
        if not hello.grants:
            self.may_start.set()  # it never would
        if self._channel is not None:
            self._channel.close()
        self._channel, self.alone_since, self._slot = channel, None, hello.slot
        self.greeted.set()
        channel.post(*((self._report,) if self._report else ()), *self._pending)

    def _handle(self, channel: Channel[FromDaemon], message: FromDaemon, answer: Answer) -> None:
        match message:
            case Request():
                reply = _reply(channel, message, answer)
                task = asyncio.create_task(reply, name=f"call-{message.id}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Stored(seq=seq):
                self._pending.stored(seq)
                self._progress.set()
            case Lend(until=until):
                self._lend(until)
            case StartBrowser():
                self.may_start.set()
            case Stop():
                self.stop_asked.set()
            case Hello():
                raise WaguardError("greeted twice")


async def _reply(channel: Channel[FromDaemon], request: Request, answer: Answer) -> None:
    try:
        reply = await answer(request)
    except Exception as error:  # noqa: BLE001 - the caller must not wait forever
        logger.opt(exception=error).critical(
            "a bug in waguard", event="bug", call=type(request.call).__name__
        )
        outcome = Failed(kind="error", error=f"{type(error).__name__}: {error}")
        reply = Reply(id=request.id, outcome=outcome)
    channel.post(reply)


def _refuse_foreign(writer: asyncio.StreamWriter) -> None:
    """The folder is 0700 already; a wrong umask must not hand a session over."""
    uid = peer_uid(writer)
    if uid not in {0, os.getuid()}:
        raise WaguardError(f"uid {uid} is not the daemon's")
