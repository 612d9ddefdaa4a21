"""The daemon's hold on its database's lease: taken at the start, renewed by ticks, released at the end.

While it is not held, or was not renewed in its time, nobody may use the database (``why_barred``), so
no row is written and no webhook is begun. What runs goes on meanwhile: a database that is away is no
reason to end a session.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

from waguard.core import lease
from waguard.core.incidents.folding import fleet_condition
from waguard.core.lease import Held, HeldElsewhere, Holder, Lease, Take, Terms, Wait, Watch
from waguard.core.replace import replace
from waguard.errors import InstanceHeldError, LeaseLostError, WaguardError, one_line
from waguard.host.clock import since_boot
from waguard.ports.store import LeaseStore
from waguard.supervision.outages import Outages

TICK: Final = 1.0  # s between two checks whether a renewal is due
POLL_INTERVAL: Final = 1.0  # s between two reads of a lease that another daemon holds
RENEWAL_DEADLINE: Final = 15.0  # s; a call of the store ends within that
RECOGNIZED_EVERY: Final = 30.0  # s; in between each renewal names whose database it is for
LEFT_BEHIND_SHOWN: Final = 86_400.0  # s; then it is an incident of the past
RELEASE_DEADLINE: Final = 2.0  # s; without an answer the next host waits until it has expired


async def _known() -> None:
    """Every database is ours."""


def _never() -> bool:
    """No cluster is a standby."""
    return False


class LeaseKeeper:
    """``terms`` are read at each use; ``clock`` counts seconds, also those of a suspend; ``lost`` is
    called once, with what to say at the end. ``recognized`` raises where another database has taken the place of
    ours: in that one the lease is not ours to renew, take or lose; ``marked`` is the name of the installation that it
    has recognized; empty: none. With ``standby`` a lease that is held is waited for,
    and what is held is lent to the workers; ``held`` is called at each renewal that counts. Where ``mine`` is a cluster
    its lease is joined: it lends nothing and fences no write, for the hosts' own leases and the epochs of sessions do
    that; ``here`` is this daemon then, whose place may have had the lease without the cluster."""

    def __init__(  # noqa: PLR0913 - what a lease depends on
        self,
        store: LeaseStore,
        mine: Holder,
        terms: Callable[[], Terms],
        outages: Outages,
        *,
        lost: Callable[[InstanceHeldError], None],
        recognized: Callable[[], Awaitable[None]] = _known,
        marked: Callable[[], str] = str,
        standby: Callable[[], bool] = lambda: False,
        held: Callable[[], None] = lambda: None,
        here: Holder | None = None,
        clock: Callable[[], float] = since_boot,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._mine = mine
        self._terms = terms
        self._outages = outages
        self._on_lost = lost
        self._recognized = recognized
        self._recognized_at = float("-inf")
        self._marked = marked
        self._standby: Callable[[], bool] = _never if mine.is_cluster else standby
        self._held = held
        self._here = here
        self._clock = clock
        self._pause = pause
        self._epoch: int | None = None
        self._renewed_at = 0.0
        """When the last renewal was begun; the database's lease began again at that time at the
        earliest."""
        self._granted = terms()
        """As it was renewed last."""
        self._failing = False
        self._read: tuple[Lease, float] | None = None
        """The lease of another daemon, as a standby read it last, and when."""
        self._left_behind_at: float | None = None
        """When the lease of a holder was taken that may have left messages behind."""
        self._renewal: asyncio.Task[None] | None = None
        self._begun_at = 0.0
        """When that was begun."""
        self._lost: str | None = None
        self.took_over = False
        """Whether another host had held it before."""

    def why_barred(self) -> str | None:
        """Why the database must not be used now; None: it may."""
        if self._lost is not None:
            return self._lost
        if self._epoch is None:
            waits = self._outages.why("lease_held") or self._outages.why("standby")
            return waits or "the database's lease is not taken yet"
        age = self._clock() - self._renewed_at
        if age < self._granted.lasts:
            return None
        return f"the database's lease was not renewed for {age:.0f} s: that comes first"

    @property
    def lent_until(self) -> float | None:
        """Until when workers may live, by ``clock``; None: forever."""
        if self._epoch is None or not self._standby():
            return None
        return lease.lent_until(self._renewed_at, self._granted)

    @property
    def standby(self) -> bool:
        """Whether another daemon may wait for the lease."""
        return self._standby()

    @property
    def held_elsewhere(self) -> HeldElsewhere | None:
        """The daemon that this one is the standby of; None: it waits for none."""
        if self._read is None:
            return None
        found, at = self._read
        answers = self._outages.why("database_down") is None
        return lease.held_elsewhere(found, read_ago=self._clock() - at, answers=answers)

    @property
    def fence(self) -> int | None:
        """The epoch that each write must find; None: any."""
        return self._epoch if self._standby() else None

    def why_none_starts(self) -> str | None:
        """Why no worker may start now; None: they may."""
        until, now = self.lent_until, self._clock()
        if until is None or not lease.is_short(until, self._renewed_at, now):
            return None
        age = now - self._renewed_at
        return f"the database's lease was not renewed for {age:.0f} s, and with it workers end"

    async def acquire(self, before_waiting: Callable[[], Awaitable[None]] = _known) -> None:
        """Return when it is held; at once when it is already. ``before_waiting``: called once, where a standby finds
        that another daemon has it.

        Raises ``InstanceHeldError`` where its holder lives, ``DatabaseUnavailableError``; may be
        called again then.
        """
        watch: Watch | None = None  # what was seen before an outage does not count
        waited = False
        while self._epoch is None:
            decision, found = await self._claimed(watch)
            if found is None or isinstance(decision, Take):
                continue
            if isinstance(decision, Held) and not self._standby():
                message, remedy = lease.held_words(found)
                raise InstanceHeldError(message, remedy=remedy)
            self._report_waiting(found, decision)
            if self._standby() and not waited:
                waited = True
                await before_waiting()
            watch = decision.watch
            seconds = decision.seconds if isinstance(decision, Wait) else POLL_INTERVAL
            await self._pause(min(POLL_INTERVAL, seconds))

    def _report_waiting(self, found: Lease, decision: lease.Decision) -> None:
        self._outages.update("database_down", None)
        if self._standby():
            self._read, since = (found, self._clock()), self._outages.now()
            of_all = fleet_condition("standby", lease.standby_words(found), since=since)
            self._outages.report(replace(of_all, degrades=False))
        elif isinstance(decision, Wait):
            self._outages.update("lease_held", lease.waiting_words(found, decision.seconds))

    async def _claimed(self, watch: Watch | None) -> tuple[lease.Decision, Lease | None]:
        """As ``_claim``. Who is cancelled waits for the answer: what is committed by then is held, and released."""
        claiming = asyncio.create_task(self._claim(watch), name="lease")
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming], timeout=RELEASE_DEADLINE)
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            raise

    async def _claim(self, watch: Watch | None) -> tuple[lease.Decision, Lease | None]:
        """What was decided, and about what; taken, where that was it."""
        decisions: list[tuple[lease.Decision, Lease | None]] = []

        def may(found: Lease | None) -> bool:
            decision = lease.claim(self._mine, found, watch, self._clock(), here=self._here)
            decisions.append((decision, found))
            return isinstance(decisions[-1][0], Take)

        terms, began = self._terms(), self._clock()
        epoch = await self._store.acquire(self._mine, terms, may)
        decision, found = decisions[-1]
        if epoch is not None:
            self._hold(epoch, terms, began)
            self.took_over = found is not None and not self._is_next(found.holder)
            before = lease.who(found) if found else None
            logger.info(
                "the database's lease is taken", event="lease_acquired", epoch=epoch, before=before
            )
            for kind in ("lease_held", "standby"):
                self._outages.update(kind, None)
            self._report_lost_holder(found)
        return decision, found

    def _report_lost_holder(self, found: Lease | None) -> None:
        """What its workers acknowledged to WhatsApp and did not deliver is known to nobody here."""
        if found is None or found.released or self._is_next(found.holder):
            return
        self._outages.update("events_left_behind", lease.left_behind_words(found))
        self._left_behind_at = self._clock()

    def _is_next(self, before: Holder) -> bool:
        return lease.is_next(self._mine, before, here=self._here)

    def _hold(self, epoch: int, terms: Terms, since: float) -> None:
        self._epoch, self._granted, self._renewed_at = epoch, terms, since
        self._read = None
        self._held()
        if self._failing:
            self._failing = False
            logger.warning(
                "the database's lease is renewed again",
                event="lease_renewed",
                condition="lease_not_renewed",
                epoch=epoch,
            )

    async def tick(self) -> None:
        """Begin to renew it where that is due. Nothing is raised: it is tried again at the next tick.

        A task of its own: the ticker cuts off what still runs at its end, and of a call of the database
        that was cut off nobody closes the connection, which keeps the daemon from ending.
        """
        if self._epoch is None or self._lost is not None:
            return
        if self._renewal and not self._renewal.done():
            if not self._failing and self._clock() - self._begun_at >= RENEWAL_DEADLINE:
                self._fail(f"it takes longer than {RENEWAL_DEADLINE:g} s")
            return
        if self._left_behind_at and self._clock() - self._left_behind_at >= LEFT_BEHIND_SHOWN:
            self._left_behind_at = None
            self._outages.update("events_left_behind", None)
        age = self._clock() - self._renewed_at
        if self._failing or not 0 <= age < self._terms().renewed_every:
            self._begun_at = self._clock()
            self._renewal = asyncio.create_task(self._renew(self._epoch), name="lease")

    async def renewed(self) -> None:
        """Wait until no renewal is under way, or for as long as one may take."""
        if self._renewal:
            await asyncio.wait([self._renewal], timeout=RENEWAL_DEADLINE)

    async def _renew(self, epoch: int) -> None:
        terms, began = self._terms(), self._clock()
        try:
            is_recent = not self._failing and began - self._recognized_at < RECOGNIZED_EVERY
            if is_recent and await self._store.renew(epoch, terms, of=self._marked()):
                self._hold(epoch, terms, began)
                return
            await self._recognized()
            self._recognized_at = began
            if await self._store.renew(epoch, terms):
                self._hold(epoch, terms, began)
            else:
                await self._reacquire(epoch, terms, began)
        except Exception as error:  # noqa: BLE001 - a lease that is renewed no more is lost
            why = error.line() if isinstance(error, WaguardError) else repr(error)
            self._fail(why)

    def _fail(self, why: str) -> None:
        level = "DEBUG" if self._failing else "ERROR"
        said = "the database's lease is not renewed, trying again"
        logger.log(level, said, event="lease_not_renewed", condition="lease_not_renewed", why=why)
        self._failing = True

    async def _reacquire(self, epoch: int, terms: Terms, began: float) -> None:
        """Acquire a lease that is not as we left it: lost, or the database was restored from a copy."""
        seen: list[Lease | None] = []

        def may(found: Lease | None) -> bool:
            seen.append(found)
            return lease.joins(self._mine, found) or not lease.is_lost(epoch, found)

        taken = await self._store.acquire(self._mine, terms, may, above=epoch)
        if taken is not None:
            logger.warning(
                "the database's lease was gone and is taken again",
                event="lease_retaken",
                epoch=taken,
            )
            self._hold(taken, terms, began)
        elif found := seen[-1]:
            message, remedy = lease.lost_words(self._mine, found)
            self._lost = message
            # a clone would be taken for the same place, and take over at once
            waits = self._standby() and not found.holder.same_place(self._mine)
            kind = LeaseLostError if waits else InstanceHeldError
            self._on_lost(kind(message, remedy=lease.STANDBY_REMEDY if waits else remedy))

    async def release(self) -> None:
        """Nobody has to wait for it; where the database does not take that, until it expires. A cluster's is not this
        host's to release: it expires after the last one has ended."""
        await self.renewed()
        epoch, self._epoch = self._epoch, None
        if epoch is None or self._lost is not None or self._mine.is_cluster:
            return
        if self._failing:  # the call would be cut off
            logger.warning(
                "the database's lease is not released",
                event="lease_not_released",
                why="the database does not answer",
            )
            return
        try:
            async with asyncio.timeout(RELEASE_DEADLINE):
                await self._store.release(epoch)
        except (WaguardError, TimeoutError) as error:
            logger.warning(
                "the database's lease is not released",
                event="lease_not_released",
                why=one_line(error) or "no answer",
            )
