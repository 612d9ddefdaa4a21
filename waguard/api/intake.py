"""The work for callers who have shown no key: a share of the CPU, in the order in which it came.

Who has shown one never comes by here. A turn does a little, then everything else that is ready has its own. The first
that waits goes on with each turn, whatever is owed: small whole requests, which never wait, could owe all there is.
Whoever hangs up while it waits is gone within ``PURGED_EVERY``: nothing of it is done any more.
"""

import asyncio
from typing import Final, Protocol

from waguard.api.timings import Limits
from waguard.core.host import cpu_share

TURN: Final = 0.002  # s of CPU in a turn
LONGEST: Final = 0.05  # s from a turn to the next, while somebody waits
PURGED_EVERY: Final = 0.5  # s


class Waiting(Protocol):
    """A connection that waits for its turn."""

    @property
    def has_hung_up(self) -> bool:
        """Whether nobody is there any more."""

    @property
    def slowness(self) -> float:
        """Seconds of CPU time that it has cost so far, for a byte."""

    def resume(self) -> None:
        """Go on; it charges what that costs."""


class Intake:
    """What one door takes of connections that have shown no key."""

    def __init__(self, limits: Limits) -> None:
        self._share = limits.keyless_cpu
        self._free = limits.keyless_cpu_free
        self._spent = cpu_share.NOTHING
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Waiting, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._purged_at = 0.0
        self._in_turn = 0.0

    @property
    def busy(self) -> bool:
        """Whether more has to wait."""
        return bool(self._waiting) or self._in_turn > TURN or self._wait() > 0

    def charge(self, cost: float) -> None:
        """So many seconds of CPU time were spent."""
        self._spent = cpu_share.charge(self._spent, cost, now=self._loop.time(), share=self._share)
        self._in_turn += cost
        if self._waiting or self._in_turn > TURN:  # else nobody would notice the turn's end
            self._continue()

    def queue(self, one: Waiting) -> None:
        """Resume it when there is time for it."""
        self._waiting[one] = None
        self._continue()

    def leave(self, one: Waiting) -> None:
        """Let one go: it waits no more."""
        self._waiting.pop(one, None)

    @property
    def slowest(self) -> Waiting | None:
        """The one that cost most for what it sent; None: nobody waits."""
        return max(self._waiting, key=lambda one: one.slowness, default=None)

    @property
    def waiting(self) -> list[Waiting]:
        """All of them, the next in turn first."""
        return list(self._waiting)

    def stop(self) -> None:
        """Nobody of those that wait is resumed any more; of requests under way somebody may still come."""
        self._waiting.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        self._in_turn = 0.0
        self._purge()
        is_first = True
        while self._waiting and (is_first or (self._in_turn <= TURN and not self._wait())):
            is_first = False
            one = next(iter(self._waiting))
            self.leave(one)
            one.resume()
        if self._waiting:
            self._continue()

    def _continue(self) -> None:
        if self._timer is None:  # the turn of all others comes before
            self._timer = self._loop.call_later(min(self._wait(), LONGEST), self._turn)

    def _purge(self) -> None:
        if self._loop.time() - self._purged_at < PURGED_EVERY:
            return
        self._purged_at = self._loop.time()
        for one in [one for one in self._waiting if one.has_hung_up]:
            self.leave(one)
            one.resume()  # and so it notices

    def _wait(self) -> float:
        now = self._loop.time()
        return cpu_share.wait(self._spent, now=now, share=self._share, free=self._free)
