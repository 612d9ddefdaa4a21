"""Messages that somebody else left: an earlier run, or the host that owned their sessions before; and those that are left
to the next owner.

Rows are read as at a start: what was being sent is uncertain, and never sent again. What a session's owner cannot write
any more it leaves as it is. Then the row says at worst that it is being sent, and a repetition of the request joins it at
the next owner.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable

from loguru import logger

from waguard.core.messages.send_states import State
from waguard.errors import WaguardError
from waguard.messaging.outbox.dispatcher import Dispatcher
from waguard.messaging.outbox.outcome_reports import OutcomeReports
from waguard.messaging.outbox.pending_sends import PendingSend, PendingSends, of_row
from waguard.messaging.outbox.recovery import Recovery
from waguard.messaging.outbox.send_context import SendContext
from waguard.ports.outbox import Outgoing


class Adoption:
    """``acquire``, ``release`` and ``lose`` as ``ports.cluster.OwnedSessions`` has them."""

    def __init__(
        self,
        ctx: SendContext,
        sends: PendingSends,
        dispatcher: Dispatcher,
        recovery: Recovery,
        reports: OutcomeReports,
    ) -> None:
        self._ctx = ctx
        self._sends = sends
        self._dispatcher = dispatcher
        self._recovery = recovery
        self._reports = reports

    async def begin(self) -> None:
        """Go on with what an earlier run left. Raises ``DatabaseUnavailableError``."""
        left = await self._recovery.read()
        for pending, row in [(await self._pending(row), row) for row in left]:
            self._adopt(pending, row)
        _report("messages of an earlier run are resumed", left)

    async def acquire(self, sessions: Collection[str]) -> None:
        """Go on with what their owner before left. What was accepted here meanwhile waits behind it."""
        own = self._ctx.own
        own.expect(sessions)
        # what this host left in an earlier time as their owner may still wait for the database
        await self._ctx.journal.caught_up()
        left = await self._recovery.read(sessions)
        known = {it.message_id for it in self._of(sessions) if not it.lost}
        found = [(await self._pending(it), it) for it in left if it.message_id not in known]
        taken = [(pending, row) for pending, row in found if row.session_id in own]
        for pending, row in taken:
            self._adopt(pending, row)
        own.arrived(sessions)
        for session_id in sessions:
            self._dispatcher.wake(session_id)
        _report("messages of another host are resumed", [row for _, row in taken])

    async def release(self, session_id: str) -> None:
        """What is on its way is awaited as at an end in order. The rest stays accepted, and whoever waits for it is
        answered that it will be sent."""
        grace = self._ctx.timings.release
        self._ctx.own.leave(session_id)
        for pending in self._ctx.accepted.waiting(session_id):
            pending.lose(under_way=False)
        await asyncio.gather(
            self._dispatcher.lose(session_id, grace),
            self._ctx.accepted.none_going(session_id, grace),
        )
        # their replies are being written: the outcomes do not wait for that
        for owed in [it.owed for it in self._of((session_id,)) if it.owed]:
            self._ctx.journal.update(owed)
        with contextlib.suppress(WaguardError):  # else the next owner finds it uncertain
            await self._ctx.journal.caught_up()
        await self.lose((session_id,))

    async def lose(self, sessions: Collection[str]) -> None:
        """Nothing of theirs is sent or written from now on; in memory is what a repetition may still be about."""
        self._ctx.own.drop(sessions)
        accepted = self._ctx.accepted
        waiting = {it for session in sessions for it in accepted.waiting(session)}
        for pending in self._of(sessions):
            begun = pending not in waiting and not pending.lost
            self._sends.lose(pending, under_way=begun)
        for pending in waiting:
            accepted.pop(pending.id)
        self._reports.lose(sessions)
        await self._recovery.lose(sessions)
        await asyncio.gather(*(self._dispatcher.lose(session, 0.0) for session in sessions))

    def _of(self, sessions: Collection[str]) -> set[PendingSend]:
        """What is known of theirs in memory."""
        accepted = self._ctx.accepted
        found = set(self._sends.of(frozenset(sessions)))
        for session in sessions:
            found.update(accepted.waiting(session), accepted.going(session))
        return found

    async def _pending(self, row: Outgoing) -> PendingSend:
        pending = of_row(row)
        await self._dispatcher.find_chat_key(pending)
        return pending

    def _adopt(self, pending: PendingSend, row: Outgoing) -> None:
        if pending.key or not (row.answered or row.bulk_id):
            self._sends.add(pending, age=self._ctx.ages.age(row.created_at))
        match row.state:
            case State.ACCEPTED:
                self._dispatcher.adopt(pending, row.created_at)
            case State.SENDING | State.UNCERTAIN:
                self._recovery.watch(pending)
            case _:
                pass


def _report(said: str, left: Iterable[Outgoing]) -> None:
    unsent = [row for row in left if row.state in {State.ACCEPTED, State.SENDING}]
    if unsent:
        logger.info(said, event="messages_resumed", count=len(unsent))
