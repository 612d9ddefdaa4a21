"""The state of a session as a value. What belongs to a worker is in ``Worker``, and ends with it.

Times are monotonic seconds. Values never change; each decision makes a new one.
"""

from collections.abc import Mapping
from enum import StrEnum, auto

from msgspec import Struct, field

from waguard.core.backoff import NEVER
from waguard.core.blame import Failure
from waguard.core.host.admission import Wait
from waguard.core.link import Link
from waguard.core.page_care import Kind, Step
from waguard.core.passkey_link import PasskeyLink
from waguard.core.phone_number import number_of
from waguard.core.proxy import FAILS
from waguard.core.row_status import DerivedStatus, ParkCause
from waguard.core.session.probe import Limits
from waguard.core.session.restart import RestartPolicy, Retries


class Stage(StrEnum):
    """What the session's worker does."""

    SPAWNING = auto()
    """No process yet."""
    ADOPTING = auto()
    """An earlier daemon's worker that has not reported yet: the row stays as it is."""
    STARTING = auto()
    READY = auto()
    """The page answers."""
    ENDING = auto()
    """The worker's end was requested."""


class Intent(StrEnum):
    """What is wanted. Intent and ``Worker`` together decide the next step."""

    UP = auto()
    DOWN = auto()
    PARKED = auto()
    """The session is wanted up, and only a person can help."""


class Slot(StrEnum):
    """The session's start slot."""

    FREE = auto()
    REQUESTED = auto()
    HELD = auto()


class Rules(Struct, frozen=True, kw_only=True):
    """The configuration, as far as decisions read it. Seconds."""

    restart: RestartPolicy = field(default_factory=RestartPolicy)
    stable_after: float = 300.0
    """Connected for so long: earlier failures are forgotten."""
    retry_parked: float = 300.0
    """As long as the period in which restarts count: a try begins with a whole budget."""
    limits: Limits = field(default_factory=Limits)
    """For a start, and for layers that do not answer."""
    adopt: float = 5.0
    """For so long the row stays as it is while a worker is being adopted."""
    link_unknown: float = 30.0
    """For so long the row stays as it is while the link is unknown."""
    held_retry: float = 10.0
    """From a failure that is the host's fault to the next try."""
    stop_grace: float = 12.0
    """From TERM to KILL; ``Browser.close`` has 5, TERM and KILL of its group follow."""
    answer: float = 1.0
    """From TERM to the answer that it closes, by a worker that has nothing else to do."""
    takeover: bool = False


class FleetView(Struct, frozen=True, kw_only=True):
    """What concerns all sessions, as one of them needs to know it."""

    network_down: str | None = None
    network_unsure: bool = False
    """The sessions show that the network is away, and the host does not confirm it."""
    network_since: float = 0.0
    """Since when the network is there."""
    pages_restart: str | None = None
    """Why pages that are loaded again and again are WhatsApp's fault; None: they are their sessions'."""
    breaker: str | None = None
    """Why starts wait for a canary; None: the breaker is closed."""
    browser_broken: bool = False
    """Chromium starts for nobody, or it is not yet known to start again."""
    many_late: bool = False
    """Many workers are late with their heartbeats together."""


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
    """The worker speaks another protocol: it can only be greeted and replaced."""
    waits: bool = False
    """The worker waits for the session's start slot, and has no Chromium yet."""
    phase: str = ""
    link: Link = Link.UNKNOWN
    loads: int = -1
    in_use: bool = False
    """The page has shown a link since it was loaded: a load that follows is the page's own, unless it is asked for."""
    scripts_ended: int = 0
    """How often its page's script was ended."""
    code: str | None = None
    codes_ended: bool = False
    unrecoverable: bool = False
    unresponsive: str | None = None
    """Which layer does not answer now, in words."""
    late: bool = False
    """The worker itself does not answer: its heartbeat is late."""
    overdue: bool = False
    """The link has been unknown for too long: the row's status is not credible any more."""
    answer_at: float = NEVER
    """When to check whether the worker answered that it closes; ``NEVER``: nothing is expected of it."""
    planned: bool = False
    """The worker's end is planned, and nobody's fault."""
    backfilled: int = -1
    """The load after which a backfill was last requested."""
    details: str | None = None
    socket: str | None = None
    evidence: str | None = None
    refused: bool = False
    refusals: int = 0
    """Loads in a row that WhatsApp refused."""
    update_since: float | None = None
    """Since when the page offers a newer version of itself."""
    covered_since: float | None = None
    """Since when a dialog covers the page."""
    flooded_since: float | None = None
    """Since when the page reports more than it may."""
    passkey: PasskeyLink | None = None
    """A linking that needs the account's passkey."""
    passkey_ends: float = 0.0
    """When its stage ends."""

    @property
    def closing(self) -> bool:
        """Whether the worker says that it closes: its browser writes the profile now."""
        return self.phase == "closing"


