"""The state of the fleet as a value: what concerns all sessions. Maps are replaced, never changed. Monotonic seconds."""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from waguard.core.backoff import NEVER
from waguard.core.fleet.breaker import Breaker
from waguard.core.fleet.facts import AcksSeen, FleetEffect, FleetOutage, FleetRules, HostRead
from waguard.core.host.admission import Broken, Cause
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.session.effects import RequestSlot
from waguard.core.session.facts import (
    FleetChanged,
    HeldBack,
    Noticed,
    ReloadRequested,
    RestartRequested,
    SlotGranted,
)
from waguard.core.session.state import FleetView


class Member(Struct, frozen=True):
    """A session, as the fleet sees it."""

    state: State
    link: Link
    link_since: float


class Request(Struct, frozen=True):
    """A session waits for a start slot."""

    asked_for: RequestSlot
    at: float
    reported: Cause | None = None
    """The cause that was last posted to the session."""
    ahead: bool = False
    """Whether its worker may be started all the same, as it was last posted."""


class Refused(Struct, frozen=True):
    """A page that WhatsApp did not serve."""

    why: str
    own: bool = False
    """Others were served: only this session is refused."""


class Release(Struct, frozen=True):
    """One session was served: the others request their pages, a few at a time."""

    left: tuple[str, ...]
    next_at: float
    ends_at: float
    """At the latest, where starts still wait."""
    served: int = 0
    refused: int = 0
    """Refusals of those that asked since."""


class WhatsApp(Struct, frozen=True, kw_only=True):
    """Which sessions WhatsApp refuses, and the one schedule by which they request their pages again."""

    why: str | None = None
    """Why nobody is served; None: others are, or nobody was refused."""
    refused: Mapping[str, Refused] = field(default_factory=dict)
    asking: frozenset[str] = frozenset()
    """They have requested their page, and the answer is not known yet."""
    asked_at: Mapping[str, float] = field(default_factory=dict)
    """When each session last requested its page."""
    asked_last: float = float("-inf")
    """When any session last did."""
    canary: str | None = None
    """The start that is next in the schedule."""
    tries: int = 0
    """Tries by the schedule, since the first refusal."""
    opinions: int = 0
    """Starts among them that were tried early, as a second opinion."""
    jitter: float = 0.0
    """For the pause from ``asked_last`` to the next try, in [0, 1)."""
    retry_at: float = float("-inf")
    """WhatsApp asks to wait until then."""
    release: Release | None = None


class AckOutage(Struct, frozen=True):
    """WhatsApp acknowledges nothing that is sent, or all pages throw."""

    kind: str
    began: float
    unhealthy: frozenset[str]
    """Whose sends were late, and may still be acknowledged."""


class FleetState(Struct, frozen=True, kw_only=True):
    """Everything that a decision about all sessions may read."""

    rules: FleetRules = field(default_factory=FleetRules)
    members: Mapping[str, Member] = field(default_factory=dict)
    waiting: Mapping[str, Request] = field(default_factory=dict)
    starting: frozenset[str] = frozenset()
    """Sessions that hold a start slot."""
    slow: str | None = None
    """The one session that is tried although it spent its restarts."""
    breaker: Breaker = field(default_factory=Breaker)
    broken: Broken | None = None
    """Set while Chromium does not start on any profile."""
    host: HostRead = field(default_factory=HostRead)
    host_at: float = float("-inf")
    """When the host was read."""
    network_down: str | None = None
    network_unsure: bool = False
    """The sessions show that the network is away, and the host does not confirm it."""
    network_at: float = 0.0
    """When the network came back."""
    whatsapp: WhatsApp = field(default_factory=WhatsApp)
    acks: Mapping[str, AcksSeen] = field(default_factory=dict)
    """Acks of sessions with late or recent ones."""
    ack_outage: AckOutage | None = None
    replaced: tuple[str, float] | None = None
    """The session whose worker was last replaced for missing acks, and when."""
    recycled_at: Mapping[str, float] = field(default_factory=dict)
    recycling: str | None = None
    """The session whose worker is being replaced because of its memory: one at a time."""
    memory_in_vain: Mapping[str, int] = field(default_factory=dict)
    """Bytes that a session used again soon after a replacement."""
    restarting: frozenset[str] = frozenset()
    """Sessions whose pages are loaded again and again."""
    proxied: frozenset[str] = frozenset()
    """Sessions behind proxies of their own: no witnesses of the host's network."""
    late: frozenset[str] = frozenset()
    """Sessions whose workers are late with their heartbeats."""
    outages: Mapping[str, str] = field(default_factory=dict)
    """Outages that go on: kind and words, as they were reported."""
    view: FleetView = field(default_factory=FleetView)
    closed: bool = False
    read_host_at: float = NEVER
    """When the host is to be read, and ``HostRead`` to be posted."""


def offline_for(fleet: FleetState, now: float) -> list[float]:
    """For each offline session that uses the host's own way: seconds since it lost WhatsApp."""
    return [
        now - member.link_since
        for name, member in fleet.members.items()
        if member.state is State.RUNNING
        and member.link is Link.OFFLINE
        and name not in fleet.proxied
    ]


def connected(fleet: FleetState) -> list[str]:
    """The sessions that are connected."""
    return [
        name
        for name, member in fleet.members.items()
        if member.state is State.RUNNING and member.link is Link.CONNECTED
    ]


def reached(fleet: FleetState) -> list[str]:
    """The sessions that are connected over the host's own way."""
    return [name for name in connected(fleet) if name not in fleet.proxied]


def many_late(fleet: FleetState) -> bool:
    """Whether so many workers are late together that the host is the likely cause: two, and a tenth of those that run.
    It is over when none is late any more: the last ones have waited the longest."""
    running = sum(it.state is State.RUNNING for it in fleet.members.values())
    least = 1 if fleet.view.many_late else max(2, running / 10)
    return len(fleet.late) >= least


def tried_and_wanted(fleet: FleetState) -> list[str]:
    """Sessions that should be up and have been tried: without those that wait for something else than a slot."""
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
    """Sessions that are starting or recycling: the outcome is not known yet."""
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
    """Report an outage (``why``), its words where they change, or its end (None)."""
    before = fleet.outages.get(kind)
    if why == before:
        return fleet
    rest = {name: it for name, it in fleet.outages.items() if name != kind}
    report(FleetOutage(kind, why))
    return replace(fleet, outages=rest if why is None else {**rest, kind: why})
