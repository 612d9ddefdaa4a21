"""The daemon's end of the line to one worker."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.errors import UnavailableError, WaguardError
from waguard.host.lacking import lacks
from waguard.ports.outcomes import NotSent, Outcome
from waguard.supervision.session import answers
from waguard.supervision.timings import Timings
from waguard.wire.bounds import At, Count
from waguard.wire.calls import (
    Ask,
    Call,
    CatchUp,
    Failed,
    FetchFile,
    Operation,
    Reread,
    Send,
    Sent,
    Value,
)
from waguard.wire.channel import Channel, ChannelError, peer_uid
from waguard.wire.events import Event, MessageError
from waguard.wire.protocol import FromWorker, Hello, Lend, Reply, Request, StartBrowser, Stored
from waguard.wire.reports import Heartbeat, Report

Take = Callable[[Report | Heartbeat | Event], None]
GONE: Final = "the worker is gone"
NO_ANSWER: Final = "the worker did not answer"
OTHER_ANSWER: Final = "the worker sent another answer"
KEPT: Final = (
    2_000  # bytes of what could not be read; written out, a byte takes up to four characters
)


async def connected(path: Path, hello: Hello, incoming: Any) -> Channel[Any]:
    """A greeted worker's line; ``incoming``: the types of what it may say. Raises ``WaguardError`` when
    nobody listens there, ``UnavailableError`` when this host lacks what a line takes, which says nothing of the worker."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        kind = UnavailableError if lacks(error) else WaguardError
        raise kind(f"{path}: {error.strerror}") from None
    except ValueError as error:  # no path at all, as a record may say
        raise WaguardError(f"{path}: {error}") from None
    if (uid := peer_uid(writer)) != os.geteuid():
        writer.close()
        raise WaguardError(f"{path}: user {uid} listens there")
    channel: Channel[Any] = Channel(reader, writer, incoming)
    channel.post(hello)
    return channel


