"""What concerns all sessions, as a value. Maps are replaced, never changed. Monotonic seconds."""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from waguard.core.admission import Broken, Cause
from waguard.core.breaker import Breaker
from waguard.core.effects import RequestSlot
from waguard.core.facts import (
    FleetChanged,
    HeldBack,
    Noticed,
    ReloadRequested,
    RestartRequested,
    SlotGranted,
)
from waguard.core.fleet_facts import AcksSeen, FleetEffect, FleetOutage, FleetRules, HostRead
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.state import FleetView

NEVER = float("inf")


class Member(Struct, frozen=True):
    """A session, as the fleet sees it."""

    state: State
    link: Link
    link_since: float


class Request(Struct, frozen=True):
    """Who waits for a slot."""

    asked_for: RequestSlot
    at: float
    reported: Cause | None = None
    """Why it waits, as it was told last."""


class Refused(Struct, frozen=True):
    """A page that WhatsApp did not serve."""

    why: str
    own: bool = False
    """Others were served: it is of this session alone."""


class Release(Struct, frozen=True):
    """One was served: the others ask, a few at a time."""

    left: tuple[str, ...]
    next_at: float
    served: int = 0
    refused: int = 0
    """Of those that asked since."""


class WhatsApp(Struct, frozen=True, kw_only=True):
    """Who is not served, and the one schedule by which they ask."""

    why: str | None = None
    """Why nobody is served; None: others are, or nobody was refused."""
    refused: Mapping[str, Refused] = field(default_factory=dict)
    asking: frozenset[str] = frozenset()
    """What they are answered is not known yet."""
    asked_at: Mapping[str, float] = field(default_factory=dict)
    """When each asked last."""
    asked_last: float = float("-inf")
    """When any did."""
    canary: str | None = None
    """The start whose turn it is."""
    tries: int = 0
    """By the schedule, since the first was refused."""
    opinions: int = 0
    """Starts among them."""
    jitter: float = 0.0
    """Of the pause from ``asked_last`` to the next try."""
    retry_at: float = float("-inf")
    """WhatsApp asks to wait until then."""
    release: Release | None = None


class FleetState(Struct, frozen=True, kw_only=True):
    """Everything that a decision about all sessions may read."""

    rules: FleetRules = field(default_factory=FleetRules)
    members: Mapping[str, Member] = field(default_factory=dict)
    waiting: Mapping[str, Request] = field(default_factory=dict)
    starting: frozenset[str] = frozenset()
    """They hold a slot."""
    slow: str | None = None
    """The one session that is tried although it spent its restarts."""
    breaker: Breaker = field(default_factory=Breaker)
    broken: Broken | None = None
    """A Chromium that starts for nobody."""
    host: HostRead = field(default_factory=HostRead)
    host_at: float = float("-inf")
    """When it was read."""
    network_down: str | None = None
    network_unsure: bool = False
    """It is away by what the sessions say, and the host does not say so."""
    network_at: float = 0.0
    """When the network came."""
    whatsapp: WhatsApp = field(default_factory=WhatsApp)
    acks: Mapping[str, AcksSeen] = field(default_factory=dict)
    """Of connected sessions that have something to say."""
    replaced: tuple[str, float] | None = None
    """Who was replaced last for missing acks, and when."""
    recycled_at: Mapping[str, float] = field(default_factory=dict)
    recycling: str | None = None
    """Who is being replaced for its memory: one at a time."""
    memory_in_vain: Mapping[str, int] = field(default_factory=dict)
    """Bytes that a session used again a moment after a replacement."""
    outages: Mapping[str, str] = field(default_factory=dict)
    """What goes on, as it was reported."""
    view: FleetView = field(default_factory=FleetView)
    closed: bool = False
    read_host_at: float = NEVER
    """When the host is to be read, and ``HostRead`` to be posted."""


def offline_for(fleet: FleetState, now: float) -> list[float]:
    """Seconds since each running session that is so lost WhatsApp."""
    return [
        now - member.link_since
        for member in fleet.members.values()
        if member.state is State.RUNNING and member.link is Link.OFFLINE
    ]


def connected(fleet: FleetState) -> list[str]:
    """Who is."""
    return [
        name
        for name, member in fleet.members.items()
        if member.state is State.RUNNING and member.link is Link.CONNECTED
    ]


def tried_and_wanted(fleet: FleetState) -> list[str]:
    """Sessions that should be up and are not held up, or failed a moment ago and wait only for a slot."""
    failed = {known.session for known in fleet.breaker.failures}
    held = {
        name
        for name, request in fleet.waiting.items()
        if name not in failed or request.reported not in {None, Cause.PLACE, Cause.FLEET}
    }
    return [
        name
        for name, member in fleet.members.items()
        if member.state in WANTED_UP and name not in held
    ]


def under_way(fleet: FleetState) -> list[str]:
    """On their way up, or on their way down: how that ends is not known yet."""
    return [
        name
        for name, member in fleet.members.items()
        if name not in fleet.waiting and _is_under_way(member)
    ]


def _is_under_way(member: Member) -> bool:
    if member.state is State.RUNNING:
        return member.link is Link.UNKNOWN
    return member.state in {State.STARTING, State.RECYCLING}


ToSession = SlotGranted | HeldBack | FleetChanged | RestartRequested | ReloadRequested | Noticed
Post = Callable[[tuple[str, ToSession]], None]
Report = Callable[[FleetEffect], None]


def report_outage(fleet: FleetState, kind: str, why: str | None, report: Report) -> FleetState:
    """Only its beginning and its end are news."""
    before = fleet.outages.get(kind)
    if why == before:
        return fleet
    rest = {name: it for name, it in fleet.outages.items() if name != kind}
    if (why is None) is not (before is None):
        report(FleetOutage(kind, why))
    return replace(fleet, outages=rest if why is None else {**rest, kind: why})
