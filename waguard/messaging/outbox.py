"""Sends: an id chosen before, one task per message, and no double for a reply that was lost.

The application repeats an identical request when a reply does not reach it. So identical sends
are one while the first is in flight, and share its result when the reply could not be written.
Once a reply was written, the same text again is a new message: a person may say "ok" twice.

A send that certainly did not happen (the session was not ready) is never shared after its end:
the repetition is its second chance. One that may have happened is: anything unexpected counts
as uncertain, because a 5xx would make the application send it again.
"""

import asyncio
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from loguru import logger

from waguard.config import Limits, Send
from waguard.errors import RefusedError, TooManyError, UncertainError, WaguardError
from waguard.ports import Sessions
from waguard.wire.protocol import SendMedia, SendText, Sent, Value

KEPT_FOR: Final = 600.0  # s; the application gives up long before
KEPT_AT_MOST: Final = 1_000
# beyond the waiting and the send itself; supervision has an end of its own well before
MARGIN: Final = 30.0  # s

UNCERTAIN: Final = "it is not known whether the message was sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file to send; ``kind`` is image, video, audio or document."""

    content: bytes = field(repr=False)
    mimetype: str
    kind: str
    filename: str | None = None
    caption: str | None = None


@dataclass(slots=True, eq=False)
class Ticket:
    """One send. Say ``answered`` or ``unanswered`` after trying to write its reply."""

    key: bytes
    message_id: str
    task: "asyncio.Task[Sent]"
    told: bool = False
    """A reply was written."""
    kept_since: float | None = None
    """When a reply could not be written; None: it is still to be tried, or was written."""


def new_message_id(chat: str) -> str:
    """``true_<wid>_<ID>``, as WhatsApp Web makes them."""
    return f"true_{chat}_3EB0{secrets.token_hex(9).upper()}"


class Outbox:
    """Sends through ``sessions``. ``settings`` is read at each send; ``clock`` is monotonic."""

    def __init__(
        self,
        sessions: Sessions,
        settings: Callable[[], Send],
        *,
        limits: Callable[[], Limits] = Limits,
        require_room: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``require_room`` raises ``WaguardError`` while no new send may begin."""
        self._sessions = sessions
        self._settings = settings
        self._limits = limits
        self._require_room = require_room
        self._clock = clock
        self._in_flight: Counter[str] = Counter()
        self._tickets: dict[bytes, Ticket] = {}

    def send_text(self, session_id: str, chat: str, text: str) -> Ticket:
        """Begin to send, or join the identical send whose reply is still owed."""

        def call(message_id: str, timeout: float) -> SendText:
            return SendText(chat=chat, text=text, message_id=message_id, timeout=timeout)

        return self._ticket(_key("text", session_id, chat, text.encode()), session_id, chat, call)

    def send_media(self, session_id: str, chat: str, media: Media) -> Ticket:
        """As ``send_text``."""

        def call(message_id: str, timeout: float) -> SendMedia:
            return SendMedia(
                chat=chat,
                content=media.content,
                mimetype=media.mimetype,
                kind=media.kind,
                filename=media.filename,
                caption=media.caption,
                message_id=message_id,
                timeout=timeout,
            )

        about = repr((media.kind, media.filename, media.caption))
        return self._ticket(
            _key("media", session_id, chat, about.encode(), media.content), session_id, chat, call
        )

    async def result(self, ticket: Ticket) -> Sent:
        """Wait for the outcome; a caller that is cancelled does not cancel the send.

        Raises what ``ports.Sessions.call`` raises, and ``UncertainError`` for all the rest.
        """
        return await asyncio.shield(ticket.task)

    def answered(self, ticket: Ticket) -> bool:
        """A reply was written; whether it was the first one for this message."""
        if self._tickets.get(ticket.key) is ticket:
            del self._tickets[ticket.key]
        first, ticket.told = not ticket.told, True
        return first

    def unanswered(self, ticket: Ticket) -> None:
        """The reply could not be written: an identical request gets this result for a while."""
        ticket.kept_since = self._clock()
        self._forget()

    def owed(self) -> int:
        """Sends whose reply is still to be written, those that wait for a repetition included."""
        return len(self._tickets)

    def _ticket(
        self,
        key: bytes,
        session_id: str,
        chat: str,
        call: Callable[[str, float], SendText | SendMedia],
    ) -> Ticket:
        self._forget()
        known = self._tickets.get(key)
        if known and (not known.task.done() or _may_have_happened(known.task)):
            return known
        self._require_room()
        self._require_place(session_id)
        message_id = new_message_id(chat)
        task = asyncio.create_task(
            self._send(session_id, message_id, call), name=f"send {session_id}"
        )
        self._in_flight[session_id] += 1
        task.add_done_callback(lambda done: self._on_done(session_id, done))
        ticket = self._tickets[key] = Ticket(key, message_id, task)
        return ticket

    def _require_place(self, session_id: str) -> None:
        most = self._limits().sends_in_flight
        if self._in_flight[session_id] >= most:
            raise TooManyError(
                f"{most} sends of this session are under way",
                field="session_id",
                value=session_id,
                remedy="wait for their replies; limits.sends_in_flight allows more",
                retry_after=1,
            )

    def _on_done(self, session_id: str, done: "asyncio.Task[Sent]") -> None:
        self._in_flight[session_id] -= 1
        if not self._in_flight[session_id]:
            del self._in_flight[session_id]
        if not done.cancelled():
            done.exception()  # one that nobody waits for any more is no surprise

    def _send(
        self, session_id: str, message_id: str, call: Callable[[str, float], SendText | SendMedia]
    ) -> Coroutine[Any, Any, Sent]:
        settings = self._settings()

        async def send() -> Sent:
            try:
                async with asyncio.timeout(settings.wait + settings.timeout + MARGIN):
                    outcome = await self._sessions.call(
                        session_id, call(message_id, settings.timeout), wait=settings.wait
                    )
            except WaguardError:
                raise
            except Exception:  # noqa: BLE001 - whatever it was, the message may have left
                logger.bind(session=session_id).exception("send ended in a bug")
                raise UncertainError(UNCERTAIN, value=message_id) from None
            return _sent(outcome, message_id)

        return send()

    def _forget(self) -> None:
        """Results that were kept for too long, and the oldest of too many."""
        kept = sorted(
            (ticket.kept_since, key)
            for key, ticket in self._tickets.items()
            if ticket.kept_since is not None and ticket.task.done()
        )
        too_old = self._clock() - KEPT_FOR
        too_many = len(kept) - KEPT_AT_MOST
        for index, (since, key) in enumerate(kept):
            if since < too_old or index < too_many:
                del self._tickets[key]


def _sent(outcome: Sent | Value, message_id: str) -> Sent:
    match outcome:
        case Sent(outcome="sent"):
            return outcome
        case Sent(outcome="refused", error=error):
            raise RefusedError(error or "WhatsApp refused the message")
        case _:
            raise UncertainError(UNCERTAIN, value=message_id)


def _may_have_happened(task: "asyncio.Task[Sent]") -> bool:
    """A repetition of it must get its result; of any other end it is a second chance."""
    if task.cancelled():
        return False
    error = task.exception()
    return error is None or isinstance(error, RefusedError | UncertainError)


def _key(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.digest()
