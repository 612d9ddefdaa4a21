"""The daemon's hold on its database: no other daemon may use it meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from waguard.config.sections import Config
from waguard.core.host.admission import Reading
from waguard.core.lease import Terms, terms
from waguard.daemon.installation import Installation
from waguard.daemon.stop_request import StopRequest
from waguard.host.files.lock import InstanceLock
from waguard.host.system.machine import holder
from waguard.host.ticker import Ticker
from waguard.store.sql import SqlStore
from waguard.supervision.fleet.lease_keeper import TICK, LeaseKeeper
from waguard.supervision.outages import Outages


class DatabaseLease:
    """From now on ``store`` is barred while the lease is not held. Where another daemon takes it, ``stop`` is
    requested."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: SqlStore,
        lock: InstanceLock,
        outages: Outages,
        stop: StopRequest,
        installation: Installation,
        *,
        lend: Callable[[], None],
    ) -> None:
        """``lend``: say to each worker until when it may live."""
        self._config = config
        self._stop = stop
        self._lend = lend
        self._lent = False
        self._had_profiles = False
        """Whether the folder of all profiles was seen with one in it."""
        runtime = config().paths.runtime
        self.keeper = LeaseKeeper(
            store.lease,
            holder(runtime, lock.instance),
            self._terms,
            outages,
            lost=stop.lose_database,
            recognized=installation.mark,
            standby=lambda: self._config().lease.standby,
            held=self._renewed,
        )
        store.guard(
            why_barred=lambda: installation.why_barred() or self.keeper.why_barred(),
            before_migration=self.keeper.acquire,
            recognize=installation.recognize,
            fence=lambda: self.keeper.fence,
        )

    def on(self, host: Reading) -> Reading:
        """A reading of the host, with what the lease means for starts."""
        self._had_profiles = self._had_profiles or not (host.empty or host.unreadable)
        # who takes sessions over has no profiles yet: shared ones are laid down; later their disk is gone
        config = self._config()
        takes_over = config.cluster.engine != "none" or (
            config.database.key_file is not None and self.keeper.took_over
        )
        expected = takes_over and not self._had_profiles
        empty = None if expected else host.empty
        return replace(host, lease=self.keeper.why_none_starts(), empty=empty)

    @contextlib.asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew it while the body runs, which stops the sessions; then release it."""
        ticker = Ticker()  # the daemon's own ends before the sessions do
        ticker.every(TICK, "lease", self.keeper.tick)
        ticker.start()
        try:
            yield
        finally:
            ticker.stop()
            if self._stop.hands_over:  # its workers go on: the next daemon here is to have it
                await self.keeper.renewed()
            else:
                await self.keeper.release()

    def _renewed(self) -> None:
        lends = self.keeper.standby
        if lends or self._lent:
            self._lend()
        self._lent = lends

    def _terms(self) -> Terms:
        grace, margin = self._config().worker.orphan_grace, self._config().lease.margin
        return terms(orphan_grace=grace, margin=margin)
