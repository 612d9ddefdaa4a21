"""How a message ended: kept, answered and reported; or it waits again, for it has not left."""

import asyncio
import contextlib

from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.errors import NotFoundError, OtherNumberError, WaguardError
from waguard.messaging.outbox.outcome_reports import OutcomeReports
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.outbox.recovery import Recovery
from waguard.messaging.outbox.send_context import SendContext
from waguard.ports.outbox import StateUpdate
from waguard.ports.outcomes import Acked, NotSent, Outcome, Uncertain, state_after


class Completion:
    """``recovery`` finds out what got no answer, ``reports`` publish how messages ended."""

    def __init__(self, ctx: SendContext, recovery: Recovery, reports: OutcomeReports) -> None:
        self._ctx = ctx
        self._recovery = recovery
        self._reports = reports

    async def end(self, pending: PendingSend, outcome: Outcome) -> bool:
        """Keep how it ended; False: it did not, it waits again. The next owner of a lost one finds out by itself."""
        if pending.lost:
            return True
        self._ctx.accepted.pop(pending.id)
        if isinstance(outcome, NotSent) and pending.abandoned:
            outcome = NotSent(pending.abandoned)
        final = pending.abandoned or _is_of_another_number(outcome)
        pending.held = isinstance(outcome, NotSent) and outcome.hold is not None
        if not final and _may_pass(outcome) and await self._let_it_queue(pending):
            return pending.lost
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

    async def fail(self, sends: list[PendingSend], error: WaguardError) -> None:
        """Keep in one transaction that these, which wait, are not sent. Raises
        ``DatabaseUnavailableError``: then none has ended."""
        why = error.message
        await self._ctx.journal.keep_all(
            [StateUpdate(id=it.id, state=State.FAILED, error=why, reports=it.name) for it in sends]
        )
        for pending in sends:
            pending.resolve(NotSent(error))
            self._reports.later(pending)

    async def _let_it_queue(self, pending: PendingSend) -> bool:
        """One that may wait does so instead of a refusal, once that is kept; whether it does."""
        accepted = self._ctx.accepted
        if not pending.may_queue or pending.queued or accepted.closing:
            return False
        try:
            accepted.require_places(1)
            update = StateUpdate(id=pending.id, state=State.ACCEPTED, queued=True)
            keeping = self._ctx.journal.keep(update)
            if not await asyncio.wait_for(keeping, self._ctx.timings.keeping):
                return False  # it was cancelled, or its session was logged out
        except (WaguardError, TimeoutError):
            return False
        pending.queued, pending.expires_at = True, None
        pending.begun.clear()
        if not pending.waits.done():
            pending.waits.set_result(None)
        return True

    def _rest(self, outcome: Outcome) -> float:
        """Seconds in which it is not tried again; as long as first contacts pause, it is not anyway."""
        match outcome:
            case NotSent(error, hold=str()):
                return min(float(error.retry_after or 0), self._ctx.timings.longest_rest)
            case _:
                return 0.0


def _update(pending: PendingSend, outcome: Outcome, state: State) -> StateUpdate:
    update = StateUpdate(id=pending.id, state=state, reports=pending.name)
    match outcome:
        case Acked(timestamp=at):
            return replace(update, ack=1, sent_at=at)
        case Uncertain(why, at_page=at_page):
            return replace(update, ack=0 if at_page else None, error=why)
        case it:
            return replace(update, error=it.error.message)


def _may_pass(outcome: Outcome) -> bool:
    return isinstance(outcome, NotSent) and not isinstance(outcome.error, NotFoundError)


def _is_of_another_number(outcome: Outcome) -> bool:
    return isinstance(outcome, NotSent) and isinstance(outcome.error, OtherNumberError)
