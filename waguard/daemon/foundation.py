"""What sessions, messages and the API stand on: time, network, bus, database with its lease, journal."""

import contextlib
from collections.abc import AsyncIterator, Collection

from waguard.core.lease import Terms, terms
from waguard.daemon.reload import CurrentConfig
from waguard.daemon.stop_request import StopRequest
from waguard.host.clock import SystemClock
from waguard.host.conditions import HostConditions
from waguard.host.lived import LivedTime
from waguard.host.lock import InstanceLock
from waguard.host.machine import holder
from waguard.host.media import MediaFolder
from waguard.host.network import Network, uses_proxy
from waguard.host.ticker import Ticker
from waguard.messaging.journal import Journal
from waguard.store.sql import SqlStore
from waguard.supervision.bus import Bus
from waguard.supervision.fleet import Fleet
from waguard.supervision.lease import TICK, LeaseKeeper


class Foundation:
    """The first to be there and the last to be closed. ``public_url`` is of the API."""

    def __init__(
        self, config: CurrentConfig, lock: InstanceLock, stop: StopRequest, *, public_url: str
    ) -> None:
        self.config = config
        paths, host = config().paths, HostConditions()
        self.clock = SystemClock()
        self.ages = LivedTime(paths.state, self.clock)
        self.media = MediaFolder(paths.state / "media")
        self.bus = Bus(self.clock)
        self.store = SqlStore(config().database.url)
        proxied = uses_proxy(config().browser.extra_args)
        self._network = Network(config().whatsapp.url, proxied=proxied)
        self.fleet = Fleet(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            host=lambda: host.read(config()),
            network=self._network.read,
        )
        self.lease = LeaseKeeper(
            self.store.lease,
            holder(paths.runtime, lock.instance),
            self._lease_terms,
            self.fleet.outages,
            lost=stop.lose_database,
        )
        self.store.guard(why_barred=self.lease.why_barred, before_migration=self.lease.acquire)
        self.journal = Journal(
            self.store.messages,
            self.media,
            base=public_url,
            for_global=self._for_global,
            publish=self.bus.publish,
            barred=lambda: self.lease.why_barred() is not None,
        )

    @contextlib.asynccontextmanager
    async def leased(self) -> AsyncIterator[None]:
        """Renew the lease while the body runs, which stops the sessions; then release it."""
        ticker = Ticker()  # the daemon's own ends before the sessions do
        ticker.every(TICK, "lease", self.lease.tick)
        ticker.start()
        try:
            yield
        finally:
            ticker.stop()
            await self.lease.release()

    async def end_calls(self) -> None:
        """Before the API ends: who listens to the bus is let go, and nobody asks the network."""
        self.bus.close()
        await self._network.close()

    async def close(self) -> None:
        """After the API has ended: nothing uses the database any more."""
        await self.store.close()
        self.ages.save()

    def _lease_terms(self) -> Terms:
        grace, margin = self.config().worker.orphan_grace, self.config().lease.margin
        return terms(orphan_grace=grace, margin=margin)

    def _for_global(self) -> Collection[str]:
        webhook = self.config().webhook
        return webhook.events if webhook.url is not None else ()
