"""What came in while nobody listened is reported by the worker, once after each load; so is what it had to drop. Receipts
are looked up behind that."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

from waguard.core.link import Link
from waguard.core.messages.backfill import DROPPED, deferral, with_owed
from waguard.core.messages.inbox import BACKFILL_LIMIT, backfill_since
from waguard.core.messages.people import People
from waguard.core.replace import replace
from waguard.core.session import views
from waguard.core.session.state import SessionState
from waguard.errors import WaguardError, one_line
from waguard.profile import owner_mark
from waguard.supervision.session.receipt_backfill import ReceiptBackfill
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import SessionProfile
from waguard.supervision.session.tasks import Begin
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire.calls import CatchUp
from waguard.wire.events import BackfillGap

DAY: Final = 86_400.0  # s


class Backfiller:
    """The backfill of one session, and what is owed to it. ``state`` and ``link`` are the newest, ``moved`` awaits its next
    change."""

    def __init__(
        self,
        ctx: SessionContext,
        profile: SessionProfile,
        *,
        state: Callable[[], SessionState],
        link: Callable[[], WorkerLink | None],
        begin: Begin,
        moved: Callable[[], Awaitable[None]],
        receipts: ReceiptBackfill,
    ) -> None:
        self._ctx = ctx
        self._receipts = receipts
        self._profile = profile
        self._state = state
        self._link = link
        self._begin = begin
        self._moved = moved
        self._running: tuple[int, int] | None = None
        self._ended: tuple[int, int, float] | None = None
        """The worker and the load of which what it missed was read, and when; of statuses later."""
        self._owed: dict[str, int] = {}
        """By chat, since when a worker has dropped messages; unix time. A worker that ended has forgotten it."""
        self._asked: dict[str, int] = {}
        """What the backfill that runs has been asked for of that, and what it could not read."""
        self._floor = 0
        """Unix time before which the last one was asked for nothing."""
        self._people = People()

    def start(self, worker: int, loads: int, *, soon: bool = False) -> None:
        """Have this worker report it, after this load; ``soon``: in a moment, in which more may be missed."""
        if self._running != (worker, loads):
            self._running, self._ended = (worker, loads), None
            self._begin(self._run(worker, loads, soon=soon), "backfill")

    def owe(self, gap: BackfillGap) -> None:
        """A worker dropped messages, or could not read them: have them read back, those that it dropped soon. What is under
        way, or begins with a load, reads them too."""
        if gap.since is None:
            return
        dropped = gap.why == DROPPED  # no backfill has tried that
        owed = self._owed if dropped else self._asked
        owed[gap.chat] = min(gap.since, owed.get(gap.chat, gap.since))
        worker = self._state().worker
        if dropped and self._running is None and worker:
            self.start(worker.number, worker.loads, soon=True)

    def paced(self, call: CatchUp) -> CatchUp:
        """The call as it may be read now, with what is owed."""
        fresh = True  # as long as that is unknown
        with contextlib.suppress(OSError):
            fresh = self._fresh_for() > 0
        return replace(self._and_owed(call), fresh=fresh)

    def _fresh_for(self) -> float:
        """Seconds; raises ``OSError`` where the pairing cannot be read now."""
        quiet = self._ctx.config().inbox.backfill_after_pairing
        return deferral(self._profile.paired_at, quiet=quiet, now=self._ctx.clock.wall())

    def ended_at(self, worker: int, loads: int) -> float | None:
        """Monotonic time at which that one had ended; None: it has not."""
        if self._ended is None or self._ended[:2] != (worker, loads):
            return None
        return self._ended[2]

    async def _run(self, worker: int, loads: int, *, soon: bool) -> None:
        asked, has_read, tried, logged = None, False, False, False
        pause, now = self._ctx.timings.backfill_retry, self._ctx.clock.monotonic
        if soon:
            await asyncio.sleep(pause)
        while self._running == (worker, loads) and self._is_number(worker):
            if (link := self._link()) is None or views.link(self._state()) is not Link.CONNECTED:
                await self._moved()
                continue
            try:
                # once: what comes meanwhile is newer than what is still to be backfilled
                asked = asked or await self._request()
                fresh_for = self._fresh_for()
                if fresh_for <= 0 or not has_read:  # by itself, so the session is no less idle
                    asked = self._and_owed(asked)
                    await link.call(replace(asked, fresh=fresh_for > 0))
                    has_read = True
                    self._record_read(worker, loads, link)
                if fresh_for <= 0:
                    self._asked.clear()  # all of it was read, but what never can be
                    if not self._owed:  # no more was dropped meanwhile
                        break
                    await asyncio.sleep(pause)
                    continue
                # on a whole second, as ticks: those of a burst wake the daemon together
                due = now() + min(fresh_for, self._ctx.timings.backfill_quiet)
                await asyncio.sleep(math.ceil(due) - now())
            except (WaguardError, OSError) as error:
                # a page that was reloaded meanwhile, or a worker that ended, is logged elsewhere
                level, tried = "WARNING" if tried else "DEBUG", True
                said = "messages are not backfilled; trying again"
                log = logger.bind(session=self._state().session)
                log.log(level, said, event="backfill_failed", why=one_line(error))
                await asyncio.sleep(pause)
            except Exception as error:  # noqa: BLE001 - else nothing more is read back of this worker
                logged = logged or self._log_bug(error)
                await asyncio.sleep(pause)
        if self._running == (worker, loads):
            self._running = None

    def _record_read(self, worker: int, loads: int, link: WorkerLink) -> None:
        if self._ended is None:
            self._ended = (worker, loads, self._ctx.clock.monotonic())
            self._begin(self._receipts.read(link, self._people), "receipts")

    async def _request(self) -> CatchUp:
        """From when on nobody may have listened. Raises ``WaguardError``, and ``OSError`` where the pairing cannot be read
        now."""
        session = self._state().session
        kept_for = self._ctx.config().retention.inbox_days * DAY
        oldest = self._ctx.ages.ago(min(kept_for, BACKFILL_LIMIT))
        newest = await self._ctx.inbox.newest(session, after=oldest)
        now = self._ctx.clock.wall()
        paired_at = owner_mark.paired_by(self._profile.at.profile, now)
        since, floor = backfill_since(newest, paired_at=paired_at, oldest=oldest, now=now)
        self._people = await self._ctx.inbox.people(session)
        self._floor = floor
        return self._and_owed(CatchUp(since=since, floor=floor))

    def _and_owed(self, asked: CatchUp) -> CatchUp:
        """With what workers owe since that was made, also from before its floor."""
        for chat, at in self._owed.items():
            self._asked[chat] = min(at, self._asked.get(chat, at))
        self._owed.clear()
        since = with_owed(asked.since, self._asked, self._floor, self._people)
        return replace(asked, since=since)

    def _log_bug(self, error: Exception) -> bool:
        log = logger.bind(session=self._state().session).opt(exception=error)
        log.critical("a bug in waguard", event="bug", task="backfill")
        return True

    def _is_number(self, worker: int) -> bool:
        it = self._state().worker
        return it is not None and it.number == worker
