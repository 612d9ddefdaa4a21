"""When it is published how a message ended: never before its reply, and in the end without one.

The application knows a message by its reply. So ``message_sent`` waits for that, or until nobody can
ask for it any more.
"""

from collections.abc import Collection

from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.messaging.outbox.send_context import SendContext
from waguard.messaging.timers import Timers
from waguard.ports.outbox import StateUpdate


class OutcomeReports:
    """Those that are still to come."""

    def __init__(self, ctx: SendContext) -> None:
        self._ctx = ctx
        self._timers = Timers(ctx.clock.monotonic)
        self._due: dict[int, tuple[str, str]] = {}
        """By the message's number."""

    def close(self) -> None:
        """Report nothing more; the next run does."""
        self._timers.close()

    def later(self, pending: PendingSend) -> None:
        """Report its end once nobody can ask for its reply any more, where no reply comes first."""
        no_reply_comes = not (pending.replied or pending.replies or pending.bulk_id)
        if pending.id and not pending.lost and pending.reports and no_reply_comes:
            self.after(self.grace, pending.id, pending.reports)

    @property
    def grace(self) -> float:
        """Seconds in which a reply may still come."""
        return self._ctx.config().send.reply_grace

    def after(self, delay: float, number: int, name: tuple[str, str]) -> None:
        """Report it after ``delay`` s."""
        # it may come from before the clock was set back
        when = self._ctx.clock.monotonic() + min(delay, self.grace)
        self._due[number] = name
        self._timers.at(when, lambda: self._report(number))

    def lose(self, sessions: Collection[str]) -> None:
        """Report nothing of these sessions: their next owner does."""
        for number in [it for it, name in self._due.items() if name[0] in sessions]:
            del self._due[number]

    def _report(self, number: int) -> None:
        if name := self._due.pop(number, None):
            self._ctx.journal.update(StateUpdate(id=number, reports=name, due=True))
