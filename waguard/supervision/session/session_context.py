"""What every session shares."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from waguard.config.sections import Config
from waguard.core.metrics.tally import Tally
from waguard.core.session.restart import Remembered
from waguard.ports.clock import Ages, Clock
from waguard.ports.inbox import Inbox
from waguard.ports.messages import SessionMessages
from waguard.ports.process import Browsers, Meter, Spawn, Witness
from waguard.ports.store import Store
from waguard.supervision.event_bus import Bus
from waguard.supervision.fleet_effects import Fleet
from waguard.supervision.heartbeats import Heartbeats
from waguard.supervision.mailbox import Mailbox
from waguard.supervision.proxy_records import ProxyRecords
from waguard.supervision.timings import Timings
from waguard.supervision.versions.observer import VersionObserver

if TYPE_CHECKING:
    from waguard.ports.cluster import Ownership
    from waguard.supervision.shipping.credential_shipping import CredentialShipping


class SessionContext(Struct, frozen=True, kw_only=True):
    """``config`` is read at each use: a reload reaches all."""

    config: Callable[[], Config]
    instance: str
    store: Store
    inbox: Inbox
    messages: SessionMessages
    spawn: Spawn
    bus: Bus
    clock: Clock
    ages: Ages
    fleet: Fleet
    heartbeats: Heartbeats
    mailbox: Mailbox
    versions: VersionObserver
    meter: Meter
    witness: Witness
    browsers: Browsers
    timings: Timings
    tally: Tally
    remembered: Callable[[], Mapping[str, Remembered]]
    """What is remembered of sessions' restarts, from the daemon before this one."""
    lent_until: Callable[[], float | None]
    """Until when workers may live, seconds by CLOCK_BOOTTIME; None: forever."""
    shipping: "CredentialShipping | None"
    """Ships credentials to other hosts, and lays them down; None: they are not shared."""
    ownership: "Ownership | None"
    """Which sessions are this host's; None: all."""
    proxies: ProxyRecords
    abandon: Callable[[str, str], Awaitable[None]]
    """Fails all that waits to be sent by a session, for that reason; raises as ``Outbox.abandon``."""
    cpu_is_saturated: Callable[[], bool]
    """Whether the machine has more to do than it can."""

    def owns(self, session: str) -> bool:
        """Whether this host may run it now."""
        return self.ownership is None or self.ownership.epoch(session) is not None
