"""Until when a worker may live: the kernel ends it then, by the signal of any kill."""

import signal

from waguard.core.exits import EXIT_LEASE_EXPIRED
from waguard.host.clock import since_boot
from waguard.supervision.heartbeats import WorkerSlot
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.worker_link import WorkerLink


class LentTime:
    """What was sent to one session's worker, in seconds by CLOCK_BOOTTIME; None: nothing. A worker that was not heard since
    may not know it: a host without time renews its lease late, and its workers are late to hear of it."""

    def __init__(self, ctx: SessionContext, slot: WorkerSlot) -> None:
        self._ctx = ctx
        self._slot = slot
        self._before: float | None = None
        """What was sent before."""
        self._sent: float | None = None
        self._sent_at = 0.0

    def begin(self) -> float | None:
        """What a worker is lent that starts now, or is adopted."""
        self._before = self._sent = until = self._ctx.lent_until()
        return until

    def lend(self, pid: int, link: WorkerLink) -> None:
        """Have it live until what is lent now; by a message where it has not read what was lent before."""
        self._before = self._known()
        self._sent_at = self._ctx.clock.monotonic()
        self._sent = until = self._ctx.lent_until()
        if not self._slot.lend(pid, until):
            link.lend(until)

    def _known(self) -> float | None:
        return self._sent if self._slot.heard_at > self._sent_at else self._before

    def exit_code(self, code: int | None) -> int | None:
        """The code of its end, or that of the lease where that is what ended it."""
        ends = (self._known(), self._ctx.lent_until())
        over = any(until is not None and until <= since_boot() for until in ends)
        return EXIT_LEASE_EXPIRED if over and code == -signal.SIGKILL else code
