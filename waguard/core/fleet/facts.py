"""The facts that the fleet handles beside its sessions' effects, and its own effects. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from waguard.core.fleet.ack_watch import Late
from waguard.core.fleet.breaker import FleetPolicy
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Limits, Reading
from waguard.core.session.effects import ToFleet


class FleetRules(Struct, frozen=True, kw_only=True):
    """The configuration, as far as decisions about all sessions read it."""

    limits: Limits = Limits(
        places=2, session_memory=200 << 20, memory_reserve=300 << 20, memory_pressure=20.0
    )
    breaker: FleetPolicy = FleetPolicy()
    threshold: float = 0.5
    """Share of the offline sessions that lost WhatsApp at once when the network is away."""
    watch_network: bool = True
    ack_limit: float = 60.0
    """Seconds."""
    memory_limit: int = 0
    """Bytes of one session; 0: none."""


class HostRead(Struct, frozen=True, kw_only=True):
    """The host was read, once for all sessions, so that none of them has to fail first."""

    left: Reading = Reading()
    network: NetworkReading = NetworkReading()
    paired: bool = False
    """Some session that should run was once paired: the folder of all profiles cannot be empty."""


class AcksSeen(Struct, frozen=True, kw_only=True):
    """The state of a session's sends and their acks."""

    late: Late | None = None
    curable: Late | None = None
    """The late sends after which the worker has not been replaced yet."""
    overdue: bool = False
    """An ack is late, and the page has perhaps not confirmed that yet."""
    acked_at: float | None = None
    """When one of its sends was acknowledged last."""
    in_vain: bool = False
    on_trial: bool = False
    """The worker was replaced for missing acks, and it is not known yet whether that helped."""
    busy: bool = False
    """A call is under way."""
    versions_decide: bool = False
    """The decision about versions loads it again for that: nobody else does."""
    other_arm: bool = False
    """The session is to have another version or wa-js than all: its acks say nothing of theirs."""


class Measured(Struct, frozen=True, kw_only=True):
    """The memory that a session and its browser use, in bytes; ``idle``: seconds, None: a call is under way.
    ``transferring``: a large file is on its way, for which Chromium needs several times its size."""

    memory: int
    idle: float | None
    transferring: bool = False


class Forgotten(Struct, frozen=True):
    """The session was removed."""


class Closing(Struct, frozen=True):
    """The daemon stops: nobody is started any more."""


class FleetRulesChanged(Struct, frozen=True):
    """The configuration was read again."""

    rules: FleetRules


FleetFact = ToFleet | HostRead | AcksSeen | Measured | Forgotten | Closing | FleetRulesChanged


class FleetOutage(Struct, frozen=True):
    """An outage of all sessions (a key of ``incidents.FLEET_ENDS``) begins, or is over (``why`` None)."""

    kind: str
    why: str | None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class BreakerChanged(Struct, frozen=True):
    """The breaker opened, or closed."""

    opened: bool
    cause: str
    sessions: tuple[str, ...]


class CanaryStarted(Struct, frozen=True):
    """One session is tried while the others wait."""

    session: str


FleetEffect = FleetOutage | BreakerChanged | CanaryStarted