class Care(Struct, frozen=True, kw_only=True):
    """The steps tried for the page, and its conditions; this outlives the worker."""

    reloads: tuple[float, ...] = ()
    """When it was reloaded for a newer version of the page."""
    idle_at: float = 0.0
    """When to read again whether the session is idle."""
    tried: tuple[tuple[Link, Step], ...] = ()
    """Steps against a stuck link, since the session was last connected for ``LINK_STABLE``."""
    stepped_at: float = float("-inf")
    """When the last of them was taken, or the condition began."""
    stuck_in: Link | None = None
    """The link that ``Kind.LINK_STUCK`` is about."""
    loads: tuple[float, ...] = ()
    """When its page was loaded although nobody asked for that, since its worker was ended for it."""
    scripts: int = 0
    """How many of them followed on the end of its script."""
    page_ends: int = 0
    """How many workers in a row were ended for such loads."""
    passkey_reloaded: float | None = None
    """The end of the passkey's time after which the page was reloaded."""
    found: Mapping[Kind, "Found"] = field(default_factory=dict)
    """Conditions that go on."""


class Found(Struct, frozen=True):
    """A condition of the page or of the session's messages. ``since`` and ``until``: unix times; None: unknown."""

    message: str
    at: float
    """Monotonic time at which it began here."""
    since: float | None = None
    until: float | None = None


class Pairing(Struct, frozen=True, kw_only=True):
    """What is known of the link between the session's account and this device."""

    made: bool = False
    """The session was connected since it was made, logged out or deleted here."""
    lost_at: float | None = None
    """Since when the page waits for a scan all the same."""
    said: str | None = None
    """WhatsApp's word for why it unlinked it."""


class Replacement(Struct, frozen=True):
    """A planned replacement of a worker that works; it waits for a start slot first."""

    why: str | None
    """None: a person or the application requested it."""
    stuck: Link | None = None
    """The stuck link that it is to cure; it is cancelled if the link moves meanwhile."""
    urgent: bool = False
    """As ``RestartRequested``'s."""


class SessionState(Struct, frozen=True, kw_only=True):
    """Everything that a decision about one session may read."""

    session: str
    status: DerivedStatus
    """The status in the row, or on its way to the row."""
    begun: bool = False
    """This daemon got a request about it or adopted its worker; until then the row stays as it is."""
    rules: Rules = field(default_factory=Rules)
    intent: Intent = Intent.DOWN
    asked: bool = False
    """A person or the application requested the start; False: a restore, or a restart after a failure."""
    daemon_stopping: bool = False
    moves: bool = False
    """With ``daemon_stopping``: to another host, and the daemon itself goes on."""
    left: bool = False
    """The session was logged out or deleted; its worker, if it still lives, is ending."""
    parked: ParkCause | None = None
    """Why only a person can help; it counts with ``Intent.PARKED`` only."""
    worker: Worker | None = None
    workers: int = 0
    """The number of the newest worker."""
    slot: Slot = Slot.FREE
    replacement: Replacement | None = None
    upgrading: bool = False
    """The worker replaces one of another version: it keeps its start slot until its link is known."""
    counted: tuple[float, ...] = ()
    """When the failures were that spend the restart budget: the session's own."""
    spared: int = 0
    """Failures in a row that spend no budget."""
    restarts: int = 0
    """All unplanned restarts of its worker."""
    uncounted: bool = False
    """The session failed while the breaker was open: its restart is counted and recorded when it happens."""
    retries: Retries = field(default_factory=Retries)
    """Tries since its budget was spent."""
    not_before: float = 0.0
    """The session does not start earlier."""
    failure: Failure | None = None
    """Why there is no worker, or why the last one ended."""
    held_back: Wait | None = None
    """Why it waits for its start slot."""
    since: float = 0.0
    """When ``failure`` or ``held_back`` began."""
    ended_at: float | None = None
    """When its last browser ended; None also where the kernel may have killed it because of its memory."""
    recycled_at: float | None = None
    takeovers: tuple[float, ...] = ()
    care: Care = field(default_factory=Care)
    fleet: FleetView = field(default_factory=FleetView)
    phone: str | None = None
    """The linked number: digits from the worker, or else as the row writes it."""
    check_profile: bool = False
    """Whether its profile exists is unknown: that is checked before the spawn."""
    expects_qr: bool = False
    pairing: Pairing = field(default_factory=Pairing)
    proxied: bool = False
    """The session goes through a proxy of its own: what the host reaches says nothing of it."""
    showed_code: bool = False
    """Somebody may have scanned the code: it is not known yet which number is linked."""
    priority: int = 0
    active: float = 0.0
    """Unix time of its last activity."""

    @property
    def number(self) -> str | None:
        """Digits of the linked number."""
        return number_of(self.phone)

    @property
    def network_down(self) -> str | None:
        """Why nothing leads to WhatsApp: the network of all is away, or the session's own proxy fails."""
        if not self.proxied:
            return self.fleet.network_down
        worker = self.worker
        why = worker.details if worker and worker.link is Link.OFFLINE else None
        return why if why and why.startswith(FAILS) else None

    @property
    def network_unsure(self) -> bool:
        """Whether only the sessions show that the network of all is away."""
        return self.fleet.network_unsure and not self.proxied
