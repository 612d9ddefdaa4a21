"""Sends that survive any crash, and are never doubled.

A message is kept before its command leaves, with the id that it will have at WhatsApp
(``acceptance``); what may go at once is kept as "sending", which is one commit. What waits goes in
its chat's order (``dispatcher``). What became of it is kept after the reply, for WhatsApp has the
truth: after a crash a message that is "sending" is looked for in its chat by its id (``recovery``).
It is sent again only where the command certainly has not left.

A request waits for its message, or only for its keeping (``Options.later``). One that waits gives
up when its session or its turn does not come in time; then the message has failed, and the
repetition of the request is its second chance. Anything unexpected counts as uncertain, because
a 5xx would make the application send it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from waguard.config.sections import Config
from waguard.core.messages.transfers import transfer_time
from waguard.core.metrics.tally import Tally
from waguard.core.replace import replace
from waguard.errors import ConflictError, TooManyError, UnavailableError, WaguardError
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.acceptance import Acceptance
from waguard.messaging.outbox.accepted_sends import AcceptedSends
from waguard.messaging.outbox.adoption import Adoption
from waguard.messaging.outbox.commands import Command
from waguard.messaging.outbox.completion import Completion
from waguard.messaging.outbox.dispatcher import Dispatcher
from waguard.messaging.outbox.outcome_reports import OutcomeReports
from waguard.messaging.outbox.pending_sends import (
    Options,
    PendingSend,
    PendingSends,
    new_pending_send,
)
from waguard.messaging.outbox.recovery import Recovery
from waguard.messaging.outbox.send_context import (
    GroupWaits,
    NotSentWrites,
    SendContext,
    no_group_waits,
    stopping,
)
from waguard.messaging.outbox.transmission import Transmission
from waguard.messaging.own_sessions import OwnSessions
from waguard.messaging.timings import BOUNDS, SEND, SendBounds, SendTimings
from waguard.ports.clock import Ages, Clock, WallAges
from waguard.ports.outbox import OutboxStore, Outgoing, StateUpdate
from waguard.ports.outcomes import NotSent, Outcome, Uncertain
from waguard.ports.sessions import Sessions


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
        bounds: SendBounds = BOUNDS,
        tally: Tally | None = None,
        group_waits: GroupWaits = no_group_waits,
        file: Callable[[str], Path | None] = lambda _: None,
        bring: Callable[[str], Awaitable[None]] | None = None,
        epoch_seen: Callable[[str], int | None] | None = None,
    ) -> None:
        """``epoch_seen`` as ``SendContext``: then only messages of sessions that are acquired are sent; None: there is no
        cluster."""
        self._ctx = ctx = SendContext(
            sessions=sessions,
            store=store,
            journal=journal,
            config=config,
            clock=clock,
            ages=ages or WallAges(clock.wall),
            timings=timings,
            bounds=bounds,
            not_sent=NotSentWrites(journal, timings),
            accepted=AcceptedSends(bounds.waiting),
            tally=tally or Tally(),
            own=OwnSessions(every=epoch_seen is None),
            epoch_seen=epoch_seen or (lambda _: None),
            group_waits=group_waits,
            file=file,
            bring=bring,
        )
        self._require_room = require_room
        self._sends = PendingSends(clock.monotonic, kept_at_most=bounds.kept)
        self._reports = OutcomeReports(ctx)
        self._recovery = Recovery(ctx, self._reports)
        self._transmission = Transmission(ctx)
        completion = Completion(ctx, self._recovery, self._reports)
        self._dispatcher = Dispatcher(ctx, self._transmission, completion)
        self._acceptance = Acceptance(
            ctx, self._sends, self._dispatcher, completion, self._transmission
        )
        self._adoption = Adoption(ctx, self._sends, self._dispatcher, self._recovery, self._reports)
        self._begun = False

    # ---- the daemon's ----

    async def begin(self) -> None:
        """Go on with what an earlier run left; before it, nothing is accepted. In a cluster nothing is this host's
        yet.

        Raises ``DatabaseUnavailableError``; may be called again then.
        """
        if self._begun:
            return
        await self._acceptance.begin()
        if self._ctx.own.every:
            await self._adoption.begin()
        self._begun = True

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``; after ``begin``, and after the journal's."""
        await self._adoption.acquire(sessions)

    async def release(self, session_id: str) -> None:
        """See ``ports.cluster.OwnedSessions``; while the session still runs."""
        await self._adoption.release(session_id)

    async def lose(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``; before their workers are ended: how that fails is no answer to those who
        wait."""
        await self._adoption.lose(sessions)

    async def close(self, grace: float) -> None:
        """Begin nothing more; what is on its way has ``grace`` seconds. What waits is for the
        next run, but for those to whom a request still waits: it is answered that nothing was sent."""
        self._reports.close()
        await self._dispatcher.close(grace)
        await self._recovery.close()

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
            if known.replies == 1 and known in self._ctx.accepted and not known.queued:
                # an earlier run's had nobody
                self._ctx.waiting.start(self._dispatcher.limit_wait(known))
            return known
        self._check_open()  # not for a repetition: "not sent" would be wrong of it
        self._require_room()
        self._require_place(pending)
        pending.replies = 1
        self._sends.add(pending)
        self._ctx.sending.start(self._acceptance.accept(pending, command, options))
        return pending

    async def keep_all(
        self, session_id: str, workspace_id: int, messages: Sequence[tuple[Command, Options]]
    ) -> None:
        """Keep messages to which nobody waits, all or none; each is sent when it is due.

        Raises ``DatabaseUnavailableError``, and as ``accept``.
        """
        self._check_open()
        self._require_room()
        self._ctx.accepted.require_places(len(messages))
        await self._acceptance.accept_all(session_id, workspace_id, messages)

    async def abandon(self, session_id: str, why: str) -> None:
        """Fail all messages of a session that have not begun; those that are on their way are not
        tried again.

        Raises ``UnavailableError`` where it is not known yet which there are, and
        ``DatabaseUnavailableError``: then some may still wait, and it may be asked again.
        """
        self._check_begun()
        if session_id not in self._ctx.own or self._ctx.own.is_coming(session_id):
            raise UnavailableError("its messages are not known yet", retry_after=5)
        await self._dispatcher.abandon(session_id, why)

    async def find_key(self, session_id: str, key: str) -> Outgoing | None:
        """The message that has this key. Raises ``UnavailableError`` as long as the database does
        not know what was not sent: who repeats that must not hear that it is kept."""
        return await self._acceptance.find_key(session_id, key)

    async def result(self, pending: PendingSend) -> Outcome | None:
        """Wait for the outcome; None: it is kept, and nobody waits for more. A caller that is
        cancelled does not cancel the message."""
        try:
            await asyncio.shield(pending.stored)
        except WaguardError as error:
            return NotSent(error)
        if pending.queued:
            return None
        now, done = asyncio.get_running_loop().time, pending.done
        began, ends = now(), (done, pending.waits)
        # what an earlier run left has its size when its command is read
        while (left := began + self._longest(pending) - now()) > 0:
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done.done() or pending.waits.done():
                return done.result() if done.done() else None
        return Uncertain()  # it is not known that it has failed: then it is never "send again"

    def _longest(self, pending: PendingSend) -> float:
        settings, timings = self._ctx.config().send, self._ctx.timings
        own = settings.wait + settings.timeout + timings.margin + timings.reply_margin
        return own + transfer_time(pending.size)

    def answered(self, pending: PendingSend, *, direct: bool = False) -> bool:
        """A reply was written; whether it was the first one for this message. ``direct``: to a program
        that waited for it."""
        first = self._sends.answered(pending)
        pending.replies -= 1
        owed, pending.owed = pending.owed, None
        if pending.id and (first or owed):
            update = replace(owed or StateUpdate(id=pending.id), answered=True)
            if not pending.lost:  # else no more is this host's to write, but nobody else knows that
                direct = direct and not pending.queued
                update = replace(update, direct=direct, reports=pending.reports)
            self._ctx.journal.update(update)
        return first

    def unanswered(self, pending: PendingSend) -> None:
        """The reply could not be written: the same request gets this result for a while."""
        pending.replies -= 1
        owed, pending.owed = pending.owed, None
        if owed:
            self._ctx.journal.update(owed)
        self._sends.unanswered(pending)
        self._reports.later(pending)

    def owed(self) -> int:
        """Messages whose reply is still to be written, those that wait for a repetition included."""
        return len(self._sends)

    def waiting(self) -> int:
        """Messages that are accepted and not begun."""
        return len(self._ctx.accepted)

    async def cancel(self, row: Outgoing) -> None:
        """Raises ``ConflictError`` where it has begun, or ended."""
        if not await self._acceptance.cancel(row.id):
            found = await self._ctx.store.find(row.id)
            raise ConflictError(
                f"it is {found.state if found else row.state}",
                remedy="only what is accepted can be cancelled",
            )

    def _require_place(self, pending: PendingSend) -> None:
        if pending.queued:
            self._ctx.accepted.require_places(1)
            return
        most = self._ctx.config().limits.sends_in_flight
        if self._sends.under_way(pending.session_id) >= most:
            raise TooManyError(
                f"{most} sends of this session are under way",
                field="session_id",
                value=pending.session_id,
                remedy="wait for their replies; limits.sends_in_flight allows more",
                retry_after=1,
            )

    def _check_open(self) -> None:
        if self._ctx.accepted.closing:
            raise stopping()
        self._check_begun()

    def _check_begun(self) -> None:
        if not self._begun:
            raise UnavailableError("waguard does not know yet what is still to be sent")