class WorkerLink:
    """One connection. ``take`` gets what the worker reports; replies go to their callers."""

    def __init__(
        self, channel: Channel[FromWorker], hello: Hello, take: Take, timings: Timings
    ) -> None:
        self._timings = timings
        self._channel = channel
        self._hello = hello
        self._take = take
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Sent | Value | Failed]] = {}
        self._changing: set[asyncio.Future[Sent | Value | Failed]] = set()
        """Those whose outcome is uncertain without an answer."""
        self._hanging_up = False
        self.ended = asyncio.Event()
        """The worker hung up, and everything that it said before has been taken."""
        self.nonsense: str | None = None
        """What it said that no worker of ours says, in words: the line was ended for it."""

    @classmethod
    async def connect(cls, path: Path, hello: Hello, take: Take, timings: Timings) -> "WorkerLink":
        """Raises as ``connected``."""
        return cls(await connected(path, hello, FromWorker), hello, take, timings)

    async def listen(self) -> None:
        """Read until the worker hangs up; then every open call has failed."""
        try:
            while True:
                self._dispatch(await self._receive())
        except EOFError:
            return
        except ChannelError as error:
            self.nonsense = error.message
        finally:
            self._channel.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(EOFError(GONE))
            self._waiting.clear()
            self.ended.set()

    async def _receive(self) -> FromWorker:
        try:
            return await self._channel.receive()
        except ChannelError as error:
            if (event := _kept(error)) is None:
                raise
            return event

    def _dispatch(self, message: FromWorker) -> None:
        if isinstance(message, Report):
            meant = self._hello
            if (message.session, message.generation) != (meant.session, meant.generation):
                raise ChannelError(
                    f"a report of another worker: {message.session!r}, {message.generation}"
                )
        if not isinstance(message, Reply):
            self._take(message)
            return
        waiting = self._waiting.pop(message.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message.outcome)

    def stored(self, seq: int) -> None:
        """Every event up to ``seq`` is safe."""
        self._channel.post(Stored(seq=seq))

    def lend(self, until: float | None) -> None:
        """Until when the worker may live, see ``Lend``."""
        self._channel.post(Lend(until=until))

    def start_browser(self) -> None:
        """Let the worker start its Chromium."""
        self._channel.post(StartBrowser())

    @property
    def received(self) -> int:
        """Bytes that the worker has said so far."""
        return self._channel.received

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    async def hang_up(self) -> None:
        """Begin nothing more, and hang up when what was begun and may not be repeated has its answer."""
        self._hanging_up = True
        if self._changing:
            await asyncio.wait(self._changing, timeout=self._timings.last_answers)
        self.close()

    @property
    def _is_closing(self) -> bool:
        """Also before ``listen`` has seen it: nothing that is called now reaches the worker."""
        return self._hanging_up or self._channel.closing

    async def send(self, call: Send) -> Outcome:
        """Have it sent, within the send's own time."""
        if self._is_closing:
            return NotSent(answers.lost(GONE))
        try:
            answer = await self._answer(call, call.timeout)
        except ChannelError as error:  # it is too large
            return NotSent(error)
        except (EOFError, TimeoutError) as error:
            return answers.unanswered(str(error) or NO_ANSWER)
        match answer:
            case Failed() | Sent(message_id=call.message_id):
                return answers.outcome_of(answer)
            case _:
                return answers.unanswered(OTHER_ANSWER)

    async def call(self, call: Operation) -> Value:
        """Have it done. Raises ``RefusedError``, ``UnavailableError``, ``WaguardError``."""
        answer = await self.ask(call)
        if isinstance(answer, Failed):
            raise answers.error_of(answer)
        return answer

    async def ask(self, call: Operation) -> Value | Failed:
        """As ``call``, but what the worker says of a failure is returned."""
        if self._is_closing:
            raise answers.lost(GONE)
        timings = self._timings
        seconds = timings.backfill if isinstance(call, CatchUp | Reread) else timings.call
        failed: Callable[[str], WaguardError] = answers.lost
        if isinstance(call, Ask):
            seconds, failed = call.timeout, answers.uncertain if call.changes else failed
        if isinstance(call, FetchFile):
            seconds = call.timeout
        try:
            answer = await self._answer(call, seconds)
        except (EOFError, TimeoutError) as error:
            raise failed(str(error) or NO_ANSWER) from None
        if isinstance(answer, Sent):
            raise failed(OTHER_ANSWER)
        return answer

    async def attempt(self, call: Operation, failed: str) -> None:
        """As ``call``; where that fails, the log says ``failed``."""
        try:
            await self.call(call)
        except WaguardError as error:
            log = logger.bind(session=self._hello.session)
            log.warning(failed, event="worker_call_failed", why=error.line())

    async def _answer(self, call: Call, seconds: float) -> Sent | Value | Failed:
        """``seconds``: that the worker gives the call."""
        number = next(self._ids)
        waiting: asyncio.Future[Sent | Value | Failed] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        if isinstance(call, Send) or (isinstance(call, Ask) and call.changes):
            self._changing.add(waiting)
        try:
            self._channel.post(Request(id=number, call=call))
            async with asyncio.timeout(seconds + self._timings.reply_margin):
                return await waiting
        finally:
            self._waiting.pop(number, None)
            self._changing.discard(waiting)


class _OddEvent(msgspec.Struct, tag="event", frozen=True, kw_only=True):
    seq: Count
    at: At
    body: msgspec.Raw


_ODD_EVENT: Final = msgspec.msgpack.Decoder(_OddEvent)


def _kept(error: ChannelError) -> Event | None:
    """An event with a body that cannot be read is evidence, and must not be in the way of those
    after it; None: it is no event."""
    try:
        odd = _ODD_EVENT.decode(error.frame)
    except (ValueError, RecursionError):
        return None
    raw = bytes(odd.body)
    body = MessageError(
        what="event",
        id=None,
        chat="",
        error=error.message,
        raw=repr(raw[:KEPT]),
        digest=hashlib.sha256(raw).hexdigest()[:32],
    )
    return Event(seq=odd.seq, at=odd.at, body=body)
