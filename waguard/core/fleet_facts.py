"""What the fleet hears beside its sessions' own effects, and what it has the shell do. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from waguard.core.ack_watch import Late
from waguard.core.admission import Limits, Reading
from waguard.core.breaker import FleetPolicy
from waguard.core.effects import ToFleet
from waguard.core.network import Reading as NetworkReading


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
    """The host, read once for all: a session does not find out by failing."""

    left: Reading = Reading()
    network: NetworkReading = NetworkReading()
    paired: bool = False
    """Some session that should run was once paired: the folder of all profiles is not empty."""


class AcksSeen(Struct, frozen=True, kw_only=True):
    """How a session's sends stand with WhatsApp's acks."""

    late: Late | None = None
    curable: Late | None = None
    """Those that no replacement has met yet."""
    overdue: bool = False
    """Also where the page has not confirmed it yet."""
    acked_at: float | None = None
    in_vain: bool = False
    on_trial: bool = False
    """Its worker was replaced for that, and it is not known yet whether it helped."""
    busy: bool = False
    """A call is under way."""


class Measured(Struct, frozen=True, kw_only=True):
    """What a session with its browser uses. Bytes; ``idle``: seconds, None: a call is under way."""

    memory: int
    idle: float | None


class Forgotten(Struct, frozen=True):
    """The session is no more."""


class Closing(Struct, frozen=True):
    """The daemon stops: who waits for a start waits in vain."""


class FleetRulesChanged(Struct, frozen=True):
    """The configuration was read anew."""

    rules: FleetRules


FleetFact = ToFleet | HostRead | AcksSeen | Measured | Forgotten | Closing | FleetRulesChanged


class FleetOutage(Struct, frozen=True):
    """What concerns all sessions (kinds of ``incidents.FLEET_ENDS``) begins, or is over (``why`` None)."""

    kind: str
    why: str | None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class BreakerChanged(Struct, frozen=True):
    """It opened, or closed."""

    opened: bool
    cause: str
    sessions: tuple[str, ...]


class CanaryStarted(Struct, frozen=True):
    """One session is tried while the others wait."""

    session: str


FleetEffect = FleetOutage | BreakerChanged | CanaryStarted
