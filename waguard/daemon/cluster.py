"""One host of several: its lease, the sessions that it owns, and what both mean for this daemon. Imported only with
``cluster.engine``."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp.web import Application
from loguru import logger

from waguard.api.deps import Cluster as ApiCluster
from waguard.api.forwarding import CALLS
from waguard.api.host_calls import HostCalls
from waguard.api.uploads_elsewhere import UploadsElsewhere
from waguard.core.cluster import shared_settings
from waguard.core.cluster.host_lease import LeaseTerms
from waguard.core.cluster.records import Owner, Owning
from waguard.core.cluster.unowned import holder
from waguard.daemon import host_alerts, left_behind
from waguard.daemon.compared_settings import ComparedSettings
from waguard.daemon.duties import Duties
from waguard.daemon.foundation import Foundation
from waguard.daemon.host_alerts import HostAlerts
from waguard.daemon.installation import Installation
from waguard.daemon.lease_engine import LeaseEngine
from waguard.daemon.left_behind import LeftBehind, Whose
from waguard.daemon.left_memory import LeftMemory
from waguard.daemon.secret_files import SecretFiles
from waguard.daemon.stop_request import StopRequest
from waguard.errors import (
    DatabaseUnavailableError,
    DatabaseUnknownError,
    LeaseLostError,
    WaguardError,
    one_line,
)
from waguard.host.files.sealing import read_key
from waguard.host.memory import drain_mark, incarnation_file
from waguard.host.process.children import read_records
from waguard.host.process.procfs import boot_id
from waguard.host.system import resources
from waguard.host.ticker import Ticker
from waguard.messaging.alerts.alerts import Alerts
from waguard.messaging.deferred_files import DeferredFiles
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.process import Process, Spawn
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.host_start import HostStart
from waguard.supervision.cluster.hosts_here import HostsHere
from waguard.supervision.cluster.left_events import LeftEventsHere
from waguard.supervision.cluster.numbers import NumbersHere
from waguard.supervision.cluster.owned_parts import OwnedParts
from waguard.supervision.cluster.owner_keeper import OwnerKeeper
from waguard.supervision.cluster.ownership import HostOwnership
from waguard.supervision.cluster.reports import ClusterReports
from waguard.supervision.cluster.session_use import SessionsHere
from waguard.supervision.session.greeting import Lending, greeted
from waguard.supervision.shipping.credential_shipping import ages
from waguard.supervision.supervisor import Supervisor
from waguard.wire.worker import WorkerRecord

GREETED_AGAIN: Final = 1.0  # s
Workers = list[tuple[WorkerRecord, Process]]


class Cluster:
    """``connect`` comes before everything else. Raises ``ConfigError`` for files of ``[cluster]`` that cannot be used."""

    def __init__(
        self,
        base: Foundation,
        stop: StopRequest,
        spawn: Spawn,
        instance: str,
    ) -> None:
        """``instance``: what workers know this daemon by."""
        self._instance = instance
        self._company = contextlib.AsyncExitStack()
        """Greets the workers that are left to the next daemon."""
        self._lends_on = False
        self._config = base.config
        self._store = base.store
        self._stop = stop
        self._journal = base.journal
        self._clock = base.clock
        self._supervisor: Supervisor
        self._asked: Callable[[str], None]
        self._alerts: Alerts
        self._kept: LeftMemory
        self._calls: HostCalls
        self._secrets: Callable[[], Sequence[bytes]]
        self.owned = OwnedParts()
        self._is_open = False
        """Whether all that an earlier daemon left here is its sessions', or was ended."""
        self._restored: set[str] = set()
        """What is brought up by the restore at the start; the rest, as it is claimed."""
        settings = base.config().cluster
        self._engine = LeaseEngine(base.config, base.store)
        assert settings.key_file  # noqa: S101 - the configuration was checked
        self._key = read_key(settings.key_file, "cluster.key_file")
        compared = ComparedSettings(
            base.config,
            self._key,
            secrets=lambda: self._secrets(),  # noqa: PLW0108 - they are read later
            wajs=lambda: self._supervisor.versions.state.wajs,
        )
        reports = ClusterReports(lambda: self._supervisor.fleet.outages)
        use = SessionsHere(
            lambda: self._supervisor.registry, base.config, base.clock, resources.read
        )
        self._start = HostStart(base.clock)
        self._duties = Duties(
            base.config,
            stop,
            spawn,
            use,
            self._start,
            lambda: (self._supervisor, self.owners, self._alerts),
            compared.digests,
        )
        self.host = HostKeeper(
            settings.host,
            LeaseTerms(settings.lasts),
            self._duties,
            reports,
            changed=lambda: self.owners.lease_changed(),  # noqa: PLW0108 - it is made below
        )
        owners = base.store.owners()
        state = base.config().paths.state
        self.owners = OwnerKeeper(
            self.host, owners, self.owned, use, reports, drained=drain_mark.read(state)
        )
        self.ownership = HostOwnership(self.host, self.owners, owners)
        self.hosts = HostsHere(
            self.host,
            self.owners,
            keep_drain=lambda drained: asyncio.to_thread(drain_mark.write, state, drained=drained),
        )
        self.uploads = UploadsElsewhere(
            base.outgoing, self.hosts, lambda: self._calls, lambda: self.host.is_list_read
        )
        self._numbers = NumbersHere(
            self.host,
            self.owners,
            reports,
            unowned=self.hosts.unowned,
            refused=lambda: base.store.refused,
            credentials=self._credentials,
        )

    # ---- what the daemon asks ----

    def connect(
        self,
        supervisor: Supervisor,
        outbox: Outbox,
        webhooks: Webhooks,
        deferred: DeferredFiles,
        secrets: Callable[[], Sequence[bytes]],
    ) -> None:
        """What owning a session means here. What a worker reports needs what the journal keeps of its session, and
        messages and webhooks that are on their way have their time while it still runs. ``secrets`` sign webhooks."""
        self._supervisor = supervisor
        self._secrets = secrets
        assert supervisor.owned  # noqa: S101 - it was made with an ownership
        self.owned.stopping = lambda: supervisor.state.stopping
        self.owned.running = supervisor.owned
        self.owned.journal = self._journal
        self.owned.others = (webhooks.owned, outbox, deferred)

    async def tick(self) -> None:
        """Call it now and then: where a person has accepted another etcd on another host, that one's owners count, and
        this daemon ends."""
        if self.owners.state is None or self._store.barred:
            return  # the start has not come to it yet, or it is not known to be the cluster's database
        try:
            await self._engine.recognize()
        except DatabaseUnknownError as error:
            remedy = (
                "its next start says what to do, where `cluster.endpoints` is still another one"
            )
            self._stop.lose_database(LeaseLostError(error.message, remedy=remedy))
        except DatabaseUnavailableError:
            pass  # nobody claims anything meanwhile

    @property
    def owning(self) -> Owning:
        """For the database, which checks each write."""
        view, epochs = self.host.view, self.ownership.owned()
        return Owning(host=view.host, incarnation=view.incarnation or "", epochs=epochs)

    def why_none_starts(self) -> str | None:
        """Why no worker may start now; None: they may."""
        return (
            None
            if self.host.is_held
            else "sessions run with this host's lease, which is not renewed"
        )

    @property
    def why_not(self) -> str | None:
        """Why no session is owned yet; None: there is no such reason."""
        if self.owners.state is not None or self.host.is_held:
            return None
        return "this host has no lease yet"

    def for_api(self, instance_url: str, secrets: SecretFiles) -> ApiCluster:
        """What the API needs of it."""
        settings = self._config().cluster
        key = self._key
        return ApiCluster(
            ownership=self.ownership,
            hosts=self.hosts,
            numbers=self._numbers.read,
            address=settings.address,
            instance_url=instance_url,
            key=key,
            digests=lambda: shared_settings.digests_of_secrets(
                key, {"api.key_file": secrets.keys.values, "webhook.secret_file": secrets.webhook}
            ),
            start=self._start,
            asked=lambda by: self._asked(by),  # noqa: PLW0108 - who listens comes later
            keys=self._store.shared_keys(key, lambda: _is_everybodys(key, self.host)),
            store_left=LeftEventsHere(lambda: self._supervisor.registry).store,
        )

    def work_with_others(self, alerts: Alerts, app: Application, ticker: Ticker) -> None:
        """Hand what is left here to its owners, and have one host send alerts for all. This host's lease says whether it has
        destinations: it comes before that."""
        self._alerts, self._calls = alerts, app[CALLS]

        def rows() -> Mapping[str, Owner] | None:
            return self.owners.state.rows if self.owners.state else None

        workers = self._config().paths.runtime / "workers"
        self._kept = LeftMemory(workers, self._journal.left, self._clock)
        self._kept.load()
        ticker.every(left_behind.EVERY, "left in memory", self._kept.tidy)
        left = LeftBehind(
            workers,
            self._journal.left,
            Whose(
                rows=lambda: rows() if self.host.is_held else None,
                is_ours=lambda session: session in self.owners.load,
                owner=lambda session: holder(self.owners.state, self.host.view, session),
            ),
            self._calls,
            lambda: self._supervisor.fleet.outages,
            self._clock,
        )
        ticker.every(left_behind.EVERY, "left behind", left.tick)
        made = HostAlerts(
            self.hosts,
            self._calls,
            self._store.sent_alerts(),
            alerts,
            rows=rows,
            held=lambda: self.host.is_held,
            read=lambda: self.host.is_list_read,
        )
        self._asked = made.asked
        alerts.several = made
        ticker.every(host_alerts.EVERY, "alerts for all", made.tick)

    @property
    def lending(self) -> Lending:
        """See ``Duties``."""
        return self._duties.lending

    def resume(self) -> None:
        """Hold the lease that the daemon before has left here: its workers live by it, also while the database is away.
        Without one nothing happens, nor where it is held already. Raises ``OSError``, ``ConfigError``; may be called again."""
        runtime, settings = self._config().paths.runtime, self._config().cluster
        kept = incarnation_file.read(runtime, boot_id())
        if kept and kept.host == settings.host and not self._duties.cluster_id:
            self._begin(kept.cluster, adopts=kept.incarnation)

    async def own(self, installation: Installation, left_behind: Workers) -> None:
        """Hold the lease, own what this host owned before and read what messaging keeps of it. ``left_behind`` loses
        what is another host's now. The id of the cluster is that of the ``installation``, which is marked. Raises
        ``DatabaseUnavailableError``, ``DatabaseUnknownError``; may be called again then."""
        cluster_id = installation.marked
        self._engine.belongs_to(installation)
        if self._duties.cluster_id not in {"", cluster_id}:
            # the daemon before had another database: nobody of this cluster sees the lease of its workers
            await self.host.end(gives_up=False)
        if self._duties.cluster_id != cluster_id:
            self._begin(cluster_id, adopts=None)
        await self.host.held()
        try:
            await self._engine.recognize()
        except DatabaseUnknownError:
            for _, process in left_behind:  # hosts of the other etcd may have their sessions
                process.kill()
            left_behind.clear()
            raise
        if self.owners.state is None:
            self.owners.begin(record.session for record, _ in left_behind)
        await self.owners.first()
        owned = self.owners.load
        mine = Workers()
        for record, process in left_behind:
            if record.session not in owned:
                process.kill()
            elif process.effort():  # it has not ended meanwhile
                mine.append((record, process))
        left_behind[:] = mine

    async def remember(self) -> None:
        """Have messaging read what it keeps of the sessions that are restored. Raises ``DatabaseUnavailableError``; may
        be called again then."""
        self._restored |= self.owners.pop_waiting()
        await self.owned.remember(self._restored & self.ownership.owned().keys())
        self._restored.clear()

    def open(self) -> None:
        """The restore has read its rows: from now on what is claimed is brought up as it comes."""
        self._is_open = True
        self.owners.open()

    def _credentials(self) -> Mapping[str, float]:
        shipping = self._supervisor.shipping
        return ages(shipping, self._clock.monotonic()) if shipping else {}

    def _begin(self, cluster_id: str, *, adopts: str | None) -> None:
        # first: where it cannot, all of this is tried again
        leases = self._engine.connect(cluster_id)
        self._duties.cluster_id = cluster_id
        self.host.begin(leases, adopts=adopts)

    async def lend_on(self) -> None:
        """From now on only their time is the workers' of this daemon, until ``close``: an end may take longer than what
        was lent to them, where the database hangs."""
        workers = self._config().paths.runtime / "workers"
        records = [record for _, record in read_records(workers)]
        company = greeted(
            records, instance=self._instance, after=0.0, again=GREETED_AGAIN, lending=self.lending
        )
        await self._company.enter_async_context(company)

    async def end(self) -> None:
        """Own nothing any more. Release the lease where nothing runs here; else leave it to the next daemon here, which
        goes on with the workers, or to its end. What only memory has is written before any wait."""
        await asyncio.to_thread(self._kept.save)
        await self.owners.end(releases=False)
        if self._stop.hands_over:
            self._lends_on = True
            return
        gives_up = self._is_open
        try:
            if gives_up:
                await self._duties.end_all()
        except (WaguardError, OSError) as error:
            gives_up = False
            logger.error("workers do not end", event="not_swept", why=one_line(error))
        await self.host.end(gives_up=gives_up)

    async def renew_last(self, *, store_is_open: bool) -> None:
        """Renew the lease that is left to the next daemon, as late as its engine answers: before the store is closed where
        it is in the database, else after that, which may take a while."""
        if self._lends_on and self._engine.is_the_database == store_is_open:
            await self.host.renew_last()

    async def close(self) -> None:
        """The last thing: from here on the next daemon renews and lends."""
        await self.renew_last(store_is_open=False)
        if self._lends_on:
            await self.host.end(gives_up=False)
        await self._company.aclose()

    async def release_all(self, within: float) -> None:
        """End all sessions in order, and leave them to the other hosts, for ``within`` seconds at most."""
        await self.owners.end(releases=True, within=within)


def _is_everybodys(key: bytes, host: HostKeeper) -> bool:
    peers = [it.record for it in host.view.peers.values()]
    return host.is_list_read and shared_settings.is_everybodys(key, peers)
