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
    after_poll,
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
from waguard.messaging.announcer import CommitListener
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
    new_pending_send,
    of_row,
    result_of,
    take_over,
)
from waguard.messaging.rate_limiter import RateLimiter
from waguard.messaging.timers import Timers
from waguard.messaging.timings import SEND, SendTimings
from waguard.ports.clock import Ages, Clock, WallAges
from waguard.ports.messages import NewMessage, OutboxStore, Outgoing, StateUpdate, Withdrawal
from waguard.ports.sessions import Sessions
from waguard.wire.protocol import SendMedia, Sent, Value

UNCERTAIN_FOR: Final = 86_400.0  # s; how old a message may be that a new daemon looks up
WATCHED_AT_MOST: Final = 1_000
AT_ONCE: Final = 500  # messages that fail in one transaction
WAITING_AT_MOST: Final = 50_000  # messages; a waiting one takes about 2 kB of memory
HOUR: Final = 3_600.0  # s


class Outbox:
    """Sends through ``sessions``, keeps by ``journal``. ``config`` is read at each send;
    ``require_room`` raises ``WaguardError`` while nothing new may begin."""

    def __init__(  # noqa: PLR0913 - the seams, as a port each
        self,
        sessions: Sessions,
        store: OutboxStore,
        journal: Journal,
        config: Callable[[], Config],
        clock: Clock,
        *,
        require_room: Callable[[], None] = lambda: None,
        ages: Ages | None = None,
        timings: SendTimings = SEND,
    ) -> None:
        self._timings = timings
        self._sessions = sessions
        self._store = store
        self._journal = journal
        self._config = config
        self._require_room = require_room
        self._wall = clock.wall
        self._monotonic = clock.monotonic
        self._ages = ages or WallAges(clock.wall)
        self._sends = PendingSends(clock.monotonic)
        self._queues: dict[str, ChatQueues] = {}
        self._waiting: dict[int, PendingSend] = {}
        """Accepted, by id."""
        self._watched: dict[tuple[str, str], PendingSend] = {}
        """Those whose answer was lost, by session and WhatsApp's id."""
        self._going: set[PendingSend] = set()
        """Being kept, or sent."""
        self._unkept: set[asyncio.Future[tuple[int, ...]]] = set()
        """What was not sent, while its row may still say something else."""
        self._poller = OutcomePoller(sessions, self._on_poll, journal.people, timings)
        self._rate_limiter = RateLimiter(lambda: config().send, clock=clock.monotonic)
        self._timers = Timers(clock.wall)
        self._graces = Timers(clock.monotonic)
        self._sending: set[asyncio.Task[Any]] = set()
        self._hoping: set[asyncio.Task[Any]] = set()
        self._largest: int | None = None
        self._begun = False
        self._closing = False
        journal.subscribe(CommitListener(acked=self._on_ack))

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
        untold = await self._store.unreported(since=self._ages.ago(UNCERTAIN_FOR))
        for row in left:
            await self._resume(row)
        for row in untold:
            done = bool(row.answered or row.bulk_id)
            delay = 0.0 if done else self._grace - self._ages.age(row.created_at)
            self._report_after(delay, row.id, (row.session_id, row.message_id))
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
        waiting = [(queues, it) for queues in self._queues.values() for it in queues.waiting()]
        told = [it for queues, it in waiting if it.is_awaited and queues.remove(it)]
        await asyncio.gather(*(self._end(pending, _stopping()) for pending in told))
        await asyncio.gather(
            _ended(self._sending, grace), *(queues.close(grace) for queues in self._queues.values())
        )
        for task in self._sending:
            task.cancel()
        await self._poller.close()

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
        pending = new_pending_send(session_id, workspace_id, command, options)
        if known := self._sends.same(pending):
            known.replies += 1
            if known.replies == 1 and known.id in self._waiting and not known.queued:
                self._task(self._be_patient(known), self._hoping)  # an earlier run's had nobody
            return known
        self._check_open()  # not for a repetition: "not sent" would be wrong of it
        self._require_room()
        self._require_place(pending)
        pending.replies = 1
        self._sends.add(pending)
        self._task(self._go(pending, options), self._sending)
        return pending

    def _require_place(self, pending: PendingSend) -> None:
        if pending.queued:
            self._require_places(1)
            return
        most = self._config().limits.sends_in_flight
        if self._sends.under_way(pending.session_id) >= most:
            raise TooManyError(
                f"{most} sends of this session are under way",
                field="session_id",
                value=pending.session_id,
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
        sends = [new_pending_send(session_id, workspace_id, *message) for message in messages]
        phone = await self._number(session_id)
        for pending in sends:
            pending.phone = phone
            await self._find_chat_key(pending)
        drafts = [_draft(pending, State.ACCEPTED) for pending in sends]
        queues = self._queues_of(session_id)
        try:
            with contextlib.ExitStack() as coming:
                for pending in sends:
                    coming.enter_context(self._on_its_way(pending))
                    if pending.send_at is None:
                        coming.enter_context(queues.coming(pending.chat_key))
                numbers = await self._journal.keep_all(drafts)
        except BaseException:
            for pending in sends:
                self._unkeep(Withdrawal(pending.message_id))
            raise
        for pending, pending.id in zip(sends, numbers, strict=True):
            pending.command = None
            pending.stored.set_result(pending.id)
            if pending.abandoned:
                self._task(self._end(pending, pending.abandoned), self._sending)
            else:
                self._let_wait(pending)

    async def abandon(self, session_id: str, why: str) -> None:
        """Fail all messages of a session that have not begun; those that are on their way are not
        tried again.

        Raises ``UnavailableError`` where it is not known yet which there are, and
        ``DatabaseUnavailableError``: then some may still wait, and it may be asked again.
        """
        self._check_begun()
        error = ConflictError(why, remedy="send it as a new message")
        for pending in self._going:
            if pending.session_id == session_id:
                pending.abandoned = error
        left = [it for it in self._waiting.values() if it.session_id == session_id]
        left = [pending for pending in left if pending not in self._going]
        for pending in left:
            self._waiting.pop(pending.id)
            self._queues_of(session_id).remove(pending)
        try:
            while some := left[:AT_ONCE]:
                await self._journal.keep_all([_failed(pending, why) for pending in some])
                for pending in some:
                    pending.resolve(error)
                    self._report_later(pending)
                del left[:AT_ONCE]
        finally:
            for pending in left:
                self._let_wait(pending)

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """The message that has this key. Raises ``UnavailableError`` as long as the database does
        not know what was not sent: who repeats that must not be told that it is kept."""
        if self._unkept:
            _, late = await asyncio.wait(self._unkept, timeout=self._timings.keeping)
            if late:
                raise UnavailableError("the database does not know yet what failed", retry_after=1)
        return await self._store.find_key(session_id, key)

    def _unkeep(self, item: StateUpdate | Withdrawal) -> "asyncio.Future[tuple[int, ...]]":
        keeping = self._journal.update(item)
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

    async def result(self, pending: PendingSend) -> Sent | None:
        """Wait for the outcome; None: it is kept, and nobody waits for more. A caller that is
        cancelled does not cancel the message.

        Raises what ``ports.Sessions.call`` raises, ``DatabaseUnavailableError`` where it could not
        be kept and so was not sent, and ``UncertainError`` for all the rest.
        """
        await asyncio.shield(pending.stored)
        if pending.queued:
            return None
        settings, done = self._config().send, pending.done
        ends: set[asyncio.Future[Any]] = {done, pending.waits}
        try:
            async with asyncio.timeout(
                settings.wait + settings.timeout + self._timings.margin + self._timings.reply_margin
            ):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                return done.result() if done.done() else None
        except TimeoutError:  # it is not known that it has failed: then it is never "send again"
            raise UncertainError(UNCERTAIN, value=pending.message_id) from None

    def answered(self, pending: PendingSend) -> bool:
        """A reply was written; whether it was the first one for this message."""
        first = self._sends.answered(pending)
        pending.replies -= 1
        owed, pending.owed = pending.owed, None
        if pending.id and (first or owed):
            move = replace(
                owed or StateUpdate(id=pending.id), answered=True, reports=pending.reports
            )
            self._journal.update(move)
        return first

    def unanswered(self, pending: PendingSend) -> None:
        """The reply could not be written: the same request gets this result for a while."""
        pending.replies -= 1
        owed, pending.owed = pending.owed, None
        if owed:
            self._journal.update(owed)
        self._sends.unanswered(pending)
        self._report_later(pending)

    def owed(self) -> int:
        """Messages whose reply is still to be written, those that wait for a repetition included."""
        return len(self._sends)

    async def cancel(self, row: Outgoing) -> None:
        """Raises ``ConflictError`` where it has begun, or ended."""
        if not await self._journal.keep(StateUpdate(id=row.id, state=State.CANCELLED)):
            found = await self._store.find(row.id)
            raise ConflictError(
                f"it is {found.state if found else row.state}",
                remedy="only what is accepted can be cancelled",
            )
        if pending := self._waiting.pop(row.id, None):
            self._queues_of(pending.session_id).remove(pending)
            pending.resolve(ConflictError("it was cancelled", remedy="send it as a new message"))

    # ---- from the acceptance to the command ----

    async def _resume(self, row: Outgoing) -> None:
        pending = of_row(row)
        await self._find_chat_key(pending)
        if pending.key or not (row.answered or row.bulk_id):
            self._sends.add(pending, age=self._ages.age(row.created_at))
        match row.state:
            case State.ACCEPTED:
                self._let_wait(pending)
                if pending.expires_at is not None:
                    # a clock that was set back must not have it sent when nobody expects it any more
                    pending.expires_at = min(pending.expires_at, self._wall() + KEPT_FOR)
                    self._timers.at(pending.expires_at, lambda: self._expire(pending))
            case State.SENDING | State.UNCERTAIN:
                self._watch(pending)
            case _:
                pass

    @contextlib.contextmanager
    def _on_its_way(self, pending: PendingSend) -> Iterator[None]:
        self._going.add(pending)
        try:
            yield
        finally:
            self._going.discard(pending)

    async def _number(self, session_id: str) -> str | None:
        return number_of((await self._sessions.view(session_id)).phone_number)

    async def _go(self, pending: PendingSend, options: Options) -> None:
        with self._on_its_way(pending):
            await self._keep_and_begin(pending, options)

    async def _keep_and_begin(self, pending: PendingSend, options: Options) -> None:
        try:
            if pending.key is not None and await self._was_kept(pending, pending.key):
                return
            if options.fetch:
                pending.set_command(await options.fetch())
            pending.phone = await self._number(pending.session_id)
            await self._find_chat_key(pending)
            direct = await self._keep(pending, options)
        except WaguardError as error:
            self._reject(pending, error)
            return
        except BaseException as error:
            self._reject(pending, error if isinstance(error, Exception) else _stopping())
            raise
        if direct:
            await self._send_directly(pending)
            return
        if self._closing and pending.is_awaited:
            pending.abandoned = pending.abandoned or _stopping()
        if pending.abandoned:
            await self._end(pending, pending.abandoned)
            return
        self._let_wait(pending)
        if not pending.queued:
            self._task(self._be_patient(pending), self._hoping)

    async def _was_kept(self, pending: PendingSend, key: str) -> bool:
        """Whether it is the message that has this key; what never left has a second chance."""
        row = await self.find_key(pending.session_id, key)
        oldest = self._ages.ago(self._config().send.idempotency_hours * HOUR)
        if row is None or row.created_at < oldest or row.state is State.FAILED:
            return False
        if row.fingerprint != pending.fingerprint:
            raise KeyReusedError
        pending.command = None
        take_over(pending, row)
        if row.state is State.SENDING:  # memory has forgotten it a moment too early
            pending.resolve(UncertainError(UNCERTAIN, value=row.message_id))
        return True

    async def _keep(self, pending: PendingSend, options: Options) -> bool:
        """Keep it; whether it may go at once, and is kept so."""
        ready = options.send_at is None and await self._is_ready(pending, options)
        queues = self._queues_of(pending.session_id)
        direct = ready and queues.reserve(pending.chat_key)
        command = pending.command
        assert command  # noqa: S101 - it has just come
        content = command.content if isinstance(command, SendMedia) else None
        if content and (most := self._largest) and len(content) > most:
            if direct:
                queues.release(pending.chat_key)
            raise _too_large(len(content), most)
        if not pending.queued:
            pending.expires_at = self._wall() + KEPT_FOR
        # what a request waits for goes now or never: no need to write a large file first
        kept = None if direct and not (pending.queued or pending.may_queue) else content
        draft = _draft(pending, State.SENDING if direct else State.ACCEPTED, kept)
        try:
            with contextlib.nullcontext() if direct else queues.coming(pending.chat_key):
                pending.id = await self._journal.keep(draft)
        except BaseException:
            if direct:
                queues.release(pending.chat_key)
            self._unkeep(Withdrawal(pending.message_id))
            raise
        if direct:
            pending.begun.set()
        elif pending.queued or content:
            pending.command = None  # memory is for those that go now
        pending.stored.set_result(pending.id)
        return direct

    async def _is_ready(self, pending: PendingSend, options: Options) -> bool:
        """Raises where it is not, and nothing is to wait for it."""
        try:
            await self._sessions.ready(pending.session_id, wait=0)
        except NotFoundError:
            raise
        except WaguardError as error:
            if options.queue:
                self._require_places(1)
                pending.queued = True
            hopeless = isinstance(error, ConflictError) or not self._config().send.wait
            if hopeless and not pending.queued:
                raise
            return False
        return True

    def _reject(self, pending: PendingSend, error: Exception) -> None:
        """Nothing was kept, and nothing is sent."""
        self._sends.drop(pending)
        for future in (pending.stored, pending.done):
            if not future.done():
                future.set_exception(error)

    def _let_wait(self, pending: PendingSend) -> None:
        self._waiting[pending.id] = pending
        if pending.send_at is not None and pending.send_at > self._wall():
            self._timers.at(pending.send_at, lambda: self._queue(pending))
        else:
            self._queue(pending)

    def _queue(self, pending: PendingSend) -> None:
        if pending.id in self._waiting and not self._closing:
            self._queues_of(pending.session_id).add(pending)

    async def _be_patient(self, pending: PendingSend) -> None:
        """Give up when its session or its turn does not come in time: somebody waits for it."""
        wait = self._config().send.wait
        end = asyncio.get_running_loop().time() + wait
        error: WaguardError = UnavailableError(
            "earlier messages are still on their way", retry_after=5
        )
        try:
            await self._sessions.ready(pending.session_id, wait=wait)
            async with asyncio.timeout_at(end):
                await pending.begun.wait()
        except TimeoutError:
            pass
        except WaguardError as not_ready:
            error = not_ready
        if not pending.queued and self._queues_of(pending.session_id).remove(pending):
            self._task(self._end(pending, error), self._sending)  # a stop gives it its time

    def _expire(self, pending: PendingSend) -> None:
        """Whoever sent it has given up long ago."""
        if self._queues_of(pending.session_id).remove(pending):
            error = UnavailableError("its session was not connected in time")
            self._task(self._end(pending, error), self._sending)

    def _lose(self, pending: PendingSend, error: WaguardError) -> None:
        logger.warning(
            "a message is not sent: its session is gone",
            event="message_abandoned",
            session=pending.session_id,
            id=pending.id,
        )
        pending.abandoned = error
        self._task(self._end(pending, error), self._sending)

    def _queues_of(self, session_id: str) -> ChatQueues:
        if session_id not in self._queues:
            for name in [name for name, queues in self._queues.items() if queues.idle]:
                del self._queues[name]
            self._queues[session_id] = ChatQueues(
                lambda wait: self._sessions.ready(session_id, wait=wait, hoping=True),
                self._send_waiting,
                self._lose,
                functools.partial(self._rate_limiter.acquire, session_id),
                functools.partial(self._sessions.first_contacts_pause, session_id),
                timings=self._timings,
            )
        return self._queues[session_id]

    # ---- the command, and what comes of it ----

    async def _send_directly(self, pending: PendingSend) -> None:
        queues = self._queues_of(pending.session_id)
        try:
            if not await self._transmit(pending, wait=self._config().send.wait):
                self._let_wait(pending)
        finally:
            queues.release(pending.chat_key)

    async def _send_waiting(self, pending: PendingSend) -> bool:
        """It is its turn; whether it is done with."""
        with self._on_its_way(pending):
            return await self._begin_waiting(pending)

    async def _begin_waiting(self, pending: PendingSend) -> bool:
        if pending.expires_at is not None and pending.expires_at <= self._wall():
            return await self._end(pending, UnavailableError("its turn did not come in time"))
        try:
            if not await self._may_begin(pending):
                self._waiting.pop(pending.id, None)
                return True
        except WaguardError as error:
            # who is told so now must not have it sent later; and another number is no passing state
            if pending.is_awaited or pending.abandoned or isinstance(error, OtherNumberError):
                return await self._end(pending, error)
            pending.doubtful |= isinstance(error, DatabaseUnavailableError)
            return False
        del self._waiting[pending.id]
        pending.begun.set()
        if await self._transmit(pending, wait=0.0):
            return True
        self._waiting[pending.id] = pending
        return False

    async def _may_begin(self, pending: PendingSend) -> bool:
        """Keep that it begins; False: it was cancelled, or is gone. Raises ``OtherNumberError``."""
        if pending.command is None:
            kept = await self._store.load(pending.id)
            if kept is None:
                return False
            pending.command = command_of(*kept)
        number = await self._number(pending.session_id)
        if await self._journal.keep(StateUpdate(id=pending.id, state=State.SENDING, phone=number)):
            pending.phone = number or pending.phone
            return True
        row = await self._store.find(pending.id)
        if pending.doubtful and row is not None and row.state is State.SENDING:
            pending.phone = row.phone
            return True
        if row is not None and row.state is State.ACCEPTED:
            raise OtherNumberError(row.phone, number)
        pending.resolve(result_of(row) if row else NotFoundError("the message is gone"))
        return False

    async def _transmit(self, pending: PendingSend, *, wait: float) -> bool:
        """False: it certainly has not left, and is to wait again."""
        settings, command = self._config().send, pending.command
        assert command  # noqa: S101 - read before
        pending.command = None
        exists = await self._exists(pending) if settings.check_first_contact else True
        call = msgspec.structs.replace(
            command,
            message_id=pending.message_id,
            timeout=settings.timeout,
            first_contact_check=not exists,
            absent=exists is False,
            aliases=await self._aliases(pending, command.mentions),
        )
        try:
            async with asyncio.timeout(wait + settings.timeout + self._timings.margin):
                told = await self._sessions.call(
                    pending.session_id, call, wait=wait, phone=pending.phone
                )
            result: Sent | WaguardError = _sent(told, pending.message_id)
        except WaguardError as error:
            result = error
        except asyncio.CancelledError:  # waguard stops; the next run looks it up
            pending.resolve(UncertainError(UNCERTAIN, value=pending.message_id))
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the message may have left
            logger.bind(session=pending.session_id).exception("send ended in a bug", event="bug")
            result = UncertainError(UNCERTAIN, value=pending.message_id)
        return await self._end(pending, result)

    async def _find_chat_key(self, pending: PendingSend) -> None:
        """What goes to a person's number and to a LID of theirs is one chat, in one order."""
        with contextlib.suppress(WaguardError):  # without the database it is not kept either
            people = await self._journal.people(pending.session_id)
            pending.chat_key = people.number(pending.chat)

    async def _exists(self, pending: PendingSend) -> bool | None:
        """Whether its number is known to have WhatsApp; None: that has to be asked."""
        try:
            people = await self._journal.people(pending.session_id)
        except WaguardError:  # the database is away: then it is asked once more
            return None
        return people.exists(pending.chat, self._wall())

    async def _aliases(
        self, pending: PendingSend, people: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """By what other ids a group may know those whom it is to mention."""
        if not people or not pending.chat.endswith(GROUP):
            return {}
        with contextlib.suppress(WaguardError):  # without the database the page knows most of them
            return (await self._journal.people(pending.session_id)).others(people)
        return {}

    async def _end(self, pending: PendingSend, result: Sent | WaguardError) -> bool:
        """Keep how it ended; False: it did not, it waits again."""
        self._waiting.pop(pending.id, None)
        outcome = _outcome(result)
        if outcome is Outcome.NOT_LEFT and pending.abandoned:
            result = pending.abandoned
        final = pending.abandoned or isinstance(result, OtherNumberError)
        pending.held = _is_held(result)
        if pending.held and pending.may_queue and not final and await self._let_it_queue(pending):
            return False
        state = after_call(outcome, waits=pending.queued and not final)
        move = StateUpdate(id=pending.id, state=state, reports=pending.name)
        if isinstance(result, Sent):
            move = replace(move, ack=1, sent_at=result.timestamp)
        else:
            ack = 0 if isinstance(result, UnacknowledgedError) else None
            move = replace(move, ack=ack, error=result.message)
        if state is State.ACCEPTED:
            self._journal.update(move)
            pending.begun.clear()
            pending.rests_until = asyncio.get_running_loop().time() + self._rest(result)
            return False
        if outcome is Outcome.NOT_LEFT:
            # before the reply: who is told so may send it again, and no crash must send both
            with contextlib.suppress(TimeoutError, WaguardError):
                await asyncio.wait_for(asyncio.shield(self._unkeep(move)), self._timings.keeping)
        elif pending.is_awaited:
            pending.owed = move
        else:
            self._journal.update(move)
        pending.resolve(result)
        self._report_later(pending)
        if state is State.UNCERTAIN:
            self._watch(pending)
        return True

    async def _let_it_queue(self, pending: PendingSend) -> bool:
        """A first contact that may wait does so while those pause, once that is kept; whether it does."""
        if pending.queued or self._closing:
            return False
        try:
            self._require_places(1)
            move = StateUpdate(id=pending.id, state=State.ACCEPTED, queued=True)
            await asyncio.wait_for(self._journal.keep(move), self._timings.keeping)
        except (WaguardError, TimeoutError):
            return False
        pending.queued, pending.expires_at = True, None
        pending.begun.clear()
        pending.waits.set_result(None)
        return True

    def _rest(self, result: Sent | WaguardError) -> float:
        """Seconds in which it is not tried again; as long as first contacts pause, it is not anyway."""
        if isinstance(result, UnavailableError) and _is_held(result):
            return min(float(result.retry_after or 0), self._timings.longest_rest)
        return 0.0

    # ---- what was not answered ----

    def _watch(self, pending: PendingSend) -> None:
        self._watched[pending.session_id, pending.message_id] = pending
        if len(self._watched) > WATCHED_AT_MOST:  # the row of the oldest moves all the same
            del self._watched[next(iter(self._watched))]
        self._poller.add(pending)

    def _on_poll(self, pending: PendingSend, ack: int | None) -> bool:
        """Whether no further look is needed."""
        if pending.done.done() and (pending.session_id, pending.message_id) not in self._watched:
            return True  # an ack came meanwhile
        state = after_poll(ack)
        if state is not State.UNCERTAIN:
            self._journal.update(
                StateUpdate(id=pending.id, state=state, ack=ack, reports=pending.name)
            )
            self._resolve_late(pending, state)
            return True
        if not pending.done.done():
            self._journal.update(StateUpdate(id=pending.id, state=state, error=UNCERTAIN))
            pending.resolve(UncertainError(UNCERTAIN, value=pending.message_id))
        return False

    def _on_ack(self, received: InboxRecord) -> None:
        """The journal has moved its row already."""
        told = received.events[0].data
        pending = self._watched.get((received.session_id, told["message_id"]))
        if pending and (state := by_ack(told["ack_level"] - 1)):
            self._resolve_late(pending, state)

    def _resolve_late(self, pending: PendingSend, state: State) -> None:
        self._watched.pop((pending.session_id, pending.message_id), None)
        logger.info(
            "the outcome of a message is known now",
            event="message_resolved",
            session=pending.session_id,
            id=pending.id,
            state=str(state),
        )
        if state not in AT_SERVER:
            pending.resolve(RefusedError("WhatsApp refused the message"))
            return
        at = int(self._wall())
        pending.resolve(Sent(outcome="sent", message_id=pending.message_id, timestamp=at))
        self._report_later(pending)

    # ---- what the application hears beside the replies ----

    def _report_later(self, pending: PendingSend) -> None:
        """Once nobody can ask for its reply any more; until then the reply comes first."""
        no_reply_comes = not (pending.replied or pending.replies or pending.bulk_id)
        if pending.id and pending.reports and no_reply_comes:
            self._report_after(self._grace, pending.id, pending.reports)

    @property
    def _grace(self) -> float:
        return self._config().send.reply_grace

    def _report_after(self, delay: float, number: int, name: tuple[str, str]) -> None:
        # it may come from before the clock was set back
        when = self._monotonic() + min(delay, self._grace)
        self._graces.at(when, lambda: self._report(number, name))

    def _report(self, number: int, name: tuple[str, str]) -> None:
        self._journal.update(StateUpdate(id=number, reports=name, due=True))

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


def _draft(pending: PendingSend, state: State, content: bytes | None = None) -> NewMessage:
    assert pending.command  # noqa: S101 - it has just come
    return NewMessage(
        session_id=pending.session_id,
        workspace_id=pending.workspace_id,
        chat=pending.chat,
        kind=pending.kind,
        body=body_of(pending.command),
        content=content,
        message_id=pending.message_id,
        state=state,
        fingerprint=pending.fingerprint,
        key=pending.key,
        queued=pending.queued,
        send_at=pending.send_at,
        expires_at=pending.expires_at,
        bulk_id=pending.bulk_id,
        phone=pending.phone,
    )


def _failed(pending: PendingSend, why: str) -> StateUpdate:
    return StateUpdate(id=pending.id, state=State.FAILED, error=why, reports=pending.name)


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


def _stopping() -> UnavailableError:
    return UnavailableError("waguard is stopping", retry_after=10)


def _too_large(size: int, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the file has {size} bytes, and the database takes {most}",
        field="media",
        remedy="raise the database's max_allowed_packet",
    )
