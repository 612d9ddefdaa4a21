"""What is sent when: messages that wait, each in its chat's queue, at the session's pace."""

import asyncio
import contextlib
import functools
from typing import Final

from loguru import logger

from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import ABANDONED, State
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    NotFoundError,
    NotOwnedError,
    OtherNumberError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.chat_queues import ChatQueues
from waguard.messaging.outbox.commands import command_of
from waguard.messaging.outbox.completion import Completion
from waguard.messaging.outbox.pending_sends import PendingSend, result_of
from waguard.messaging.outbox.rate_limiter import RateLimiter
from waguard.messaging.outbox.send_context import SendContext, stopping
from waguard.messaging.outbox.transmission import Transmission
from waguard.messaging.timers import Timers
from waguard.ports.outbox import StateUpdate
from waguard.ports.outcomes import NotSent
from waguard.ports.sessions import LOGGED_OUT

AT_ONCE: Final = 500  # messages that fail in one transaction


class Dispatcher:
    """What waits is in ``ctx.accepted``; ``completion`` gets what came of each."""

    def __init__(
        self, ctx: SendContext, transmission: Transmission, completion: Completion
    ) -> None:
        self._ctx = ctx
        self._accepted = ctx.accepted
        self._transmission = transmission
        self._completion = completion
        self._queues: dict[str, ChatQueues] = {}
        clock = ctx.clock
        self._limiter = RateLimiter(lambda: ctx.config().send, clock=clock.monotonic)
        self._timers = Timers(clock.wall)
        self._paced = Timers(clock.monotonic)

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is on its way has ``grace`` seconds. What waits is for the
        next run, but for those to whom a request still waits: it is answered that nothing was sent."""
        self._accepted.closing = True
        self._timers.close()
        self._paced.close()
        self._ctx.waiting.cancel()
        waiting = [(queues, it) for queues in self._queues.values() for it in queues.waiting()]
        awaited = [it for queues, it in waiting if it.is_awaited and queues.remove(it)]
        await asyncio.gather(
            *(self._completion.end(pending, NotSent(stopping())) for pending in awaited)
        )
        await asyncio.gather(
            self._ctx.sending.wait(grace),
            *(queues.close(grace) for queues in self._queues.values()),
        )
        self._ctx.sending.cancel()

    # ---- what waits ----

    async def find_chat_key(self, pending: PendingSend) -> None:
        """What goes to a person's number and to a LID of theirs is one chat, in one order: also what was accepted while the
        LID's number was unknown."""
        with contextlib.suppress(WaguardError):  # without the database it is not kept either
            people = await self._ctx.journal.people(pending.session_id)
            number, *lids = people.aliases(pending.chat)
            pending.chat_key = number
            if lids:
                self.queues(pending.session_id).unite(number, lids)

    def add(self, pending: PendingSend) -> None:
        """Let it wait for its time, and then for its turn; not where another host sends it."""
        if pending.lost or pending.session_id not in self._ctx.own:
            return
        self._accepted.add(pending)
        clock, at = self._ctx.clock, pending.send_at
        # by its number: one that is cancelled is not kept until its time
        queue = functools.partial(self._queue, pending.id)
        if at is None or at <= clock.wall():
            queue()
        elif pending.bulk_id is None:
            self._timers.at(at, queue)
        else:  # a pace, whatever the wall clock is set to meanwhile
            self._paced.at(clock.monotonic() + at - clock.wall(), queue)

    def adopt(self, pending: PendingSend, created_at: float) -> None:
        """Add a message that an earlier run left; it fails where its session was logged out since. ``created_at`` is unix
        time."""
        if pending.expires_at == ABANDONED:
            self._lose(pending, _abandoned(LOGGED_OUT))
            return
        if pending.bulk_id is not None and pending.send_at is not None:
            # nor must a bulk wait until a clock that was set back is there again
            pending.send_at += min(0.0, self._ctx.clock.wall() - created_at)
        self.add(pending)
        if pending.expires_at is not None:
            # a clock that was set back must not have it sent when nobody expects it any more
            pending.expires_at = min(pending.expires_at, self._ctx.clock.wall() + REPEATED_FOR)
            self._timers.at(pending.expires_at, lambda: self._expire(pending))

    def _queue(self, number: int) -> None:
        pending = self._accepted.get(number)
        if pending and not (pending.lost or self._accepted.closing):
            self.queues(pending.session_id).add(pending)

    def cancel(self, number: int) -> None:
        """Forget a message that is cancelled in the database."""
        if pending := self._accepted.pop(number):
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
        if not pending.queued and self.queues(pending.session_id).claim(pending):
            # a stop gives it its time
            self._ctx.sending.start(self._give_up(pending, error))

    async def _give_up(self, pending: PendingSend, error: WaguardError) -> None:
        """Nothing later goes to its chat before it is known whether it waits on, without anybody who waits for it."""
        queues = self.queues(pending.session_id)
        try:
            with self._accepted.on_its_way(pending):
                if not await self._completion.end(pending, NotSent(error)):
                    self.add(pending)
        finally:
            queues.release(pending)

    def _expire(self, pending: PendingSend) -> None:
        """Whoever sent it has given up long ago."""
        if not pending.lost and self.queues(pending.session_id).remove(pending):
            error = UnavailableError("its session was not connected in time")
            self._ctx.sending.start(self._completion.end(pending, NotSent(error)))

    def _lose(self, pending: PendingSend, error: WaguardError) -> None:
        logger.warning(
            "a message is not sent: its session is gone",
            event="message_abandoned",
            session=pending.session_id,
            id=pending.id,
        )
        pending.abandoned = error
        self._ctx.sending.start(self._completion.end(pending, NotSent(error)))

    async def abandon(self, session_id: str, why: str) -> None:
        """As ``Outbox.abandon``."""
        error = _abandoned(why)
        for pending in self._accepted.going(session_id):
            pending.abandoned = error
        left = self._accepted.waiting(session_id)
        for pending in left:
            self._accepted.pop(pending.id)
            self.queues(session_id).remove(pending)
        try:
            while some := left[:AT_ONCE]:
                await self._completion.fail(some, error)
                del left[:AT_ONCE]
        finally:
            for pending in left:
                self.add(pending)

    def queues(self, session_id: str) -> ChatQueues:
        """The queues of a session; those of sessions for which nothing waits are forgotten."""
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
                at_once=self._ctx.bounds.chats_at_once,
                waits=functools.partial(self._waits, session_id),
            )
        return self._queues[session_id]

    def _waits(self, session_id: str, chat: str) -> bool:
        return self._ctx.own.is_coming(session_id) or self._ctx.group_waits(session_id, chat)

    def wake(self, session_id: str) -> None:
        """What was left of a session is added."""
        if queues := self._queues.get(session_id):
            queues.wake()

    async def lose(self, session_id: str, grace: float) -> None:
        """Begin nothing more of a session; what is on its way has ``grace`` seconds."""
        self._limiter.forget(session_id)
        if queues := self._queues.pop(session_id, None):
            await queues.close(grace)

    # ---- the command, and what comes of it ----

    async def send_now(self, pending: PendingSend) -> None:
        """Send a message that has reserved its chat, and is kept as "sending"."""
        queues = self.queues(pending.session_id)
        try:
            outcome = await self._transmission.send(pending, wait=self._ctx.config().send.wait)
            if not await self._completion.end(pending, outcome):
                self.add(pending)
        finally:
            queues.release(pending)

    async def _send_waiting(self, pending: PendingSend) -> bool:
        """Send a message whose turn it is; whether it is done with."""
        with self._accepted.on_its_way(pending):
            is_done = await self._begin(pending)
            if not is_done:
                self._accepted.add(pending)
            return is_done

    async def _begin(self, pending: PendingSend) -> bool:
        if pending.expires_at is not None and pending.expires_at <= self._ctx.clock.wall():
            error = UnavailableError("earlier messages of the chat took too long")
            return await self._completion.end(pending, NotSent(error))
        try:
            if not await self._may_begin(pending):
                self._accepted.pop(pending.id)
                return True
        except NotOwnedError:  # its row says as before that it is accepted
            self._accepted.pop(pending.id)
            pending.lose(under_way=False)
            return True
        except WaguardError as error:
            # who hears so now must not have it sent later; and another number is no passing state
            if pending.is_awaited or pending.abandoned or isinstance(error, OtherNumberError):
                return await self._completion.end(pending, NotSent(error))
            pending.doubtful |= isinstance(error, DatabaseUnavailableError)
            return False
        if pending.lost:
            return True
        self._accepted.pop(pending.id)
        pending.begun.set()
        return await self._completion.end(pending, await self._transmission.send(pending, wait=0.0))

    async def _may_begin(self, pending: PendingSend) -> bool:
        """Keep that it begins; False: it was cancelled, or is gone. Raises ``OtherNumberError``, what it is ``abandoned`` for,
        and as ``Transmission.bring_file``."""
        store, journal = self._ctx.store, self._ctx.journal
        if pending.command is None:
            kept = await store.load(pending.id)
            if kept is None:
                return False
            pending.set_command(command_of(*kept))
        await self._transmission.bring_file(pending)
        number = await self._transmission.number(pending.session_id)
        if await journal.keep(StateUpdate(id=pending.id, state=State.SENDING, phone=number)):
            pending.phone = number or pending.phone
            return True
        row = await store.find(pending.id)
        if pending.doubtful and row is not None and row.state is State.SENDING:
            pending.phone = row.phone
            return True
        if row is not None and row.state is State.ACCEPTED:
            if row.expires_at == ABANDONED:
                pending.abandoned = _abandoned(LOGGED_OUT)
                raise pending.abandoned
            raise OtherNumberError(row.phone, number)
        gone = NotSent(NotFoundError("the message is gone"))
        pending.resolve(result_of(row) if row else gone)
        return False


def _abandoned(why: str) -> ConflictError:
    return ConflictError(why, remedy="send it as a new message")
