"""The start: open the database, take its lease, restore the sessions; tried again until it is done."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loguru import logger

from waguard.core.lease import held_elsewhere_words
from waguard.daemon.installation import Installation
from waguard.daemon.leftovers import Leftovers
from waguard.daemon.run_history import RunHistory
from waguard.daemon.stop_request import StopRequest
from waguard.errors import (
    DatabaseUnavailableError,
    DatabaseUnfitError,
    DatabaseUnknownError,
    InstanceHeldError,
    StateReplacedError,
    WaguardError,
    is_outage,
)
from waguard.messaging.outbox.outbox import Outbox
from waguard.ports.process import Process
from waguard.store.sql import SqlStore
from waguard.supervision.fleet import shutdown
from waguard.supervision.fleet.lease_keeper import LeaseKeeper
from waguard.supervision.outages import Outages
from waguard.supervision.session.greeting import greeted
from waguard.supervision.supervisor import Supervisor
from waguard.supervision.timings import Timings
from waguard.wire.worker import WorkerRecord

if TYPE_CHECKING:
    from waguard.daemon.cluster import Cluster

DATABASE_RETRY: Final = (0.5, 1.0, 2.0, 5.0)  # s; the last one repeats


class RestoreLoop:
    """Workers of an earlier daemon go on meanwhile: they are greeted as ``instance``."""

    def __init__(  # noqa: PLR0913 - what begins in this order
        self,
        store: SqlStore,
        lease: LeaseKeeper,
        installation: Installation,
        outbox: Outbox,
        supervisor: Supervisor,
        *,
        leftovers: Leftovers,
        history: RunHistory,
        state: Path,
        outages: Outages,
        stop: StopRequest,
        instance: str,
        timings: Timings,
        cluster: "Cluster | None" = None,
        retry: Sequence[float] = DATABASE_RETRY,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._lease = lease
        self._installation = installation
        self._outbox = outbox
        self._supervisor = supervisor
        self._leftovers = leftovers
        self._history = history
        self._outages = outages
        self._stop = stop
        self._instance = instance
        self._timings = timings
        self._retry = retry
        self._why_not: str | None = None
        self._left_behind: list[tuple[WorkerRecord, Process]] | None = None
        """Living workers of an earlier daemon; None: they are not known yet."""
        self._state = state
        self._state_read: tuple[int, int] | None = None
        """The folder that was read at the start."""

    @property
    def why_not(self) -> str | None:
        """What keeps the daemon from beginning, in words."""
        if other := self._lease.held_elsewhere:
            return held_elsewhere_words(other)
        return self._why_not or (self._cluster.why_not if self._cluster else None)

    async def run(self) -> None:
        """Return when all is restored, or the database belongs to another daemon."""
        attempt = 0
        self._state_read = await asyncio.to_thread(_identity, self._state)
        async with contextlib.AsyncExitStack() as company:
            while True:
                try:
                    if (left_behind := self._left_behind) is None:
                        left_behind = self._left_behind = self._leftovers.workers()
                        self._installation.workers = len(left_behind)
                        await company.enter_async_context(self._greeted(left_behind))
                    if self._cluster:
                        self._cluster.resume()
                    await self._installation.check_folder()
                    await self._store.open()
                    await self._lease.acquire(
                        before_waiting=partial(self._end, company, left_behind)
                    )
                    await self._require_same_state()
                    await self._installation.mark()
                    await self._begin(left_behind)
                    await company.aclose()  # from here on they are their sessions'
                    await self._restore(left_behind)
                except InstanceHeldError as error:
                    self._stop.lose_database(error, had=False)
                    return
                except StateReplacedError as error:
                    self._stop.hand_over_after(error)
                    return
                except Exception as error:  # noqa: BLE001 - a daemon that restores nothing must not idle
                    delay = self._retry[min(attempt, len(self._retry) - 1)]
                    attempt += 1
                    self._report(error, delay)
                    if isinstance(error, DatabaseUnknownError):
                        await self._store.close()  # nothing of it is kept open: it may be put back
                    if self._left_behind and not self._supervisor.state.loaded:
                        await company.aclose()
                        await company.enter_async_context(self._greeted(self._left_behind))
                    await asyncio.sleep(delay)
                else:
                    self._why_not = None
                    self._outages.update("begin_failed", None)
                    return

    async def _require_same_state(self) -> None:
        """A database that is back may have come with all that lies beside it: keys, who waits for a person."""
        now = await asyncio.to_thread(_identity, self._state)
        if self._state_read and now and now != self._state_read:
            raise StateReplacedError(
                f"{self._state} was mounted or replaced after the start, which read another folder",
                field="paths.state",
                value=str(self._state),
                remedy="start waguard again; a service manager does that, and workers go on meanwhile",
            )

    async def end(self) -> None:
        """End those workers of an earlier daemon that no session has ended: nobody serves them any more, and the next host
        need not wait for the lease."""
        await self._stop_all([process for _, process in self._left_behind or ()])

    async def end_unadopted(self) -> None:
        """End those of them that no session has: whoever ends the sessions does not know of them."""
        unadopted = []
        for record, process in self._left_behind or ():
            session = self._supervisor.registry.get(record.session)
            running = session.runner.process if session else None
            if running is None or running.pid != process.pid:
                unadopted.append(process)
        await self._stop_all(unadopted)

    async def _stop_all(self, processes: Sequence[Process]) -> None:
        grace = self._timings.stop_grace
        await asyncio.gather(*(shutdown.stop(process, grace=grace) for process in processes))

    async def _begin(self, left_behind: list[tuple[WorkerRecord, Process]]) -> None:
        if self._cluster:
            await self._cluster.own(self._installation, left_behind)
        await self._outbox.begin()
        if self._cluster:
            await self._cluster.remember()

    async def _restore(self, left_behind: list[tuple[WorkerRecord, Process]]) -> None:
        summary = await self._supervisor.restorer.restore(left_behind, loaded=self._loaded)
        records = [record for record, _ in left_behind]
        await self._history.report_restored(records, self._leftovers.lost, summary)

    def _greeted(
        self, left_behind: list[tuple[WorkerRecord, Process]]
    ) -> contextlib.AbstractAsyncContextManager[None]:
        return greeted(
            [record for record, _ in left_behind],
            instance=self._instance,
            # in a cluster they live by what is lent to them
            after=0.0 if self._cluster else self._timings.greet_after,
            again=self._timings.greet_again,
            lends=self._lease.standby,
            lending=self._cluster.lending if self._cluster else None,
        )

    async def _end(
        self, company: contextlib.AsyncExitStack, left_behind: list[tuple[WorkerRecord, Process]]
    ) -> None:
        """Another daemon has the lease, and runs their sessions: what was lent to them is over."""
        self._outages.update("begin_failed", None)
        await company.aclose()
        await self.end()
        left_behind.clear()

    def _loaded(self) -> None:
        if self._cluster:
            self._cluster.open()

    def _report(self, error: Exception, delay: float) -> None:
        why = error.line() if isinstance(error, WaguardError) else repr(error)
        passes = is_outage(error)
        self._outages.update("begin_failed", None if passes else why)
        if isinstance(error, DatabaseUnknownError | DatabaseUnfitError):
            self._outages.update("database_down", None)  # it answers
        elif isinstance(error, DatabaseUnavailableError):
            logger.debug("the database is not open; trying again", why=why, delay=delay)
            self._outages.update("database_down", error.message)
        if not passes:
            logger.opt(exception=error).critical(
                "the start failed; trying again", event="begin_failed", why=why, delay=delay
            )
        self._why_not = f"cannot begin yet: {why}"


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
