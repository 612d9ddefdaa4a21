"""A session as a value. What belongs to a worker lies in ``Worker`` and ends with it.

Times are monotonic seconds; nothing here ever changes, a new value takes its place.
"""

from collections.abc import Mapping
from enum import StrEnum, auto

from msgspec import Struct, field

from waguard.core.admission import Wait
from waguard.core.blame import Failure
from waguard.core.link import Link
from waguard.core.page_care import Kind, Step
from waguard.core.probe import Limits
from waguard.core.restart import RestartPolicy, Retries
from waguard.core.status import DerivedStatus, ParkCause


class Stage(StrEnum):
    """What its process is doing."""

    SPAWNING = auto()
    """No process yet."""
    ADOPTING = auto()
    """An earlier daemon's, not heard yet: the row keeps its word."""
    STARTING = auto()
    READY = auto()
    """Its page answers."""
    ENDING = auto()
    """It was asked to end."""


class Intent(StrEnum):
    """What is wanted. Together with ``Worker`` it says what is done next."""

    UP = auto()
    DOWN = auto()
    PARKED = auto()
    """Wanted up, and only a person can help."""


class Slot(StrEnum):
    """A start slot of the fleet."""

    FREE = auto()
    REQUESTED = auto()
    HELD = auto()


class Rules(Struct, frozen=True, kw_only=True):
    """The configuration, as far as decisions read it. Seconds."""

    restart: RestartPolicy = field(default_factory=RestartPolicy)
    stable_after: float = 300.0
    """Connected for so long: earlier failures are forgotten."""
    retry_parked: float = 300.0
    limits: Limits = field(default_factory=Limits)
    """Of silence, and of a start."""
    adopt: float = 5.0
    """The row keeps its word for so long while a worker is being adopted."""
    link_unknown: float = 30.0
    """The row keeps its word for so long while the link is unknown."""
    held_retry: float = 10.0
    """Between two tries of what the host holds up."""
    stop_grace: float = 12.0
    """From TERM to KILL; ``Browser.close`` has 5, TERM and KILL of its group follow."""
    takeover: bool = False


class FleetView(Struct, frozen=True, kw_only=True):
    """What concerns all sessions, as one of them needs to know it."""

    network_down: str | None = None
    network_unsure: bool = False
    """The network is away by what the sessions say, and the host does not say so."""
    network_since: float = 0.0
    """Since when the network is there."""
    breaker: str | None = None
    """Why starts wait for a canary; None: they do not."""


class Worker(Struct, frozen=True, kw_only=True):
    """One worker process and its page."""

    number: int
    stage: Stage
    since: float
    """When the stage began."""
    heard_at: float
    page_at: float
    """When the page last answered."""
    link_since: float
    code_at: float
    """When the newest QR code came."""
    adopted: bool = False
    outdated: bool = False
    """It speaks another protocol: it can only be greeted and replaced."""
    phase: str = ""
    link: Link = Link.UNKNOWN
    loads: int = -1
    code: str | None = None
    codes_ended: bool = False
    unrecoverable: bool = False
    unresponsive: str | None = None
    """Which layer is silent now, in words."""
    overdue: bool = False
    """The link has been unknown for too long for the row's old word."""
    planned: bool = False
    """Its end was: it is nobody's fault."""
    backfilled: int = -1
    """The load after which it was asked for what came in meanwhile."""
    details: str | None = None
    socket: str | None = None
    evidence: str | None = None
    refused: bool = False
    refusals: int = 0
    """Loads in a row that WhatsApp refused."""
    update_since: float | None = None
    """Since when the page offers a newer version of itself."""
    covered_since: float | None = None
    """Since when a dialog lies over the page."""
    passkey_until: float | None = None
    """Unix time."""
    passkey_ends: float = 0.0
    """The same in monotonic time."""


class Care(Struct, frozen=True, kw_only=True):
    """What was tried for the page, and what is known of it; it outlives the worker."""

    reloads: tuple[float, ...] = ()
    """For a newer version of the page."""
    idle_at: float = 0.0
    """When it may be asked again whether the session is idle."""
    tried: tuple[tuple[Link, Step], ...] = ()
    """Against a link that does not move, since it was last connected for long."""
    stepped_at: float = float("-inf")
    """When the last of them was taken, or a person was advised."""
    stuck_in: Link | None = None
    """The link that ``Kind.LINK_STUCK`` is about."""
    passkey_reloaded: float | None = None
    """The passkey's end for which the page was loaded anew."""
    found: Mapping[Kind, "Found"] = field(default_factory=dict)
    """Conditions that go on."""


class Found(Struct, frozen=True):
    """A condition of the page or of the message plane. Unix times, where they are known."""

    message: str
    at: float
    """Monotonic time at which it began here."""
    since: float | None = None
    until: float | None = None


class Replacement(Struct, frozen=True):
    """A planned end of a worker that works; it waits for a start slot first."""

    why: str | None
    """None: somebody outside asked for it, and knows why."""
    stuck: Link | None = None
    """It is for a link that does not move; one that moves meanwhile needs none."""


class SessionState(Struct, frozen=True, kw_only=True):
    """Everything that a decision about one session may read."""

    session: str
    status: DerivedStatus
    """As the row says, or will as soon as the database takes it."""
    begun: bool = False
    """Something was wanted of it since this daemon knows it; until then the row keeps its word."""
    rules: Rules = field(default_factory=Rules)
    intent: Intent = Intent.DOWN
    asked: bool = False
    """By somebody outside, and not by a restore or after a failure."""
    daemon_stopping: bool = False
    left: bool = False
    """It was logged out or deleted; its worker, if it still lives, is on its way out."""
    parked: ParkCause | None = None
    worker: Worker | None = None
    workers: int = 0
    """The number of the newest."""
    slot: Slot = Slot.FREE
    replacement: Replacement | None = None
    upgrading: bool = False
    """Its worker takes the place of one of another version: the next session waits until this one is up."""
    counted: tuple[float, ...] = ()
    """When the session's own failures were; they spend the restart budget."""
    spared: int = 0
    """Failures in a row that were WhatsApp's."""
    restarts: int = 0
    """Of its worker, unplanned, in all."""
    uncounted: bool = False
    """It failed while the breaker was open: its restart counts, and is on the trail, when it comes."""
    retries: Retries = field(default_factory=Retries)
    """Since its budget was spent."""
    not_before: float = 0.0
    """It does not start earlier."""
    failure: Failure | None = None
    """Why there is no worker, or why the last one ended."""
    held_back: Wait | None = None
    """Why it waits for its start slot."""
    since: float = 0.0
    """When ``failure`` or ``held_back`` began."""
    ended_at: float | None = None
    """When its last browser ended; None also where the kernel may have ended it for its memory."""
    recycled_at: float | None = None
    takeovers: tuple[float, ...] = ()
    care: Care = field(default_factory=Care)
    fleet: FleetView = field(default_factory=FleetView)
    phone: str | None = None
    """Digits of the linked number, by the worker or else by the row."""
    check_profile: bool = False
    """Nobody could see its profile: it is looked for before the spawn."""
    expects_qr: bool = False
    showed_code: bool = False
    """Somebody may have scanned it: it is not known yet which number is linked."""
    priority: int = 0
    active: float = 0.0
    """Unix time of its last activity."""
