"""From a request to a message that is kept: that goes at once, or waits.

A message is kept before its command leaves. What may go at once is kept as "sending", which is one
commit; where the commit seemed to fail, nothing is sent.
"""

import contextlib
from collections.abc import Sequence

from waguard.core import remedies
from waguard.core.messages.repetitions import REPEATED_FOR, Earlier
from waguard.core.messages.send_states import State
from waguard.core.restored import KIND, WAITS
from waguard.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.commands import Command, body_of, command_of, replaces
from waguard.messaging.outbox.completion import Completion
from waguard.messaging.outbox.dispatcher import Dispatcher
from waguard.messaging.outbox.pending_sends import (
    Options,
    PendingSend,
    PendingSends,
    apply_row,
    new_pending_send,
)
from waguard.messaging.outbox.repetitions import repeats
from waguard.messaging.outbox.send_context import SendContext, stopping
from waguard.messaging.outbox.transmission import Transmission
from waguard.ports.outbox import NewMessage, Outgoing, StateUpdate, Withdrawal
from waguard.ports.outcomes import NotSent, Uncertain
from waguard.wire.calls import SendContent, SendMedia


class Acceptance:
    """``sends`` are the messages that a request could be about."""

    def __init__(
        self,
        ctx: SendContext,
        sends: PendingSends,
        dispatcher: Dispatcher,
        completion: Completion,
        transmission: Transmission,
    ) -> None:
        self._ctx = ctx
        self._sends = sends
        self._dispatcher = dispatcher
        self._completion = completion
        self._transmission = transmission
        self._largest: int | None = None

    async def begin(self) -> None:
        """Raises ``DatabaseUnavailableError``."""
        self._largest = await self._ctx.store.largest_body()

    async def accept(self, pending: PendingSend, command: Command, options: Options) -> None:
        """Keep it, and send it or let it wait; ``pending.stored`` and ``.done`` say what came of it."""
        with self._ctx.accepted.on_its_way(pending):
            await self._keep_and_begin(pending, command, options)
        # one that a request waits for may fail, and one for later leaves those before it their time
        certain = pending.queued and options.send_at is None
        if isinstance(command, SendContent) and command.target and certain:
            await self._cancel_replaced(pending, command.target)

    async def accept_all(
        self, session_id: str, workspace_id: int, messages: Sequence[tuple[Command, Options]]
    ) -> None:
        """As ``Outbox.keep_all``."""
        dispatcher, journal = self._dispatcher, self._ctx.journal
        sends = [new_pending_send(session_id, workspace_id, *message) for message in messages]
        phone = await self._transmission.number(session_id)
        for pending in sends:
            pending.phone, pending.seen = phone, self._epoch_seen(session_id)
            await self._dispatcher.find_chat_key(pending)
        new = [
            _new_message(pending, command, State.ACCEPTED)
            for pending, (command, _) in zip(sends, messages, strict=True)
        ]
        queues = dispatcher.queues(session_id)
        try:
            with contextlib.ExitStack() as coming:
                for pending in sends:
                    coming.enter_context(self._ctx.accepted.on_its_way(pending))
                    if pending.send_at is None:
                        coming.enter_context(queues.coming(pending))
                numbers = await journal.keep_all(new)
        except BaseException:
            for pending in sends:
                self._ctx.not_sent.withdraw(Withdrawal(pending.message_id, pending.seen))
            raise
        for pending, pending.id in zip(sends, numbers, strict=True):
            pending.stored.set_result(pending.id)
            if self._is_left(pending, under_way=False):
                continue
            if pending.abandoned:
                self._ctx.sending.start(self._completion.end(pending, NotSent(pending.abandoned)))
            else:
                dispatcher.add(pending)

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """As ``Outbox.find_key``."""
        await self._require_written()
        return await self._ctx.store.find_key(session_id, key)

    async def _keep_and_begin(
        self, pending: PendingSend, command: Command, options: Options
    ) -> None:
        dispatcher = self._dispatcher
        try:
            if await self._was_kept(pending):
                return
            if options.fetch:
                command = await options.fetch()
                pending.set_command(command)
            pending.phone = await self._transmission.number(pending.session_id)
            await self._dispatcher.find_chat_key(pending)
            direct = await self._keep(pending, command, options)
        except WaguardError as error:
            self._reject(pending, error)
            return
        except BaseException as error:
            self._reject(pending, error if isinstance(error, Exception) else stopping())
            raise
        if self._is_left(pending, under_way=direct):
            return
        if direct:
            await dispatcher.send_now(pending)
            return
        if self._ctx.accepted.closing and pending.is_awaited:
            pending.abandoned = pending.abandoned or stopping()
        if pending.abandoned:
            await self._completion.end(pending, NotSent(pending.abandoned))
            return
        dispatcher.add(pending)
        if not pending.queued:
            self._ctx.waiting.start(dispatcher.limit_wait(pending))

    def _is_left(self, pending: PendingSend, *, under_way: bool) -> bool:
        """Whether a message that is kept is for another host: that which owns its session, or will. One that is kept as
        "sending" goes while its session leaves: a release awaits it, and the next owner would not send it."""
        own, session_id = self._ctx.own, pending.session_id
        ours = session_id in own or (under_way and own.is_leaving(session_id))
        if ours and not pending.lost:
            return False
        self._sends.lose(pending, under_way=under_way)
        return True

    async def _cancel_replaced(self, pending: PendingSend, target: str) -> None:
        """Cancel older actions that have not begun, and that this one makes needless. Where the database is away
        they go in their order, and the newest counts all the same."""
        for older in self._ctx.accepted.waiting(pending.session_id):
            same = older.is_action and older.chat_key == pending.chat_key
            if not same or older.id >= pending.id or older.is_awaited:
                continue
            with contextlib.suppress(WaguardError):
                kept = await self._ctx.store.load(older.id)
                if kept and replaces(pending.kind, target, command_of(*kept)):
                    await self.cancel(older.id)

    async def cancel(self, number: int) -> bool:
        """Whether it had not begun, and is cancelled."""
        if not await self._ctx.journal.keep(StateUpdate(id=number, state=State.CANCELLED)):
            return False
        self._dispatcher.cancel(number)
        return True

    async def _require_written(self) -> None:
        if not await self._ctx.not_sent.written(self._ctx.timings.keeping):
            raise UnavailableError("the database does not know yet what failed", retry_after=1)

    def _knows_all(self, session_id: str) -> bool:
        """Whether memory has all of a session that may be repeated: its owner's has, once it is acquired."""
        own = self._ctx.own
        return session_id in own and not own.is_coming(session_id)

    async def _earlier(self, pending: PendingSend) -> Outgoing | None:
        """The kept message with its key; without one that with its content, where another host may have accepted it."""
        if pending.key is not None:
            return await self.find_key(pending.session_id, pending.key)
        if self._knows_all(pending.session_id):
            return None
        await self._require_written()
        await self._ctx.journal.caught_up()  # with what was answered here
        since = self._ctx.ages.ago(REPEATED_FOR)
        return await self._ctx.store.find_unanswered(pending.fingerprint, since=since)

    async def _was_kept(self, pending: PendingSend) -> bool:
        """Whether it is a message that was kept before; what never left has a second chance."""
        is_owners = self._knows_all(pending.session_id)
        row = await self._earlier(pending)
        if row is None:
            return False
        earlier = Earlier(
            fingerprint=row.fingerprint,
            may_have_happened=row.state is not State.FAILED,
            age=self._ctx.ages.age(row.created_at),
        )
        if not repeats(pending.fingerprint, earlier):
            return False
        apply_row(pending, row)
        if (
            row.state is State.ACCEPTED
        ):  # another one sends it, and knows how it ends: the next request asks the row
            self._sends.drop(pending)
        if row.state is State.SENDING:  # memory has forgotten it a moment too early
            pending.resolve(Uncertain())
        if not (is_owners and self._knows_all(pending.session_id)):
            # the row is the owner's, or is adopted here by itself; the next request asks it again
            self._sends.lose(pending, under_way=False)
            self._sends.drop(pending)
        return True

    async def _keep(self, pending: PendingSend, command: Command, options: Options) -> bool:
        """Keep it; whether it may go at once, and is kept so."""
        content = (isinstance(command, SendMedia) and command.content) or None
        await self._require_taken(len(content or b""))
        ready = options.send_at is None and await self._is_ready(pending, options)
        pending.seen = self._epoch_seen(pending.session_id)
        queues = self._dispatcher.queues(pending.session_id)
        direct = ready and pending.session_id in self._ctx.own and queues.reserve(pending)
        if not pending.queued:
            pending.expires_at = self._ctx.clock.wall() + REPEATED_FOR
        # what a request waits for goes now or never: no need to write a large file first
        kept = None if direct and not (pending.queued or pending.may_queue) else content
        new = _new_message(pending, command, State.SENDING if direct else State.ACCEPTED, kept)
        try:
            with contextlib.nullcontext() if direct else queues.coming(pending):
                pending.id = await self._ctx.journal.keep(new)
        except BaseException:
            if direct:
                queues.release(pending)
            self._ctx.not_sent.withdraw(Withdrawal(pending.message_id, pending.seen))
            raise
        if direct:
            pending.begun.set()
        # memory is for those that go now
        pending.command = command if direct or not (pending.queued or content) else None
        pending.stored.set_result(pending.id)
        return direct

    async def _require_taken(self, size: int) -> None:
        """Raises ``InvalidInputError`` where the database takes no file of so many bytes."""
        if self._largest and size > self._largest:
            await self.begin()  # its server may have been given more meanwhile
            if self._largest and size > self._largest:
                raise _too_large(size, self._largest)

    def _epoch_seen(self, session_id: str) -> int | None:
        """As ``NewMessage.seen``. Raises ``NotOwnedError`` where another host owns the session."""
        own = self._ctx.own
        if session_id in own or own.is_leaving(session_id):
            return None
        if (seen := self._ctx.epoch_seen(session_id)) is None:
            own.require(session_id)
        return seen

    async def _is_ready(self, pending: PendingSend, options: Options) -> bool:
        """Raises where it is not, and nothing is to wait for it."""
        try:
            if self._ctx.group_waits(pending.session_id, pending.chat_key):
                raise ConflictError(WAITS, remedy=remedies.FLEET[KIND])
            self._ctx.own.require(pending.session_id)
            await self._ctx.sessions.ready(pending.session_id, wait=0)
        except NotFoundError:
            raise
        except WaguardError as error:
            if options.queue:
                self._ctx.accepted.require_places(1)
                pending.queued = True
            in_vain = isinstance(error, ConflictError) or not self._ctx.config().send.wait
            in_vain |= pending.session_id not in self._ctx.own
            if in_vain and not pending.queued:
                raise
            return False
        return True

    def _reject(self, pending: PendingSend, error: Exception) -> None:
        """Nothing was kept, and nothing is sent."""
        self._sends.drop(pending)
        if not pending.stored.done():
            pending.stored.set_exception(error)
        if pending.done.done():
            return
        if isinstance(error, WaguardError):
            pending.resolve(NotSent(error))
        else:
            pending.done.set_exception(error)


def _new_message(
    pending: PendingSend, command: Command, state: State, content: bytes | None = None
) -> NewMessage:
    return NewMessage(
        session_id=pending.session_id,
        workspace_id=pending.workspace_id,
        chat=pending.chat,
        kind=pending.kind,
        body=body_of(command),
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
        seen=pending.seen,
    )


def _too_large(size: int, most: int) -> InvalidInputError:
    return InvalidInputError(
        f"the file has {size} bytes, and the database takes {most}",
        field="media",
        remedy="raise the database's max_allowed_packet",
    )
