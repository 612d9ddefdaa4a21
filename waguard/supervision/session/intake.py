"""What a worker reports that must not be lost, on its way to the inbox and to the trail."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.core.messages.content import POLL_VOTE
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.phone_use import phone_of
from waguard.core.messages.sent_events import ack_of
from waguard.core.messages.sentinel import has_id_of_sentinel
from waguard.errors import UnavailableError
from waguard.supervision.session import application_events as translate
from waguard.supervision.session import undecryptable
from waguard.supervision.session.ack_order import AckOrder
from waguard.supervision.session.deaf_watch import DeafWatch
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.worker_link import WorkerLink
from waguard.supervision.status_writer import StatusWriter
from waguard.wire.events import (
    Ack,
    Acquainted,
    BackfillGap,
    Edit,
    Event,
    InboundMessage,
    IncomingCall,
    LoggedOut,
    MessageError,
    ProfileMended,
    Reaction,
    Revoke,
    Undecryptable,
)

TOUCH_INTERVAL: Final = 5.0  # s; the last activity is known to within so much
PATIENCE: Final = 60.0  # s for one attempt to flush a full inbox


class Intake:
    """What one session receives. ``acked`` gets the ids of sends that WhatsApp acknowledged, and of an ack of the
    page's whether it refused them; ``active`` is called for each message; ``logged_out`` gets WhatsApp's reason;
    ``deaf`` hears which of them an event reported; ``begin`` runs what takes time as a task. ``undecryptable`` are
    the messages that are remembered. ``owe`` gets what is still to be read back."""

    def __init__(  # noqa: PLR0913 - what is handed on, and to whom
        self,
        ctx: SessionContext,
        writer: StatusWriter,
        *,
        acked: Callable[[Iterable[str], bool | None], None],
        active: Callable[[], None],
        logged_out: Callable[[str | None], None],
        deaf: DeafWatch,
        begin: Callable[[Coroutine[Any, Any, None], str], object],
        undecryptable: undecryptable.Undecryptable,
        owe: Callable[[BackfillGap], None],
    ) -> None:
        self._owe = owe
        self._undecryptable = undecryptable
        self._ctx = ctx
        self._writer = writer
        self._acked = acked
        self._active = active
        self._logged_out = logged_out
        self._deaf = deaf
        self._begin = begin
        self._order = AckOrder()
        self._touched_at: float | None = None
        self._left_with: WorkerLink | None = None
        self.phone_used_at: float | None = None
        """Unix time of the newest message that was written on the phone, as far as this daemon knows."""

    def handle(self, event: Event, link: WorkerLink | None) -> None:
        """Have it stored, then acknowledged on ``link``, then published.

        What the inbox has no room for stays with the worker, and all that follows: an
        acknowledgement would cover it too.
        """
        if link and (self.left_with(link) or self._is_full(link)):
            return
        received = self._received(event)
        # also what is not stored waits its turn: an acknowledgement covers all before it
        stored = functools.partial(self._on_stored, link, event.seq)
        self._ctx.inbox.put(received, stored, after=self._writer.row.session_id)

    async def store_left(self, events: Sequence[Event], records: Sequence[InboxRecord]) -> None:
        """Have stored what another host has received: events of a worker there, and records that its inbox was refused.
        Return after the commit; never where it is refused again. Raises ``UnavailableError`` where there is no room."""
        if self._ctx.inbox.full:
            raise UnavailableError("too much waits for the database", retry_after=5)
        done = asyncio.get_running_loop().create_future()
        puts = [*map(self._received_elsewhere, events), *([tuple(records)] if records else [])]
        waiting = len(puts)

        def stored(news: Sequence[InboxRecord]) -> None:
            nonlocal waiting
            self._on_stored(None, 0, news)
            waiting -= 1
            if not waiting and not done.done():
                done.set_result(None)

        for put in puts:
            self._ctx.inbox.put(put, stored)
        if puts:
            await done

    def _received_elsewhere(self, event: Event) -> tuple[InboxRecord, ...]:
        """They may come again before they are stored, so what this host remembers of acks filters none; and they say
        nothing of the page that runs here."""
        row = self._writer.row
        match event.body:
            case LoggedOut(reason=reason):  # its page here says itself whether it is linked
                logger.info(
                    "another host's page was logged out",
                    event="left_logout_ignored",
                    session=row.session_id,
                    why=reason,
                )
                return ()
            case Ack() as ack:
                of_messages = tuple(one for one in ack.ids if not has_id_of_sentinel(one))
                return translate.acks(row, msgspec.structs.replace(ack, ids=of_messages), event.at)
            case InboundMessage() as it:
                return self._records_of(it, event.at)
            case _:
                return self._received(event)

    def left_with(self, link: WorkerLink) -> bool:
        """Whether the worker has to say again, on another line, what was not taken on this one."""
        return self._left_with is link

    def _is_full(self, link: WorkerLink) -> bool:
        if not self._ctx.inbox.full:
            return False
        logger.error(
            "reports stay with the worker: too much waits for the database",
            event="inbox_full",
            session=self._writer.row.session_id,
        )
        self._left_with = link
        self._begin(self._hang_up(link), "hang up")
        return True

    async def _hang_up(self, link: WorkerLink) -> None:
        while not await self._ctx.inbox.flushed(PATIENCE):
            pass
        await link.hang_up()

    def _received(self, event: Event) -> tuple[InboxRecord, ...]:
        row = self._writer.row
        match event.body:
            case InboundMessage() | Undecryptable() as it:
                return self._message(it, event.at)
            case Ack() as ack:
                if ack.ack:
                    self._acked(ack.ids, ack.ack < 0)
                of_messages = tuple(one for one in ack.ids if not has_id_of_sentinel(one))
                news = self._order.forward(msgspec.structs.replace(ack, ids=of_messages))
                return translate.acks(row, news, event.at) if news else ()
            case Edit() | Revoke() | Reaction() | IncomingCall() as it:
                return translate.happened(row, it, event.at)
            case MessageError() as it:
                logger.error(
                    "the page reported something invalid",
                    event="message_unreadable",
                    session=row.session_id,
                    what=it.what,
                    id=it.id,
                    why=it.error,
                )
                return translate.unreadable(row, it, event.at)
            case Acquainted():
                return translate.acquainted(row, event.body, event.at)
            case BackfillGap(chat=chat, why=why, since=since) as gap:
                reason = f"messages of {chat or 'some chats'} may be missing: {why}"
                evidence = {"chat": chat or None, "since": since}
                self._writer.record("backfill_gap", reason=reason, evidence=evidence)
                self._owe(gap)
            case LoggedOut(reason=reason):
                self._logged_out(reason)
            case ProfileMended(done=done) as it:
                kind = "profile_mended" if it.grave else "profile_tidied"
                level, said = "WARNING" if it.grave else "INFO", kind.replace("_", " ")
                name = row.session_id
                logger.log(level, said, event=kind, session=name, done=done, aside=it.aside)
                self._writer.record(kind, reason="; ".join(done), evidence={"aside": it.aside})
        return ()

    def _message(self, it: InboundMessage | Undecryptable, at: float) -> tuple[InboxRecord, ...]:
        """() for one that cannot be decrypted and is from before the pairing: it never was this
        link's."""
        if isinstance(it, InboundMessage):
            self._active()
            if not it.backfilled:
                self._deaf.heard()
            return self._records_of(it, at)
        if not self._undecryptable.is_of_this_link(it.timestamp):
            return ()
        logger.warning(
            "a message cannot be decrypted yet",
            event="message_undecryptable",
            session=self._writer.row.session_id,
            id=it.id,
        )
        self._undecryptable.reported(it.id)
        return translate.undecryptable(self._writer.row, it, at)

    def _records_of(self, it: InboundMessage, at: float) -> tuple[InboxRecord, ...]:
        if it.kind == POLL_VOTE:
            return translate.happened(self._writer.row, it, at)
        if self._undecryptable.knows(it.id):
            it = msgspec.structs.replace(it, backfilled=True)
        return translate.received(self._writer.row, it, at)

    def _on_stored(self, link: WorkerLink | None, seq: int, news: Sequence[InboxRecord]) -> None:
        """The commit is on the disk; the line may be another's by now, which needs no acknowledgement."""
        if link:
            link.stored(seq)
        self._undecryptable.stored(news)
        # by the ids that we sent them under, which are not always the page's
        if acked := [ack_of(one)[0] for one in news if one.kind is Kind.ACK and ack_of(one)[1]]:
            self._acked(acked, None)
        # what the outbox has sent is no news
        if written := [
            one.at for one in news if one.kind is Kind.SENT and one.ref and phone_of(one.ref[1])
        ]:
            self.phone_used_at = max(*written, self.phone_used_at or 0.0)
        messages = [one for one in news if one.kind is Kind.MESSAGE]
        self._deaf.backfilled(sum(one.backfilled for one in messages))
        if messages:
            self.touch()

    def touch(self) -> None:
        """A message was received or sent."""
        now = self._ctx.clock.monotonic()
        if self._touched_at is None or now - self._touched_at >= TOUCH_INTERVAL:
            self._touched_at = now
            self._begin(self._writer.touch(), "touch")
