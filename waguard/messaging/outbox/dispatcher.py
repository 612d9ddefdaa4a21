"""What is sent when: messages that wait, each in its chat's queue, at the session's pace."""

import asyncio
import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loguru import logger

from waguard.core.messages.outbox import State
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    NotFoundError,
    OtherNumberError,
    TooManyError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.chat_queues import ChatQueues
from waguard.messaging.outbox.commands import command_of
from waguard.messaging.outbox.outcome_reports import OutcomeReports
from waguard.messaging.outbox.pending_sends import KEPT_FOR, PendingSend, result_of
from waguard.messaging.outbox.rate_limiter import RateLimiter
from waguard.messaging.outbox.recovery import Recovery
from waguard.messaging.outbox.send_context import SendContext, stopping
from waguard.messaging.outbox.transmission import Transmission
from waguard.messaging.timers import Timers
from waguard.ports.messages import StateUpdate
from waguard.ports.outcomes import Acked, NotSent, Outcome, Uncertain, state_after

AT_ONCE: Final = 500  # messages that fail in one transaction
WAITING_AT_MOST: Final = 50_000  # messages; a waiting one takes about 2 kB of memory


class Dispatcher:
    """``recovery`` finds out what got no answer, ``reports`` publish how messages ended."""

    def __init__(
        self,
        ctx: SendContext,
        transmission: Transmission,
        recovery: Recovery,
        reports: OutcomeReports,
    ) -> None:
        self._ctx = ctx
        self._transmission = transmission
        self._recovery = recovery
        self._reports = reports
        self._queues: dict[str, ChatQueues] = {}
        self._waiting: dict[int, PendingSend] = {}
        """Accepted, by id."""
        self._going: set[PendingSend] = set()
        """Being kept, or sent."""
        clock = ctx.clock
        self._limiter = RateLimiter(lambda: ctx.config().send, clock=clock.monotonic)
        self._timers = Timers(clock.wall)
        self.closing = False

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is on its way has ``grace`` seconds. What waits is for the
        next run, but for those to whom a request still waits: it is answered that nothing was sent."""
        self.closing = True
        self._timers.close()
        self._ctx.waiting.cancel()
        waiting = [(queues, it) for queues in self._queues.values() for it in queues.waiting()]
        awaited = [it for queues, it in waiting if it.is_awaited and queues.remove(it)]
        await asyncio.gather(*(self.end(pending, NotSent(stopping())) for pending in awaited))
        await asyncio.gather(
            self._ctx.sending.wait(grace),
            *(queues.close(grace) for queues in self._queues.values()),
        )
        self._ctx.sending.cancel()

    # ---- what waits ----

    def require_places(self, count: int) -> None:
        """For messages that wait. Raises ``TooManyError``."""
        if len(self._waiting) + count > WAITING_AT_MOST:
            raise TooManyError(
                f"{len(self._waiting)} messages wait already",
                remedy="see GET /api/messages?state=accepted",
                retry_after=60,
            )

    def waits(self, pending: PendingSend) -> bool:
        """Whether it is accepted, and not begun."""
        return pending.id in self._waiting

    @contextlib.contextmanager
    def on_its_way(self, pending: PendingSend) -> Iterator[None]:
        """While the body keeps or sends it, ``abandon`` reaches it too."""
        self._going.add(pending)
        try:
            yield
        finally:
            self._going.discard(pending)

    def add(self, pending: PendingSend) -> None:
        """Let it wait for its time, and then for its turn."""
        self._waiting[pending.id] = pending
        if pending.send_at is not None and pending.send_at > self._ctx.clock.wall():
            self._timers.at(pending.send_at, lambda: self._queue(pending))
        else:
            self._queue(pending)

    def adopt(self, pending: PendingSend) -> None:
        """The same for one that an earlier run left."""
        self.add(pending)
        if pending.expires_at is not None:
            # a clock that was set back must not have it sent when nobody expects it any more
            pending.expires_at = min(pending.expires_at, self._ctx.clock.wall() + KEPT_FOR)
            self._timers.at(pending.expires_at, lambda: self._expire(pending))

    def _queue(self, pending: PendingSend) -> None:
        if self.waits(pending) and not self.closing:
            self.queues(pending.session_id).add(pending)

    def cancel(self, number: int) -> None:
        """It is cancelled in the database."""
        if pending := self._waiting.pop(number, None):
            self.queues(pending.session_id).remove(pending)
            error = ConflictError("it was cancelled", remedy="send it as a new message")
            pending.resolve(NotSent(error))

    async def limit_wait(self, pending: PendingSend) -> None:
        """Give up when its session or its turn does not come in time: somebody waits for it."""
        wait = self._ctx.config().send.wait
        end = asyncio.get_running_loop().time() + wait
        error: WaguardError = UnavailableError(
            "earlier messages are still on their way", retry_after=5
        )
        try:
            await self._ctx.sessions.ready(pending.session_id, wait=wait)
            async with asyncio.timeout_at(end):
                await pending.begun.wait()
        except TimeoutError:
            pass
        except WaguardError as not_ready:
            error = not_ready
        if not pending.queued and self.queues(pending.session_id).remove(pending):
            # a stop gives it its time
            self._ctx.sending.start(self.end(pending, NotSent(error)))

    def _expire(self, pending: PendingSend) -> None:
        """Whoever sent it has given up long ago."""
        if self.queues(pending.session_id).remove(pending):
            error = UnavailableError("its session was not connected in time")
            self._ctx.sending.start(self.end(pending, NotSent(error)))

    def _lose(self, pending: PendingSend, error: WaguardError) -> None:
        logger.warning(
            "a message is not sent: its session is gone",
            event="message_abandoned",
            session=pending.session_id,
            id=pending.id,
        )
        pending.abandoned = error
        self._ctx.sending.start(self.end(pending, NotSent(error)))

    async def abandon(self, session_id: str, why: str) -> None:
        """As ``Outbox.abandon``."""
        error = ConflictError(why, remedy="send it as a new message")
        for pending in self._going:
            if pending.session_id == session_id:
                pending.abandoned = error
        left = [it for it in self._waiting.values() if it.session_id == session_id]
        left = [pending for pending in left if pending not in self._going]
        for pending in left:
            self._waiting.pop(pending.id)
            self.queues(session_id).remove(pending)
        try:
            while some := left[:AT_ONCE]:
                await self._ctx.journal.keep_all([_failed(pending, why) for pending in some])
                for pending in some:
                    pending.resolve(NotSent(error))
                    self._reports.later(pending)
                del left[:AT_ONCE]
        finally:
            for pending in left:
                self.add(pending)

    def queues(self, session_id: str) -> ChatQueues:
        """Of a session; those of sessions for which nothing waits are forgotten."""
        if session_id not in self._queues:
            for name in [name for name, queues in self._queues.items() if queues.idle]:
                del self._queues[name]
            sessions = self._ctx.sessions
            self._queues[session_id] = ChatQueues(
                lambda wait: sessions.ready(session_id, wait=wait, hoping=True),
                self._send_waiting,
                self._lose,
                functools.partial(self._limiter.acquire, session_id),
                functools.partial(sessions.first_contacts_pause, session_id),
                timings=self._ctx.timings,
            )
        return self._queues[session_id]

    # ---- the command, and what comes of it ----

    async def send_now(self, pending: PendingSend) -> None:
        """It has reserved its chat, and is kept as "sending"."""
        queues = self.queues(pending.session_id)
        try:
            outcome = await self._transmission.send(pending, wait=self._ctx.config().send.wait)
            if not await self.end(pending, outcome):
                self.add(pending)
        finally:
            queues.release(pending.chat_key)

    async def _send_waiting(self, pending: PendingSend) -> bool:
        """It is its turn; whether it is done with."""
        with self.on_its_way(pending):
            return await self._begin(pending)

    async def _begin(self, pending: PendingSend) -> bool:
        if pending.expires_at is not None and pending.expires_at <= self._ctx.clock.wall():
            error = UnavailableError("earlier messages of the chat took too long")
            return await self.end(pending, NotSent(error))
        try:
            if not await self._may_begin(pending):
                self._waiting.pop(pending.id, None)
                return True
        except WaguardError as error:
            # who hears so now must not have it sent later; and another number is no passing state
            if pending.is_awaited or pending.abandoned or isinstance(error, OtherNumberError):
                return await self.end(pending, NotSent(error))
            pending.doubtful |= isinstance(error, DatabaseUnavailableError)
            return False
        del self._waiting[pending.id]
        pending.begun.set()
        if await self.end(pending, await self._transmission.send(pending, wait=0.0)):
            return True
        self._waiting[pending.id] = pending
        return False

    async def _may_begin(self, pending: PendingSend) -> bool:
        """Keep that it begins; False: it was cancelled, or is gone. Raises ``OtherNumberError``."""
        store, journal = self._ctx.store, self._ctx.journal
        if pending.command is None:
            kept = await store.load(pending.id)
            if kept is None:
                return False
            pending.command = command_of(*kept)
        number = await self._transmission.number(pending.session_id)
        if await journal.keep(StateUpdate(id=pending.id, state=State.SENDING, phone=number)):
            pending.phone = number or pending.phone
            return True
        row = await store.find(pending.id)
        if pending.doubtful and row is not None and row.state is State.SENDING:
            pending.phone = row.phone
            return True
        if row is not None and row.state is State.ACCEPTED:
            raise OtherNumberError(row.phone, number)
        gone = NotSent(NotFoundError("the message is gone"))
        pending.resolve(result_of(row) if row else gone)
        return False

    async def end(self, pending: PendingSend, outcome: Outcome) -> bool:
        """Keep how it ended; False: it did not, it waits again."""
        self._waiting.pop(pending.id, None)
        if isinstance(outcome, NotSent) and pending.abandoned:
            outcome = NotSent(pending.abandoned)
        final = pending.abandoned or _is_of_another_number(outcome)
        pending.held = isinstance(outcome, NotSent) and outcome.hold is not None
        if pending.held and pending.may_queue and not final and await self._let_it_queue(pending):
            return False
        state = state_after(outcome, waits=pending.queued and not final)
        update = _update(pending, outcome, state)
        if state is State.ACCEPTED:
            self._ctx.journal.update(update)
            pending.begun.clear()
            pending.rests_until = asyncio.get_running_loop().time() + self._rest(outcome)
            return False
        if isinstance(outcome, NotSent):
            # before the reply: who hears so may send it again, and no crash must send both
            with contextlib.suppress(TimeoutError, WaguardError):
                writing = asyncio.shield(self._ctx.not_sent.write(update))
                await asyncio.wait_for(writing, self._ctx.timings.keeping)
        elif pending.is_awaited:
            pending.owed = update
        else:
            self._ctx.journal.update(update)
        pending.resolve(outcome)
        self._reports.later(pending)
        if state is State.UNCERTAIN:
            self._recovery.watch(pending)
        return True

    async def _let_it_queue(self, pending: PendingSend) -> bool:
        """A first contact that may wait does so while those pause, once that is kept; whether it does."""
        if pending.queued or self.closing:
            return False
        try:
            self.require_places(1)
            update = StateUpdate(id=pending.id, state=State.ACCEPTED, queued=True)
            await asyncio.wait_for(self._ctx.journal.keep(update), self._ctx.timings.keeping)
        except (WaguardError, TimeoutError):
            return False
        pending.queued, pending.expires_at = True, None
        pending.begun.clear()
        pending.waits.set_result(None)
        return True

    def _rest(self, outcome: Outcome) -> float:
        """Seconds in which it is not tried again; as long as first contacts pause, it is not anyway."""
        match outcome:
            case NotSent(error, hold=str()):
                return min(float(error.retry_after or 0), self._ctx.timings.longest_rest)
            case _:
                return 0.0


def _failed(pending: PendingSend, why: str) -> StateUpdate:
    return StateUpdate(id=pending.id, state=State.FAILED, error=why, reports=pending.name)


def _update(pending: PendingSend, outcome: Outcome, state: State) -> StateUpdate:
    update = StateUpdate(id=pending.id, state=state, reports=pending.name)
    match outcome:
        case Acked(timestamp=at):
            return replace(update, ack=1, sent_at=at)
        case Uncertain(why, at_page=at_page):
            return replace(update, ack=0 if at_page else None, error=why)
        case it:
            return replace(update, error=it.error.message)


def _is_of_another_number(outcome: Outcome) -> bool:
    return isinstance(outcome, NotSent) and isinstance(outcome.error, OtherNumberError)
