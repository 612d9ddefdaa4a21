"""The daemon's hold on its database: no other daemon may use it meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from waguard.config.sections import Config
from waguard.core.host.admission import Reading
from waguard.core.lease import Terms, of_cluster, terms
from waguard.core.replace import replace
from waguard.daemon.installation import Installation
from waguard.daemon.stop_request import StopRequest
from waguard.host.files.lock import InstanceLock
from waguard.host.system.machine import holder
from waguard.host.ticker import Ticker
from waguard.store.sql import SqlStore
from waguard.supervision.fleet.lease_keeper import TICK, LeaseKeeper
from waguard.supervision.outages import Outages

if TYPE_CHECKING:
    from waguard.daemon.cluster import Cluster


class DatabaseLease:
    """From now on ``store`` is barred while the lease is not held. Where another daemon takes it, ``stop`` is
    requested."""

    def __init__(  # noqa: PLR0913 - what a lease depends on
        self,
        config: Callable[[], Config],
        store: SqlStore,
        lock: InstanceLock,
        outages: Outages,
        stop: StopRequest,
        installation: Installation,
        *,
        lend: Callable[[], None],
        cluster: "Cluster | None" = None,
    ) -> None:
        """``lend``: say to each worker until when it may live. In a ``cluster`` the hosts hold the lease together, and
        workers live by the host's own."""
        self._config = config
        self._stop = stop
        self._cluster = cluster
        self._lend = lend
        self._lent = False
        self._had_profiles = False
        """Whether the folder of all profiles was seen with one in it."""
        runtime, engine = config().paths.runtime, config().cluster.engine
        here = holder(runtime, lock.instance)
        self.keeper = LeaseKeeper(
            store.lease,
            here if engine == "none" else of_cluster(engine),
            self._terms,
            outages,
            lost=stop.lose_database,
            recognized=installation.mark,
            marked=lambda: "" if installation.why_barred() else installation.marked,
            standby=lambda: self._config().lease.standby,
            held=self._renewed,
            here=here,
        )
        store.guard(
            why_barred=lambda: installation.why_barred() or self.keeper.why_barred(),
            before_migration=self.keeper.acquire,
            recognize=installation.recognize,
            fence=lambda: self.keeper.fence,
            owning=lambda: cluster.owning if cluster else None,
        )

    def on(self, host: Reading) -> Reading:
        """A reading of the host, with what the lease means for starts."""
        self._had_profiles = self._had_profiles or not (host.empty or host.unreadable)
        # who takes sessions over has no profiles yet: shared ones are laid down; later their disk is gone
        shares = self._config().database.key_file is not None
        takes_over = self._cluster or (shares and self.keeper.took_over)
        expected = takes_over and not self._had_profiles
        empty = None if expected else host.empty
        return replace(host, lease=(self._cluster or self.keeper).why_none_starts(), empty=empty)

    @property
    def lent_until(self) -> float | None:
        """Until when workers may live, by CLOCK_BOOTTIME; None: forever."""
        return self._cluster.host.lent_until if self._cluster else self.keeper.lent_until

    @contextlib.asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew it while the body runs, which stops the sessions; then release it."""
        ticker = Ticker()  # the daemon's own ends before the sessions do
        ticker.every(TICK, "lease", self.keeper.tick)
        ticker.start()
        try:
            yield
        finally:
            if self._cluster:
                await self._cluster.end()
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
