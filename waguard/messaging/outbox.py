"""Sends: an id chosen before, one task per message, and no double for a reply that was lost.

The application repeats an identical request when a reply does not reach it. So identical sends
are one while the first is in flight, and share its result when the reply could not be written.
Once a reply was written, the same text again is a new message: a person may say "ok" twice.
"""

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from waguard.config import Send
from waguard.ports import Sessions
from waguard.wire.protocol import SendMedia, SendText, Sent, Value

KEPT_FOR: Final = 600.0  # s; the application gives up long before
KEPT_AT_MOST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A file to send; ``kind`` is image, video, audio or document."""

    content: bytes = field(repr=False)
    mimetype: str
    kind: str
    filename: str | None = None
    caption: str | None = None


@dataclass(slots=True)
class Ticket:
    """One send. Say ``answered`` or ``unanswered`` after writing its reply."""

    key: str
    message_id: str
    task: "asyncio.Task[Sent | Value]"
    kept_since: float | None = None


def new_message_id(chat: str) -> str:
    """``true_<wid>_<ID>``, as WhatsApp Web makes them."""
    return f"true_{chat}_3EB0{secrets.token_hex(9).upper()}"


class Outbox:
    """Sends through ``sessions``. ``settings`` is read at each send."""

    def __init__(self, sessions: Sessions, settings: Callable[[], Send]) -> None:
        self._sessions = sessions
        self._settings = settings
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()

    def send_text(self, session_id: str, chat: str, text: str) -> Ticket:
        """Begin to send, or join the identical send whose reply is still owed."""
        return self._ticket(
            _key(session_id, chat, text.encode()),
            chat,
            lambda message_id: self._send_text(session_id, chat, text, message_id),
        )

    def send_media(self, session_id: str, chat: str, media: Media) -> Ticket:
        """As ``send_text``."""
        what = (media.caption or "").encode() + b"\0" + media.content
        return self._ticket(
            _key(session_id, chat, what),
            chat,
            lambda message_id: self._send_media(session_id, chat, media, message_id),
        )

    async def result(self, ticket: Ticket) -> Sent | Value:
        """Wait for the outcome; a caller that is cancelled does not cancel the send."""
        return await asyncio.shield(ticket.task)

    def answered(self, ticket: Ticket) -> bool:
        """The reply was written; whether this was the first reply for the message."""
        return self._tickets.pop(ticket.key, None) is ticket

    def unanswered(self, ticket: Ticket) -> None:
        """The reply could not be written: an identical request gets this result."""
        ticket.kept_since = time.monotonic()

    def _ticket(
        self, key: str, chat: str, send: Callable[[str], Coroutine[Any, Any, Sent | Value]]
    ) -> Ticket:
        self._forget_old()
        if known := self._tickets.get(key):
            return known
        message_id = new_message_id(chat)
        task = asyncio.create_task(send(message_id), name=f"send {message_id}")
        # a result that nobody waits for any more is no "exception was never retrieved"
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        ticket = self._tickets[key] = Ticket(key, message_id, task)
        return ticket

    async def _send_text(
        self, session_id: str, chat: str, text: str, message_id: str
    ) -> Sent | Value:
        settings = self._settings()
        call = SendText(chat=chat, text=text, message_id=message_id, timeout=settings.timeout)
        return await self._sessions.call(session_id, call, wait=settings.wait)

    async def _send_media(
        self, session_id: str, chat: str, media: Media, message_id: str
    ) -> Sent | Value:
        settings = self._settings()
        call = SendMedia(
            chat=chat,
            content=media.content,
            mimetype=media.mimetype,
            kind=media.kind,
            filename=media.filename,
            caption=media.caption,
            message_id=message_id,
            timeout=settings.timeout,
        )
        return await self._sessions.call(session_id, call, wait=settings.wait)

    def _forget_old(self) -> None:
        old = time.monotonic() - KEPT_FOR
        for key, ticket in list(self._tickets.items()):
            over = ticket.kept_since is not None and ticket.kept_since < old
            if ticket.task.done() and (over or len(self._tickets) > KEPT_AT_MOST):
                del self._tickets[key]


def _key(session_id: str, chat: str, content: bytes) -> str:
    return f"{session_id}\0{chat}\0{hashlib.sha256(content).hexdigest()}"
