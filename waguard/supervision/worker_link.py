"""The daemon's end of the line to one worker."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.errors import (
    RefusedError,
    UnacknowledgedError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.wire.channel import Channel, ChannelError, peer_uid
from waguard.wire.protocol import (
    At,
    Call,
    CatchUp,
    Count,
    Event,
    Failed,
    FromWorker,
    Heartbeat,
    Hello,
    MessageError,
    Reply,
    Report,
    Request,
    Reread,
    SendMedia,
    SendText,
    Sent,
    Stored,
    Value,
)

Take = Callable[[Report | Heartbeat | Event], None]
Heard = Callable[[Sent | Value | Failed], None]
# beyond the call's own deadline inside the worker: it looks a silent send up before it answers
REPLY_MARGIN = 10.0  # s
DEFAULT_DEADLINE = 30.0  # s
KEPT: Final = (
    2_000  # bytes of what could not be read; written out, a byte takes up to four characters
)
BACKFILL_DEADLINE = 600.0  # s; all chats of a week may be read. Asked again, it continues


async def connected(path: Path, hello: Hello, incoming: Any) -> Channel[Any]:
    """A greeted worker's line; ``incoming``: the types of what it may say. Raises ``WaguardError`` when
    nobody listens there."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except (OSError, ValueError) as error:  # no path at all, as a record may say
        why = error.strerror if isinstance(error, OSError) else error
        raise WaguardError(f"{path}: {why}") from None
    if (uid := peer_uid(writer)) != os.geteuid():
        writer.close()
        raise WaguardError(f"{path}: user {uid} listens there")
    channel: Channel[Any] = Channel(reader, writer, incoming)
    channel.post(hello)
    return channel


class WorkerLink:
    """One connection. ``take`` gets what the worker reports; replies go to their callers."""

    def __init__(self, channel: Channel[FromWorker], hello: Hello, take: Take) -> None:
        self._channel = channel
        self._hello = hello
        self._take = take
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Sent | Value | Failed]] = {}
        self.ended = asyncio.Event()
        """The worker hung up, and everything that it said before has been taken."""
        self.nonsense: str | None = None
        """What it said that no worker of ours says, in words: the line was ended for it."""

    @classmethod
    async def connect(cls, path: Path, hello: Hello, take: Take) -> "WorkerLink":
        """Raises ``WaguardError`` when nobody listens there."""
        return cls(await connected(path, hello, FromWorker), hello, take)

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
                    waiting.set_exception(EOFError("the worker is gone"))
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

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    async def call(self, call: Call, heard: Heard | None = None) -> Sent | Value:
        """Have it done. ``heard`` gets what the worker answered, before any error is raised.

        Raises ``RefusedError``, ``UncertainError``, ``UnavailableError``.
        """
        if self.ended.is_set():
            raise UnavailableError("the worker is gone", retry_after=5)
        number = next(self._ids)
        waiting: asyncio.Future[Sent | Value | Failed] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._channel.post(Request(id=number, call=call))
            async with asyncio.timeout(_deadline(call) + REPLY_MARGIN):
                outcome = await waiting
        except (EOFError, TimeoutError) as error:
            raise _lost(call, str(error) or "the worker did not answer") from None
        finally:
            self._waiting.pop(number, None)
        if not isinstance(outcome, Failed) and _meant(outcome) != _meant(call):
            raise _lost(call, "the worker sent another answer")
        if heard is not None:
            heard(outcome)
        return _result(call, outcome)


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


def _deadline(call: Call) -> float:
    """Seconds that the worker gives it."""
    match call:
        case SendText() | SendMedia():
            return call.timeout
        case CatchUp() | Reread():
            return BACKFILL_DEADLINE
        case _:
            return DEFAULT_DEADLINE


def _lost(call: Call, why: str) -> WaguardError:
    if isinstance(call, SendText | SendMedia):
        return UncertainError(f"{why}; it may have been sent", value=call.message_id)
    return UnavailableError(why, retry_after=5)


def _not_yet(failed: Failed) -> UnavailableError:
    if failed.kind in {"paused", "held", "too_often"}:
        return UnavailableError(failed.error, field=failed.field, retry_after=5)
    return UnavailableError(f"Session not ready: {failed.error}", retry_after=5)


def _meant(it: Call | Sent | Value) -> str | None:
    """Which message is to be sent, or was; None: none."""
    return it.message_id if isinstance(it, SendText | SendMedia | Sent) else None


def _result(call: Call, outcome: Sent | Value | Failed) -> Sent | Value:
    match outcome:
        case Sent(outcome="sent") | Value():
            return outcome
        case Sent(outcome="refused", error=error):
            raise RefusedError(f"WhatsApp refused the message: {error}")
        case Sent(ack=0, message_id=message_id, error=error):
            why = f"WhatsApp has not acknowledged it yet: {error}"
            raise UnacknowledgedError(why, value=message_id)
        case Sent(message_id=message_id, error=error):
            raise UncertainError(f"WhatsApp did not answer: {error}", value=message_id)
        case Failed(kind="not_ready" | "paused" | "held" | "too_often"):
            raise _not_yet(outcome)
        case Failed(kind="refused", error=error, field=field):
            raise RefusedError(error if field else f"WhatsApp's page refused: {error}", field=field)
        case Failed(kind="timeout", error=error):
            raise _lost(call, error)
        case Failed(error=error):
            if isinstance(call, SendText | SendMedia):
                raise _lost(call, error)  # a 5xx would have it sent again, and it may have left
            raise WaguardError(error)
