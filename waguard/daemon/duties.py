"""What this host's lease means for what runs here: lent to workers, closed, killed, swept."""

import asyncio
import secrets
from collections.abc import Callable, Mapping

from waguard import __version__
from waguard.config.sections import Config
from waguard.core.cluster.conditions import own_conditions
from waguard.core.cluster.records import FORMAT, HostRecord
from waguard.daemon.lending import lend
from waguard.daemon.stop_request import StopRequest
from waguard.errors import InstanceHeldError
from waguard.host.memory import incarnation_file
from waguard.messaging.alerts.alerts import Alerts
from waguard.ports.process import Spawn
from waguard.supervision.cluster.host_start import HostStart
from waguard.supervision.cluster.owner_keeper import OwnerKeeper
from waguard.supervision.cluster.session_use import SessionUse
from waguard.supervision.cluster.sweeping import end_all
from waguard.supervision.session.greeting import Lending
from waguard.supervision.supervisor import Supervisor


class Duties:
    """Fills ``host_duties.HostDuties``. ``parts`` are asked for at each use: they are made later."""

    def __init__(
        self,
        config: Callable[[], Config],
        stop: StopRequest,
        spawn: Spawn,
        use: SessionUse,
        start: HostStart,
        parts: Callable[[], tuple[Supervisor, OwnerKeeper, Alerts]],
        compared: Callable[[], Mapping[str, str]],
    ) -> None:
        self._config = config
        self._stop = stop
        self._spawn = spawn
        self._use = use
        self._start = start
        self._parts = parts
        self.settings = compared
        """See ``host_duties.HostDuties``."""
        self.cluster_id = ""
        self.lending = Lending()
        """For workers that an earlier daemon left, until they are their sessions'."""

    def record(self, incarnation: str, number: int) -> HostRecord:
        """See ``host_duties.HostDuties``."""
        settings, (supervisor, owners, alerts) = self._config().cluster, self._parts()
        load = owners.load
        return HostRecord(
            format=FORMAT,
            host=settings.host,
            incarnation=incarnation,
            number=number,
            alive=True,
            address=settings.address,
            version=__version__,
            room=self._use.room(load),
            owned=len(load),
            drain=owners.drained or self._stop.requested,
            lasts=settings.lasts,
            start=self._start(),
            conditions=own_conditions(supervisor.fleet.outages.conditions),
            alerts=alerts.can_send,
            settings=self.settings(),
        )

    def lend(self, until: float) -> None:
        """See ``host_duties.HostDuties``."""
        supervisor, owners, _ = self._parts()
        self.lending.lend(until)
        lend(supervisor, lends=True, closes=owners.is_closing)

    def close_all(self) -> None:
        """See ``host_duties.HostDuties``."""
        self._parts()[1].close_all()

    def kill_all(self) -> None:
        """See ``host_duties.HostDuties``."""
        self._parts()[0].kill()

    async def sweep(self) -> str:
        """See ``host_duties.HostDuties``."""
        await self.end_all()
        runtime, host = self._config().paths.runtime, self._config().cluster.host
        incarnation = secrets.token_hex(16)
        await asyncio.to_thread(incarnation_file.write, runtime, self.cluster_id, host, incarnation)
        return incarnation

    async def end_all(self) -> None:
        """Return when no worker of this host runs. Raises ``UnavailableError``."""
        paths, sessions = self._config().paths, self._parts()[0].registry.sessions
        started = [it.runner.process for it in sessions if it.runner.process]
        await end_all(self._spawn, started, runtime=paths.runtime, sessions=paths.sessions)

    def exit(self, why: str) -> None:
        """See ``host_duties.HostDuties``."""
        remedy = "use another `cluster.host` for one of the two"
        self._stop.lose_database(InstanceHeldError(why, field="cluster.host", remedy=remedy))
