"""Messages whose answer was lost, by a crash or otherwise: what became of them is found out.

WhatsApp has the truth: they are looked for in their chats, and a late ack says it too. None is sent
again for it.
"""

from collections.abc import Collection
from typing import Final

from loguru import logger

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import AT_SERVER, State, after_poll, by_ack
from waguard.errors import RefusedError
from waguard.messaging.outbox.outcome_poller import OutcomePoller
from waguard.messaging.outbox.outcome_reports import OutcomeReports
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.outbox.send_context import SendContext
from waguard.ports.outbox import Outgoing, StateUpdate
from waguard.ports.outcomes import UNCERTAIN, Acked, Refused, Uncertain

UNCERTAIN_FOR: Final = 86_400.0  # s; what became uncertain since then is looked for


class Recovery:
    """The recovery of one run; ``reports`` publish what is found out."""

    def __init__(self, ctx: SendContext, reports: OutcomeReports) -> None:
        self._ctx = ctx
        self._reports = reports
        self._watched: dict[tuple[str, str], PendingSend] = {}
        """By session and WhatsApp's id."""
        self._poller = OutcomePoller(ctx.sessions, self._on_poll, ctx.journal.people, ctx.timings)
        ctx.journal.announcer.on_ack.append(self._on_ack)

    async def read(self, sessions: Collection[str] | None = None) -> list[Outgoing]:
        """What an earlier run left, or another host of these ``sessions``; how those ended that it did not report is
        reported.

        Raises ``DatabaseUnavailableError``.
        """
        store, ages = self._ctx.store, self._ctx.ages
        since = ages.ago(UNCERTAIN_FOR)
        left = await store.unfinished(
            uncertain_since=since, answered_since=ages.ago(REPEATED_FOR), sessions=sessions
        )
        for row in await store.unreported(since=since, sessions=sessions):
            done = bool(row.answered or row.bulk_id)
            delay = 0.0 if done else self._reports.grace - ages.age(row.created_at)
            self._reports.after(delay, row.id, (row.session_id, row.message_id))
        return left

    async def close(self) -> None:
        """Poll no more."""
        await self._poller.close()

    async def lose(self, sessions: Collection[str]) -> None:
        """Find out no more what became of theirs: their next owner does."""
        self._watched = {
            name: it for name, it in self._watched.items() if it.session_id not in sessions
        }
        await self._poller.lose(sessions)

    def watch(self, pending: PendingSend) -> None:
        """Find out what became of it. An action leaves nothing in its chat that has its id."""
        if pending.lost:
            return
        if pending.is_action:
            self._on_poll(pending, None)
            return
        self._watched[pending.name] = pending
        if len(self._watched) > self._ctx.bounds.watched:  # the oldest one's row moves all the same
            del self._watched[next(iter(self._watched))]
        self._poller.add(pending)

    def _on_poll(self, pending: PendingSend, ack: int | None) -> bool:
        """Whether no further poll is needed."""
        if isinstance(pending.outcome, Acked | Refused):
            return True  # an ack came meanwhile
        state = after_poll(ack)
        if state is not State.UNCERTAIN:
            self._ctx.journal.update(
                StateUpdate(id=pending.id, state=state, ack=ack, reports=pending.name)
            )
            self._resolve(pending, state)
            return True
        if not pending.done.done():
            self._ctx.journal.update(StateUpdate(id=pending.id, state=state, error=UNCERTAIN))
            pending.resolve(Uncertain())
        return False

    def _on_ack(self, record: InboxRecord) -> None:
        """The journal has moved its row already."""
        data = record.events[0].data
        pending = self._watched.get((record.session_id, data["message_id"]))
        if pending and (state := by_ack(data["ack_level"] - 1)):
            self._resolve(pending, state)

    def _resolve(self, pending: PendingSend, state: State) -> None:
        self._watched.pop(pending.name, None)
        logger.info(
            "the outcome of a message is known now",
            event="message_resolved",
            session=pending.session_id,
            id=pending.id,
            state=str(state),
        )
        if state not in AT_SERVER:
            pending.resolve(Refused(RefusedError("WhatsApp refused the message")))
            return
        pending.resolve(Acked(pending.message_id, int(self._ctx.clock.wall())))
        self._reports.later(pending)
