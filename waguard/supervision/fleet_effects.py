"""All sessions in the shell: what the fleet's decisions ask for, on its trail, in the log, on the bus."""

from collections.abc import Callable
from typing import assert_never

from loguru import logger

from waguard.core.fleet.facts import (
    BreakerChanged,
    CanaryStarted,
    FleetEffect,
    FleetOutage,
    HostRead,
)
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Reading, sessions_folder
from waguard.core.incidents.kinds import FLEET_ENDS, VERSION_NEWS
from waguard.ports.clock import Clock
from waguard.ports.store import AuditEntry, Store
from waguard.supervision.event_bus import Bus
from waguard.supervision.outages import Outages
from waguard.supervision.status_writer import AuditLog


class Fleet:
    """``trail.trail`` is run as a task by the owner. ``host`` and ``network`` are read now; ``paired``: whether
    some session that should run was once paired; ``write_retry``: see ``Timings``."""

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        clock: Clock,
        host: Callable[[], Reading],
        network: Callable[[], NetworkReading],
        paired: Callable[[], bool],
        write_retry: float,
    ) -> None:
        self._bus = bus
        self._host = host
        self._network = network
        self._paired = paired
        self.trail = AuditLog(None, store, clock, publish=self._publish, retry=write_retry)
        self.outages = Outages(self.trail)

    def read_host(self, *, network: bool) -> HostRead:
        """See ``mailbox.FleetActor``."""
        reached = self._network() if network else NetworkReading()
        return HostRead(left=self._host(), network=reached, paired=self._paired())

    @property
    def profiles_unknown(self) -> str | None:
        """Why it is unknown which profiles there are, read now; None: it is known."""
        return sessions_folder(self._host(), paired=self._paired())

    def perform(self, effect: FleetEffect) -> None:
        """See ``mailbox.FleetActor``."""
        match effect:
            case FleetOutage(kind, why, evidence):
                self.outages.update(kind, why, evidence)
            case BreakerChanged(opened, cause, sessions):
                kind = "fleet_breaker_opened" if opened else "fleet_breaker_closed"
                logger.log(
                    "ERROR" if opened else "WARNING",
                    kind.replace("_", " "),
                    event=kind,
                    condition="fleet_breaker_opened",
                    why=cause,
                    sessions=sessions,
                )
                self.trail.record(kind, reason=cause, evidence={"sessions": sessions})
            case CanaryStarted(session):
                logger.warning(
                    "fleet breaker: a canary is started", event="canary_started", session=session
                )
            case _:
                assert_never(effect)

    def _publish(self, entry: AuditEntry) -> None:
        if entry.kind not in {*FLEET_ENDS, *FLEET_ENDS.values(), *VERSION_NEWS}:
            return
        data = {"kind": entry.kind, "reason": entry.reason, **entry.evidence}
        self._bus.publish("incident", None, None, data)
