"""What sessions, messages and the API stand on: time, network, host, bus, database, journal."""

import asyncio
from collections.abc import Collection, Sequence

from waguard.core.metrics.tally import Tally
from waguard.daemon.reload import CurrentConfig
from waguard.daemon.restored import RestoredInstallation
from waguard.host.clock import SystemClock
from waguard.host.files.media import MediaFolder
from waguard.host.memory.history_file import HistoryFile
from waguard.host.memory.lived import LivedTime
from waguard.host.system.browsers import Browsers
from waguard.host.system.conditions import HostConditions
from waguard.host.system.network import Network
from waguard.messaging.deferred_files import DeferredFiles
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.outbox.outgoing_files import OutgoingFiles
from waguard.messaging.stored import StoredMessages
from waguard.messaging.webhooks.receiver_table import ReceiverTable
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.sessions import Sessions
from waguard.ports.store import AuditEntry
from waguard.profile.layout import temporary
from waguard.store.sql import SqlStore
from waguard.supervision.event_bus import Bus
from waguard.supervision.status_writer import AuditLog
from waguard.supervision.supervisor import Supervisor
from waguard.supervision.timings import Timings


class Foundation:
    """The first to be there and the last to be closed. ``public_url`` is of the API."""

    def __init__(self, config: CurrentConfig, timings: Timings, *, public_url: str) -> None:
        self.config = config
        self._public_url = public_url
        paths = config().paths
        self.host = HostConditions()
        self.browsers = Browsers(config, temporary(paths.runtime, "-").parent)
        self.clock = SystemClock()
        self.ages = LivedTime(paths.state, self.clock)
        self.history = HistoryFile(paths.state, self.clock)
        self.history.load()
        self.media = MediaFolder(paths.state / "media", reserve=self._disk_reserve)
        outgoing = MediaFolder(paths.state / "outgoing", reserve=self._disk_reserve)
        for folder in (self.media, outgoing):
            folder.sweep()
        self.bus = Bus(self.clock)
        self.tally = Tally()
        others = config().lease.standby or self.in_cluster
        self.store = SqlStore(config().database.url, standby=others)
        self.outgoing = OutgoingFiles(outgoing, config, self.store.outbox.files_awaited, self.ages)
        self.fetcher = Fetcher(lambda: config().send, files=self.outgoing)
        self.network = Network(lambda: config().whatsapp.url, lambda: config().browser.extra_args)
        self.restored = RestoredInstallation(
            paths.state, uses_lookup=lambda: self.config().webhook.stored is not None
        )
        self.journal = Journal(
            self.store.messages,
            self.media,
            base=public_url,
            for_global=self._for_global,
            publish=self.bus.publish,
            barred=lambda: self.store.barred,
            marked=self.restored.marked,
            tally=self.tally,
        )
        self.stored = StoredMessages(
            self.store.stored, lambda: self.config().webhook.stored, self.clock
        )
        self.changes = AuditLog(
            None, self.store, self.clock, publish=self._publish, retry=timings.write_retry
        )
        self._last_write = timings.last_write
        self._trail = asyncio.create_task(self.changes.trail(), name="trail of changes")

    @property
    def in_cluster(self) -> bool:
        """Whether this host is one of several."""
        return self.config().cluster.engine != "none"

    def webhooks(self, supervisor: Supervisor, secrets: Sequence[bytes]) -> Webhooks:
        """What delivers to the application, signed with ``secrets``."""
        table = ReceiverTable(
            self.stored,
            self.store.accounts,
            supervisor.account_rows,
            self.clock,
            expect_ready=lambda session_id: webhooks.expect_ready(session_id),  # noqa: PLW0108 - it is made below
        )
        webhooks = Webhooks(
            self.journal,
            lambda: self.config().webhook,
            secrets,
            instance_url=self._public_url,
            connection=supervisor.health.connection,
            ages=self.ages,
            table=table,
            tally=self.tally,
            in_cluster=self.in_cluster,
        )
        return webhooks

    def deferred_files(self, sessions: Sessions) -> DeferredFiles:
        """What fetches files after their messages."""
        return DeferredFiles(
            sessions,
            self.journal,
            self.media,
            self.config,
            self.ages,
            threads=self.outgoing.threads,
            base=self._public_url,
            in_cluster=self.in_cluster,
        )

    async def end_calls(self) -> None:
        """Before the API ends: who listens to the bus is let go, and nobody asks the network."""
        self.bus.close()
        await self.network.close()

    async def close(self) -> None:
        """After the API has ended: nothing uses the database any more."""
        self.outgoing.close()
        await self.changes.flush(self._last_write)
        self._trail.cancel()
        await asyncio.gather(self._trail, return_exceptions=True)
        await self.store.close()
        self.ages.save()

    def _publish(self, it: AuditEntry) -> None:
        about = {"by": it.reason, "route": it.before, "outcome": it.after}
        self.bus.publish("change", it.session_id, None, about)

    def _disk_reserve(self) -> int:
        return self.config().limits.disk_reserve << 20

    def _for_global(self) -> Collection[str]:
        webhook = self.config().webhook
        return webhook.events if webhook.url is not None else ()
