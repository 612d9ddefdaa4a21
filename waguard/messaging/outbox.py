"""Sends that survive any crash, and are never doubled.

A message is kept before its command leaves, with the id that it will have at WhatsApp; what may go
at once is kept as "sending", which is one commit. What became of it is kept after the reply, for
WhatsApp has the truth: after a crash a message that is "sending" is looked up in its chat by its
id. It is sent again only where the command certainly has not left.

A request waits for its message, or only for its keeping (``Options.later``). One that waits gives
up when its session or its turn does not come in time; then the message has failed, and the
repetition of the request is its second chance. Anything unexpected counts as uncertain, because
a 5xx would make the application send it again.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.config import Config
from waguard.core.identity import GROUP
from waguard.core.inbox import InboxRecord
from waguard.core.outbox import (
    AT_SERVER,
    Outcome,
    State,
    after_call,
    after_look,
    by_ack,
    number_of,
)
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    InvalidInputError,
    NotFoundError,
    OtherNumberError,
    RefusedError,
    TooManyError,
    UnacknowledgedError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.messaging.chat_queues import ChatQueues
from waguard.messaging.commands import Command, body_of, command_of
from waguard.messaging.journal import Journal
from waguard.messaging.outcome_poller import OutcomePoller
from waguard.messaging.pending_sends import (
    KEPT_FOR,
    UNCERTAIN,
    KeyReusedError,
    Options,
    PendingSend,
    PendingSends,
    new_ticket,
    of_row,
    result_of,
    take_over,
)
from waguard.messaging.rate_limiter import RateLimiter
from waguard.messaging.timers import Timers
from waguard.ports.clock import Ages, Clock, WallAges
from waguard.ports.messages import NewMessage, OutboxStore, Outgoing, StateUpdate, Withdrawal
from waguard.ports.sessions import Sessions
from waguard.wire.protocol import SendMedia, Sent, Value

# beyond the waiting and the send itself; supervision has an end of its own well before
MARGIN: Final = 30.0  # s
REPLY_MARGIN: Final = 5.0  # s; beyond that, for a request that waits for another one's message
KEEPING: Final = 2.0  # s that a reply "not sent" waits for the database to know it
UNCERTAIN_FOR: Final = 86_400.0  # s; how old a message may be that a new daemon looks up
WATCHED_AT_MOST: Final = 1_000
AT_ONCE: Final = 500  # messages that fail in one transaction
WAITING_AT_MOST: Final = 50_000  # messages; a waiting one takes about 2 kB of memory
REST_AT_MOST: Final = 60.0  # s for a first contact that was held
HOUR: Final = 3_600.0  # s

Publish = Callable[..., object]


class Outbox:
    """Sends through ``sessions``, keeps by ``journal``. ``config`` is read at each send; ``publish``
    is the bus's; ``require_room`` raises ``WaguardError`` while nothing new may begin."""

    def __init__(  # noqa: PLR0913 - the seams, as a port each
        self,
        sessions: Sessions,
        store: OutboxStore,
        journal: Journal,
        config: Callable[[], Config],
        clock: Clock,
        *,
        publish: Publish = lambda *_, **__: None,
        require_room: Callable[[], None] = lambda: None,
        ages: Ages | None = None,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._journal = journal
        self._config = config
        self._require_room = require_room
        self._publish = publish
        self._wall = clock.wall
        self._monotonic = clock.monotonic
        self._ages = ages or WallAges(clock.wall)
        self._tickets = PendingSends(clock.monotonic)
        self._lanes: dict[str, ChatQueues] = {}
        self._waiting: dict[int, PendingSend] = {}
        """Accepted, by id."""
        self._watched: dict[tuple[str, str], PendingSend] = {}
        """Those whose answer was lost, by session and WhatsApp's id."""
        self._going: set[PendingSend] = set()
        """Being kept, or sent."""
        self._unkept: set[asyncio.Future[tuple[int, ...]]] = set()
        """What was not sent, while its row may still say something else."""
        self._look_ups = OutcomePoller(sessions, self._on_look, journal.people)
        self._turns = RateLimiter(lambda: config().send, clock=clock.monotonic)
        self._timers = Timers(clock.wall)
        self._graces = Timers(clock.monotonic)
        self._sending: set[asyncio.Task[Any]] = set()
        self._hoping: set[asyncio.Task[Any]] = set()
        self._largest: int | None = None
        self._begun = False
        self._closing = False
        journal.acked = self._on_ack
        journal.told = self._on_told

    # ---- the daemon's ----

    async def begin(self) -> None:
        """Go on with what an earlier run left; before it, nothing is accepted.

        Raises ``DatabaseUnavailableError``; may be called again then.
        """
        if self._begun:
            return
        self._largest = await self._store.largest_body()
        left = await self._store.unfinished(
            uncertain_since=self._ages.ago(UNCERTAIN_FOR), answered_since=self._ages.ago(KEPT_FOR)
        )
        untold = await self._store.untold(since=self._ages.ago(UNCERTAIN_FOR))
        for row in left:
            await self._resume(row)
        for row in untold:
            done = bool(row.answered or row.bulk_id)
            delay = 0.0 if done else self._grace - self._ages.age(row.created_at)
            self._tell_after(delay, row.id, (row.session_id, row.message_id))
        self._begun = True
        unsent = [row for row in left if row.state in {State.ACCEPTED, State.SENDING}]
        if unsent:
            logger.info(
                "messages of an earlier run go on", event="messages_resumed", count=len(unsent)
            )

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is on its way has ``grace`` seconds. What waits is for the
        next run, but for those to whom a request still waits: it is told that nothing was sent."""
        self._closing = True
        self._timers.close()
        self._graces.close()
        for task in self._hoping:
            task.cancel()
        waiting = [(lanes, it) for lanes in self._lanes.values() for it in lanes.waiting()]
        told = [it for lanes, it in waiting if it.is_awaited and lanes.take_out(it)]
        await asyncio.gather(*(self._end(ticket, _stopping()) for ticket in told))
        await asyncio.gather(
            _ended(self._sending, grace), *(lanes.close(grace) for lanes in self._lanes.values())
        )
        for task in self._sending:
            task.cancel()
        await self._look_ups.close()

    # ---- the API's ----

    def accept(
        self, session_id: str, workspace_id: int, command: Command, options: Options | None = None
    ) -> PendingSend:
        """Begin to keep and to send, or join the message that this request repeats.

        Say ``answered`` or ``unanswered`` after trying to write the reply. Raises
        ``UnavailableError`` at start and stop, ``TooManyError``, ``KeyReusedError``, and what
        ``require_room`` raises.
        """
        options = options or Options()
        ticket = new_ticket(session_id, workspace_id, command, options)
        if known := self._tickets.same(ticket):
            known.replies += 1
            if known.replies == 1 and known.id in self._waiting and not known.queued:
                self._task(self._be_patient(known), self._hoping)  # an earlier run's had nobody
            return known
        self._check_open()  # not for a repetition: "not sent" would be wrong of it
        self._require_room()
        self._require_place(ticket)
        ticket.replies = 1
        self._tickets.add(ticket)
        self._task(self._go(ticket, options), self._sending)
        return ticket

    def _require_place(self, ticket: PendingSend) -> None:
        if ticket.queued:
            self._require_places(1)
            return
        most = self._config().limits.sends_in_flight
        if self._tickets.under_way(ticket.session_id) >= most:
            raise TooManyError(
                f"{most} sends of this session are under way",
                field="session_id",
                value=ticket.session_id,
                remedy="wait for their replies; limits.sends_in_flight allows more",
                retry_after=1,
            )

    def _require_places(self, count: int) -> None:
        """For messages that wait."""
        if len(self._waiting) + count > WAITING_AT_MOST:
            raise TooManyError(
                f"{len(self._waiting)} messages wait already",
                remedy="see GET /api/messages?state=accepted",
                retry_after=60,
            )

    async def keep_all(
        self, session_id: str, workspace_id: int, messages: Sequence[tuple[Command, Options]]
    ) -> None:
        """Keep messages to which nobody waits, all or none; each is sent when it is due.

        Raises ``DatabaseUnavailableError``, and as ``accept``.
        """
        self._check_open()
        self._require_room()
        self._require_places(len(messages))
        tickets = [new_ticket(session_id, workspace_id, *message) for message in messages]
        phone = await self._number(session_id)
        for ticket in tickets:
            ticket.phone = phone
            await self._find_lane(ticket)
        drafts = [_draft(ticket, State.ACCEPTED) for ticket in tickets]
        lanes = self._lanes_of(session_id)
        try:
            with contextlib.ExitStack() as coming:
                for ticket in tickets:
                    coming.enter_context(self._on_its_way(ticket))
                    if ticket.send_at is None:
                        coming.enter_context(lanes.coming(ticket.lane))
                numbers = await self._journal.keep_all(drafts)
        except BaseException:
            for ticket in tickets:
                self._unkeep(Withdrawal(ticket.message_id))
            raise
        for ticket, ticket.id in zip(tickets, numbers, strict=True):
            ticket.command = None
            ticket.stored.set_result(ticket.id)
            if ticket.abandoned:
                self._task(self._end(ticket, ticket.abandoned), self._sending)
            else:
                self._let_wait(ticket)

    async def abandon(self, session_id: str, why: str) -> None:
        """Fail all messages of a session that have not begun; those that are on their way are not
        tried again.

        Raises ``UnavailableError`` where it is not known yet which there are, and
        ``DatabaseUnavailableError``: then some may still wait, and it may be asked again.
        """
        self._check_begun()
        error = ConflictError(why, remedy="send it as a new message")
        for ticket in self._going:
            if ticket.session_id == session_id:
                ticket.abandoned = error
        left = [it for it in self._waiting.values() if it.session_id == session_id]
        left = [ticket for ticket in left if ticket not in self._going]
        for ticket in left:
            self._waiting.pop(ticket.id)
            self._lanes_of(session_id).take_out(ticket)
        try:
            while some := left[:AT_ONCE]:
                await self._journal.keep_all([_failed(ticket, why) for ticket in some])
                for ticket in some:
                    ticket.settle(error)
                    self._tell_later(ticket)
                del left[:AT_ONCE]
        finally:
            for ticket in left:
                self._let_wait(ticket)

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """The message that has this key. Raises ``UnavailableError`` as long as the database does
        not know what was not sent: who repeats that must not be told that it is kept."""
        if self._unkept:
            _, late = await asyncio.wait(self._unkept, timeout=KEEPING)
            if late:
                raise UnavailableError("the database does not know yet what failed", retry_after=1)
        return await self._store.find_key(session_id, key)

    def _unkeep(self, item: StateUpdate | Withdrawal) -> "asyncio.Future[tuple[int, ...]]":
        keeping = self._journal.move(item)
        self._unkept.add(keeping)
        keeping.add_done_callback(self._unkept.discard)
        return keeping

    def _check_open(self) -> None:
        if self._closing:
            raise _stopping()
        self._check_begun()

    def _check_begun(self) -> None:
        if not self._begun:
            raise UnavailableError("waguard does not know yet what is still to be sent")

    async def result(self, ticket: PendingSend) -> Sent | None:
        """Wait for the outcome; None: it is kept, and nobody waits for more. A caller that is
        cancelled does not cancel the message.

        Raises what ``ports.Sessions.call`` raises, ``DatabaseUnavailableError`` where it could not
        be kept and so was not sent, and ``UncertainError`` for all the rest.
        """
        await asyncio.shield(ticket.stored)
        if ticket.queued:
            return None
        settings, done = self._config().send, ticket.done
        ends: set[asyncio.Future[Any]] = {done, ticket.waits}
        try:
            async with asyncio.timeout(settings.wait + settings.timeout + MARGIN + REPLY_MARGIN):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                return done.result() if done.done() else None
        except TimeoutError:  # it is not known that it has failed: then it is never "send again"
            raise UncertainError(UNCERTAIN, value=ticket.message_id) from None

    def answered(self, ticket: PendingSend) -> bool:
        """A reply was written; whether it was the first one for this message."""
        first = self._tickets.answered(ticket)
        ticket.replies -= 1
        owed, ticket.owed = ticket.owed, None
        if ticket.id and (first or owed):
            move = replace(owed or StateUpdate(id=ticket.id), answered=True, tells=ticket.tells)
            self._journal.move(move)
        return first

    def unanswered(self, ticket: PendingSend) -> None:
        """The reply could not be written: the same request gets this result for a while."""
        ticket.replies -= 1
        owed, ticket.owed = ticket.owed, None
        if owed:
            self._journal.move(owed)
        self._tickets.unanswered(ticket)
        self._tell_later(ticket)

    def owed(self) -> int:
        """Messages whose reply is still to be written, those that wait for a repetition included."""
        return len(self._tickets)

    async def cancel(self, row: Outgoing) -> None:
        """Raises ``ConflictError`` where it has begun, or ended."""
        if not await self._journal.keep(StateUpdate(id=row.id, state=State.CANCELLED)):
            found = await self._store.find(row.id)
            raise ConflictError(
                f"it is {found.state if found else row.state}",
                remedy="only what is accepted can be cancelled",
            )
        if ticket := self._waiting.pop(row.id, None):
            self._lanes_of(ticket.session_id).take_out(ticket)
            ticket.settle(ConflictError("it was cancelled", remedy="send it as a new message"))

    # ---- from the acceptance to the command ----

    async def _resume(self, row: Outgoing) -> None:
        ticket = of_row(row)
        await self._find_lane(ticket)
        if ticket.key or not (row.answered or row.bulk_id):
            self._tickets.add(ticket, age=self._ages.age(row.created_at))
        match row.state:
            case State.ACCEPTED:
                self._let_wait(ticket)
                if ticket.expires_at is not None:
                    # a clock that was set back must not have it sent when nobody expects it any more
                    ticket.expires_at = min(ticket.expires_at, self._wall() + KEPT_FOR)
                    self._timers.at(ticket.expires_at, lambda: self._expire(ticket))
            case State.SENDING | State.UNCERTAIN:
                self._watch(ticket)
            case _:
                pass

    @contextlib.contextmanager
    def _on_its_way(self, ticket: PendingSend) -> Iterator[None]:
        self._going.add(ticket)
        try:
            yield
        finally:
            self._going.discard(ticket)

    async def _number(self, session_id: str) -> str | None:
        return number_of((await self._sessions.view(session_id)).phone_number)

    async def _go(self, ticket: PendingSend, options: Options) -> None:
        with self._on_its_way(ticket):
            await self._keep_and_begin(ticket, options)

    async def _keep_and_begin(self, ticket: PendingSend, options: Options) -> None:
        try:
            if ticket.key is not None and await self._was_kept(ticket, ticket.key):
                return
            if options.fetch:
                ticket.take(await options.fetch())
            ticket.phone = await self._number(ticket.session_id)
            await self._find_lane(ticket)
            direct = await self._keep(ticket, options)
        except WaguardError as error:
            self._reject(ticket, error)
            return
        except BaseException as error:
            self._reject(ticket, error if isinstance(error, Exception) else _stopping())
            raise
        if direct:
            await self._send_directly(ticket)
            return
        if self._closing and ticket.is_awaited:
            ticket.abandoned = ticket.abandoned or _stopping()
        if ticket.abandoned:
            await self._end(ticket, ticket.abandoned)
            return
        self._let_wait(ticket)
        if not ticket.queued:
            self._task(self._be_patient(ticket), self._hoping)

    async def _was_kept(self, ticket: PendingSend, key: str) -> bool:
        """Whether it is the message that has this key; what never left has a second chance."""
        row = await self.find_key(ticket.session_id, key)
        oldest = self._ages.ago(self._config().send.idempotency_hours * HOUR)
        if row is None or row.created_at < oldest or row.state is State.FAILED:
            return False
        if row.fingerprint != ticket.fingerprint:
            raise KeyReusedError
        ticket.command = None
        take_over(ticket, row)
        if row.state is State.SENDING:  # memory has forgotten it a moment too early
            ticket.settle(UncertainError(UNCERTAIN, value=row.message_id))
        return True

    async def _keep(self, ticket: PendingSend, options: Options) -> bool:
        """Keep it; whether it may go at once, and is kept so."""
        ready = options.send_at is None and await self._is_ready(ticket, options)
        lanes = self._lanes_of(ticket.session_id)
        direct = ready and lanes.reserve(ticket.lane)
        command = ticket.command
        assert command  # noqa: S101 - it has just come
        content = command.content if isinstance(command, SendMedia) else None
        if content and (most := self._largest) and len(content) > most:
            if direct:
                lanes.release(ticket.lane)
            raise _too_large(len(content), most)
        if not ticket.queued:
            ticket.expires_at = self._wall() + KEPT_FOR
        # what a request waits for goes now or never: no need to write a large file first
        kept = None if direct and not (ticket.queued or ticket.may_queue) else content
        draft = _draft(ticket, State.SENDING if direct else State.ACCEPTED, kept)
        try:
            with contextlib.nullcontext() if direct else lanes.coming(ticket.lane):
                ticket.id = await self._journal.keep(draft)
        except BaseException:
            if direct:
                lanes.release(ticket.lane)
            self._unkeep(Withdrawal(ticket.message_id))
            raise
        if direct:
            ticket.begun.set()
        elif ticket.queued or content:
            ticket.command = None  # memory is for those that go now
        ticket.stored.set_result(ticket.id)
        return direct

    async def _is_ready(self, ticket: PendingSend, options: Options) -> bool:
        """Raises where it is not, and nothing is to wait for it."""
        try:
            await self._sessions.ready(ticket.session_id, wait=0)
        except NotFoundError:
            raise
        except WaguardError as error:
            if options.queue:
                self._require_places(1)
                ticket.queued = True
            hopeless = isinstance(error, ConflictError) or not self._config().send.wait
            if hopeless and not ticket.queued:
                raise
            return False
        return True

    def _reject(self, ticket: PendingSend, error: Exception) -> None:
        """Nothing was kept, and nothing is sent."""
        self._tickets.drop(ticket)
        for future in (ticket.stored, ticket.done):
            if not future.done():
                future.set_exception(error)

    def _let_wait(self, ticket: PendingSend) -> None:
        self._waiting[ticket.id] = ticket
        if ticket.send_at is not None and ticket.send_at > self._wall():
            self._timers.at(ticket.send_at, lambda: self._queue(ticket))
        else:
            self._queue(ticket)

    def _queue(self, ticket: PendingSend) -> None:
        if ticket.id in self._waiting and not self._closing:
            self._lanes_of(ticket.session_id).add(ticket)

    async def _be_patient(self, ticket: PendingSend) -> None:
        """Give up when its session or its turn does not come in time: somebody waits for it."""
        wait = self._config().send.wait
        end = asyncio.get_running_loop().time() + wait
        error: WaguardError = UnavailableError(
            "earlier messages are still on their way", retry_after=5
        )
        try:
            await self._sessions.ready(ticket.session_id, wait=wait)
            async with asyncio.timeout_at(end):
                await ticket.begun.wait()
        except TimeoutError:
            pass
        except WaguardError as not_ready:
            error = not_ready
        if not ticket.queued and self._lanes_of(ticket.session_id).take_out(ticket):
            self._task(self._end(ticket, error), self._sending)  # a stop gives it its time

    def _expire(self, ticket: PendingSend) -> None:
        """Whoever sent it has given up long ago."""
        if self._lanes_of(ticket.session_id).take_out(ticket):
            error = UnavailableError("its session was not connected in time")
            self._task(self._end(ticket, error), self._sending)

    def _lose(self, ticket: PendingSend, error: WaguardError) -> None:
        logger.warning(
            "a message is not sent: its session is gone",
            event="message_abandoned",
            session=ticket.session_id,
            id=ticket.id,
        )
        ticket.abandoned = error
        self._task(self._end(ticket, error), self._sending)

    def _lanes_of(self, session_id: str) -> ChatQueues:
        if session_id not in self._lanes:
            for name in [name for name, lanes in self._lanes.items() if lanes.idle]:
                del self._lanes[name]
            self._lanes[session_id] = ChatQueues(
                lambda wait: self._sessions.ready(session_id, wait=wait, hoping=True),
                self._send_waiting,
                self._lose,
                functools.partial(self._turns.take, session_id),
                functools.partial(self._sessions.first_contacts_pause, session_id),
            )
        return self._lanes[session_id]

    # ---- the command, and what comes of it ----

    async def _send_directly(self, ticket: PendingSend) -> None:
        lanes = self._lanes_of(ticket.session_id)
        try:
            if not await self._transmit(ticket, wait=self._config().send.wait):
                self._let_wait(ticket)
        finally:
            lanes.release(ticket.lane)

    async def _send_waiting(self, ticket: PendingSend) -> bool:
        """It is its turn; whether it is done with."""
        with self._on_its_way(ticket):
            return await self._begin_waiting(ticket)

    async def _begin_waiting(self, ticket: PendingSend) -> bool:
        if ticket.expires_at is not None and ticket.expires_at <= self._wall():
            return await self._end(ticket, UnavailableError("its turn did not come in time"))
        try:
            if not await self._may_begin(ticket):
                self._waiting.pop(ticket.id, None)
                return True
        except WaguardError as error:
            # who is told so now must not have it sent later; and another number is no passing state
            if ticket.is_awaited or ticket.abandoned or isinstance(error, OtherNumberError):
                return await self._end(ticket, error)
            ticket.doubtful |= isinstance(error, DatabaseUnavailableError)
            return False
        del self._waiting[ticket.id]
        ticket.begun.set()
        if await self._transmit(ticket, wait=0.0):
            return True
        self._waiting[ticket.id] = ticket
        return False

    async def _may_begin(self, ticket: PendingSend) -> bool:
        """Keep that it begins; False: it was cancelled, or is gone. Raises ``OtherNumberError``."""
        if ticket.command is None:
            kept = await self._store.load(ticket.id)
            if kept is None:
                return False
            ticket.command = command_of(*kept)
        number = await self._number(ticket.session_id)
        if await self._journal.keep(StateUpdate(id=ticket.id, state=State.SENDING, phone=number)):
            ticket.phone = number or ticket.phone
            return True
        row = await self._store.find(ticket.id)
        if ticket.doubtful and row is not None and row.state is State.SENDING:
            ticket.phone = row.phone
            return True
        if row is not None and row.state is State.ACCEPTED:
            raise OtherNumberError(row.phone, number)
        ticket.settle(result_of(row) if row else NotFoundError("the message is gone"))
        return False

    async def _transmit(self, ticket: PendingSend, *, wait: float) -> bool:
        """False: it certainly has not left, and is to wait again."""
        settings, command = self._config().send, ticket.command
        assert command  # noqa: S101 - read before
        ticket.command = None
        exists = await self._exists(ticket) if settings.check_first_contact else True
        call = msgspec.structs.replace(
            command,
            message_id=ticket.message_id,
            timeout=settings.timeout,
            first_contact_check=not exists,
            absent=exists is False,
            aliases=await self._aliases(ticket, command.mentions),
        )
        try:
            async with asyncio.timeout(wait + settings.timeout + MARGIN):
                told = await self._sessions.call(
                    ticket.session_id, call, wait=wait, phone=ticket.phone
                )
            result: Sent | WaguardError = _sent(told, ticket.message_id)
        except WaguardError as error:
            result = error
        except asyncio.CancelledError:  # waguard stops; the next run looks it up
            ticket.settle(UncertainError(UNCERTAIN, value=ticket.message_id))
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the message may have left
            logger.bind(session=ticket.session_id).exception("send ended in a bug", event="bug")
            result = UncertainError(UNCERTAIN, value=ticket.message_id)
        return await self._end(ticket, result)

    async def _find_lane(self, ticket: PendingSend) -> None:
        """What goes to a person's number and to a LID of theirs is one chat, in one order."""
        with contextlib.suppress(WaguardError):  # without the database it is not kept either
            people = await self._journal.people(ticket.session_id)
            ticket.lane = people.number(ticket.chat)

    async def _exists(self, ticket: PendingSend) -> bool | None:
        """Whether its number is known to have WhatsApp; None: that has to be asked."""
        try:
            people = await self._journal.people(ticket.session_id)
        except WaguardError:  # the database is away: then it is asked once more
            return None
        return people.exists(ticket.chat, self._wall())

    async def _aliases(
        self, ticket: PendingSend, people: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """By what other ids a group may know those whom it is to mention."""
        if not people or not ticket.chat.endswith(GROUP):
            return {}
        with contextlib.suppress(WaguardError):  # without the database the page knows most of them
            return (await self._journal.people(ticket.session_id)).others(people)
        return {}

    async def _end(self, ticket: PendingSend, result: Sent | WaguardError) -> bool:
        """Keep how it ended; False: it did not, it waits again."""
        self._waiting.pop(ticket.id, None)
        outcome = _outcome(result)
        if outcome is Outcome.NOT_LEFT and ticket.abandoned:
            result = ticket.abandoned
        final = ticket.abandoned or isinstance(result, OtherNumberError)
        ticket.held = _is_held(result)
        if ticket.held and ticket.may_queue and not final and await self._let_it_queue(ticket):
            return False
        state = after_call(outcome, waits=ticket.queued and not final)
        move = StateUpdate(id=ticket.id, state=state, tells=ticket.name)
        if isinstance(result, Sent):
            move = replace(move, ack=1, sent_at=result.timestamp)
        else:
            ack = 0 if isinstance(result, UnacknowledgedError) else None
            move = replace(move, ack=ack, error=result.message)
        if state is State.ACCEPTED:
            self._journal.move(move)
            ticket.begun.clear()
            ticket.rests_until = asyncio.get_running_loop().time() + _rest(result)
            return False
        if outcome is Outcome.NOT_LEFT:
            # before the reply: who is told so may send it again, and no crash must send both
            with contextlib.suppress(TimeoutError, WaguardError):
                await asyncio.wait_for(asyncio.shield(self._unkeep(move)), KEEPING)
        elif ticket.is_awaited:
            ticket.owed = move
        else:
            self._journal.move(move)
        ticket.settle(result)
        self._tell_later(ticket)
        if state is State.UNCERTAIN:
            self._watch(ticket)
        return True

    async def _let_it_queue(self, ticket: PendingSend) -> bool:
        """A first contact that may wait does so while those pause, once that is kept; whether it does."""
        if ticket.queued or self._closing:
            return False
        try:
            self._require_places(1)
            move = StateUpdate(id=ticket.id, state=State.ACCEPTED, queued=True)
            await asyncio.wait_for(self._journal.keep(move), KEEPING)
        except (WaguardError, TimeoutError):
            return False
        ticket.queued, ticket.expires_at = True, None
        ticket.begun.clear()
        ticket.waits.set_result(None)
        return True

    # ---- what was not answered ----

    def _watch(self, ticket: PendingSend) -> None:
        self._watched[ticket.session_id, ticket.message_id] = ticket
        if len(self._watched) > WATCHED_AT_MOST:  # the row of the oldest moves all the same
            del self._watched[next(iter(self._watched))]
        self._look_ups.add(ticket)

    def _on_look(self, ticket: PendingSend, ack: int | None) -> bool:
        """Whether no further look is needed."""
        if ticket.done.done() and (ticket.session_id, ticket.message_id) not in self._watched:
            return True  # an ack came meanwhile
        state = after_look(ack)
        if state is not State.UNCERTAIN:
            self._journal.move(StateUpdate(id=ticket.id, state=state, ack=ack, tells=ticket.name))
            self._settle_late(ticket, state)
            return True
        if not ticket.done.done():
            self._journal.move(StateUpdate(id=ticket.id, state=state, error=UNCERTAIN))
            ticket.settle(UncertainError(UNCERTAIN, value=ticket.message_id))
        return False

    def _on_ack(self, received: InboxRecord) -> None:
        """The journal has moved its row already."""
        told = received.told[0].data
        ticket = self._watched.get((received.session_id, told["message_id"]))
        if ticket and (state := by_ack(told["ack_level"] - 1)):
            self._settle_late(ticket, state)

    def _settle_late(self, ticket: PendingSend, state: State) -> None:
        self._watched.pop((ticket.session_id, ticket.message_id), None)
        logger.info(
            "the outcome of a message is known now",
            event="message_resolved",
            session=ticket.session_id,
            id=ticket.id,
            state=str(state),
        )
        if state not in AT_SERVER:
            ticket.settle(RefusedError("WhatsApp refused the message"))
            return
        at = int(self._wall())
        ticket.settle(Sent(outcome="sent", message_id=ticket.message_id, timestamp=at))
        self._tell_later(ticket)

    # ---- what the application hears beside the replies ----

    def _tell_later(self, ticket: PendingSend) -> None:
        """Once nobody can ask for its reply any more; until then the reply comes first."""
        no_reply_comes = not (ticket.told or ticket.replies or ticket.bulk_id)
        if ticket.id and ticket.tells and no_reply_comes:
            self._tell_after(self._grace, ticket.id, ticket.tells)

    @property
    def _grace(self) -> float:
        return self._config().send.reply_grace

    def _tell_after(self, delay: float, number: int, name: tuple[str, str]) -> None:
        # it may come from before the clock was set back
        when = self._monotonic() + min(delay, self._grace)
        self._graces.at(when, lambda: self._tell(number, name))

    def _tell(self, number: int, name: tuple[str, str]) -> None:
        self._journal.move(StateUpdate(id=number, tells=name, due=True))

    def _on_told(self, received: InboxRecord) -> None:
        """The webhooks are queued already."""
        for told in received.told:
            self._publish(
                told.event, received.session_id, received.workspace_id, told.data, stored=True
            )

    def _task(self, work: Coroutine[Any, Any, Any], among: "set[asyncio.Task[Any]]") -> None:
        task = asyncio.create_task(work, name="outbox")
        among.add(task)
        task.add_done_callback(among.discard)
        task.add_done_callback(_say_bug)


def _say_bug(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.opt(exception=error).critical("a bug in waguard", event="bug", task=task.get_name())


async def _ended(tasks: "set[asyncio.Task[Any]]", grace: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=grace)


def _draft(ticket: PendingSend, state: State, content: bytes | None = None) -> NewMessage:
    assert ticket.command  # noqa: S101 - it has just come
    return NewMessage(
        session_id=ticket.session_id,
        workspace_id=ticket.workspace_id,
        chat=ticket.chat,
        kind=ticket.kind,
        body=body_of(ticket.command),
        content=content,
        message_id=ticket.message_id,
        state=state,
        fingerprint=ticket.fingerprint,
        key=ticket.key,
        queued=ticket.queued,
        send_at=ticket.send_at,
        expires_at=ticket.expires_at,
        bulk_id=ticket.bulk_id,
        phone=ticket.phone,
    )


def _failed(ticket: PendingSend, why: str) -> StateUpdate:
    return StateUpdate(id=ticket.id, state=State.FAILED, error=why, tells=ticket.name)


def _sent(outcome: Sent | Value, message_id: str) -> Sent | WaguardError:
    match outcome:
        case Sent(outcome="sent"):
            return outcome
        case Sent(outcome="refused", error=error):
            return RefusedError(error or "WhatsApp refused the message")
        case _:
            return UncertainError(UNCERTAIN, value=message_id)


def _outcome(result: Sent | WaguardError) -> Outcome:
    match result:
        case Sent():
            return Outcome.SENT
        case RefusedError():
            return Outcome.REFUSED
        case UncertainError():
            return Outcome.UNCERTAIN
        case _:
            return Outcome.NOT_LEFT


def _is_held(result: Sent | WaguardError) -> bool:
    """Whether it has not left because it is a first contact: its number alone is to blame."""
    return isinstance(result, UnavailableError) and result.field == "recipient_phone"


def _rest(result: Sent | WaguardError) -> float:
    """Seconds in which it is not tried again; as long as first contacts pause, it is not anyway."""
    if isinstance(result, UnavailableError) and _is_held(result):
        return min(float(result.retry_after or 0), REST_AT_MOST)
    return 0.0


def _stopping() -> UnavailableError:
    return UnavailableError("waguard is stopping", retry_after=10)


def _too_large(size: int, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the file has {size} bytes, and the database takes {most}",
        field="media",
        remedy="raise the database's max_allowed_packet",
    )
