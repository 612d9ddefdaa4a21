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
from waguard.core.lease import Held, Holder, Lease, Take, Terms, Wait, Watch
from waguard.errors import InstanceHeldError, WaguardError
from waguard.host.clock import since_boot
from waguard.ports.store import LeaseStore
from waguard.supervision.outages import Outages

TICK: Final = 1.0  # s between two checks whether a renewal is due
POLL_INTERVAL: Final = 1.0  # s between two reads of a lease that another daemon holds
RENEWAL_DEADLINE: Final = 15.0  # s; a call of the store ends within that
RELEASE_DEADLINE: Final = 2.0  # s; without an answer the next host waits until it has expired


async def _known() -> None:
    """Every database is ours."""


class LeaseKeeper:
    """``terms`` are read at each use; ``clock`` counts seconds, also those of a suspend; ``lost`` is
    called once, with what to say at the end. ``recognized`` raises where another database has taken the place of
    ours: in that one the lease is not ours to renew, take or lose."""

    def __init__(  # noqa: PLR0913 - what a lease depends on
        self,
        store: LeaseStore,
        mine: Holder,
        terms: Callable[[], Terms],
        outages: Outages,
        *,
        lost: Callable[[InstanceHeldError], None],
        recognized: Callable[[], Awaitable[None]] = _known,
        clock: Callable[[], float] = since_boot,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._mine = mine
        self._terms = terms
        self._outages = outages
        self._on_lost = lost
        self._recognized = recognized
        self._clock = clock
        self._pause = pause
        self._epoch: int | None = None
        self._renewed_at = 0.0
        """When the last renewal was begun; the database's lease began again at that time at the
        earliest."""
        self._granted = terms()
        """As it was renewed last."""
        self._failing = False
        self._renewal: asyncio.Task[None] | None = None
        self._lost: str | None = None

    def why_barred(self) -> str | None:
        """Why the database must not be used now; None: it may."""
        if self._lost is not None:
            return self._lost
        if self._epoch is None:
            return self._outages.why("lease_held") or "the database's lease is not taken yet"
        age = self._clock() - self._renewed_at
        if age < self._granted.lasts:
            return None
        return f"the database's lease was not renewed for {age:.0f} s: that comes first"

    async def acquire(self) -> None:
        """Return when it is held; at once when it is already.

        Raises ``InstanceHeldError`` where its holder lives, ``DatabaseUnavailableError``; may be
        called again then.
        """
        watch: Watch | None = None  # what was seen before an outage does not count
        while self._epoch is None:
            decision, found = await self._claim(watch)
            match decision, found:
                case Wait(), Lease():
                    watch = decision.watch
                    self._outages.update("database_down", None)
                    words = lease.waiting_words(found, decision.seconds)
                    self._outages.update("lease_held", words)
                    await self._pause(min(POLL_INTERVAL, decision.seconds))
                case Held(), Lease():
                    message, remedy = lease.held_words(found)
                    raise InstanceHeldError(message, remedy=remedy)
                case _:
                    pass

    async def _claim(self, watch: Watch | None) -> tuple[lease.Decision, Lease | None]:
        """What was decided, and about what; taken, where that was it."""
        decisions: list[tuple[lease.Decision, Lease | None]] = []

        def may(found: Lease | None) -> bool:
            decisions.append((lease.claim(self._mine, found, watch), found))
            return isinstance(decisions[-1][0], Take)

        terms, began = self._terms(), self._clock()
        epoch = await self._store.acquire(self._mine, terms, may)
        decision, found = decisions[-1]
        if epoch is not None:
            self._hold(epoch, terms, began)
            before = lease.who(found) if found else None
            logger.info(
                "the database's lease is taken", event="lease_acquired", epoch=epoch, before=before
            )
            self._outages.update("lease_held", None)
        return decision, found

    def _hold(self, epoch: int, terms: Terms, since: float) -> None:
        self._epoch, self._granted, self._renewed_at = epoch, terms, since
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
        if (
            self._epoch is None
            or self._lost is not None
            or (self._renewal and not self._renewal.done())
        ):
            return
        age = self._clock() - self._renewed_at
        if self._failing or not 0 <= age < self._terms().renewed_every:
            self._renewal = asyncio.create_task(self._renew(self._epoch), name="lease")

    async def renewed(self) -> None:
        """Wait until no renewal is under way, or for as long as one may take."""
        if self._renewal:
            await asyncio.wait([self._renewal], timeout=RENEWAL_DEADLINE)

    async def _renew(self, epoch: int) -> None:
        terms, began = self._terms(), self._clock()
        try:
            await self._recognized()
            if await self._store.renew(epoch, terms):
                self._hold(epoch, terms, began)
            else:
                await self._reacquire(epoch, terms, began)
        except Exception as error:  # noqa: BLE001 - a lease that is renewed no more is lost
            why = error.line() if isinstance(error, WaguardError) else repr(error)
            level = "DEBUG" if self._failing else "ERROR"
            said = "the database's lease is not renewed, trying again"
            logger.log(
                level, said, event="lease_not_renewed", condition="lease_not_renewed", why=why
            )
            self._failing = True

    async def _reacquire(self, epoch: int, terms: Terms, began: float) -> None:
        """It is not as we left it: lost, or the database was restored from a copy."""
        seen: list[Lease | None] = []

        def may(found: Lease | None) -> bool:
            seen.append(found)
            return not lease.is_lost(epoch, found)

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
            self._on_lost(InstanceHeldError(message, remedy=remedy))

    async def release(self) -> None:
        """Nobody has to wait for it; where the database does not take that, until it expires."""
        await self.renewed()
        epoch, self._epoch = self._epoch, None
        if epoch is None or self._lost is not None:
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
                why=str(error) or "no answer",
            )
