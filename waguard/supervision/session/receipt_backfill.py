"""Receipts that raised no event: after a load the page is asked how far the session's sends have come."""

from collections.abc import Callable
from typing import Final

from loguru import logger

from waguard.core.messages.message_ids import parse
from waguard.core.messages.people import People
from waguard.core.messages.send_states import ACK_DEVICE, State, by_ack, moves
from waguard.errors import WaguardError, one_line
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire.calls import Acks
from waguard.wire.events import Ack, Event

PERIOD: Final = 3 * 86_400.0  # s; a weekend
AT_ONCE: Final = 20  # messages: a page looks each up by itself


class ReceiptBackfill:
    """``handle`` gets what is news of one session's sends, as if the page had reported it."""

    def __init__(self, ctx: SessionContext, session: str, handle: Callable[[Event], None]) -> None:
        self._ctx = ctx
        self._session = session
        self._handle = handle

    async def read(self, link: WorkerLink, people: People) -> None:
        """Look them up once: what cannot be read now is read after the next load, for the page keeps it."""
        try:
            after = self._ctx.ages.ago(PERIOD)
            unread = await self._ctx.messages.unread(self._session, after=after)
            ids = tuple(unread)
            for start in range(0, len(ids), AT_ONCE):
                await self._ask(
                    link, people, {it: unread[it] for it in ids[start : start + AT_ONCE]}
                )
        except WaguardError as error:
            logger.bind(session=self._session).debug("receipts not read", why=one_line(error))

    async def _ask(self, link: WorkerLink, people: People, unread: dict[str, State]) -> None:
        chats = {it: key.chat for it in unread if (key := parse(it))}
        aliases = {it: lids for it, chat in chats.items() if (lids := people.lids(chat))}
        value = await link.call(Acks(ids=tuple(chats), aliases=aliases))
        for message_id, ack in (value.acks or {}).items():
            now = by_ack(ack) if ack >= ACK_DEVICE else None
            if now and message_id in chats and moves(unread[message_id], now):
                body = Ack(ids=(message_id,), chat=chats[message_id], ack=ack)
                self._handle(Event(seq=0, at=self._ctx.clock.wall(), body=body))
