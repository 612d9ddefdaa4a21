"""What a session hears of. Past tense: it happened; ``...Requested``: somebody outside asked for it.

A fact about a worker carries the worker's number: what an earlier worker said last is dropped.
Times are monotonic seconds.
"""

from msgspec import Struct

from waguard.core.admission import Wait
from waguard.core.blame import Failure
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.state import FleetView, Rules
from waguard.core.status import ParkCause


class Moment(Struct, frozen=True):
    """Time and chance. ``at``: monotonic seconds; ``chance``: uniform in [0, 1)."""

    at: float
    chance: float = 0.5
    wall: float = 0.0
    """Unix time, for what people read."""


class WorkerFact(Struct, frozen=True, kw_only=True):
    """About the worker with this number."""

    worker: int


class Spawned(WorkerFact, frozen=True, kw_only=True):
    """Its process runs."""


class SpawnFailed(WorkerFact, frozen=True, kw_only=True):
    """It never ran."""

    failure: Failure


class Reported(WorkerFact, frozen=True, kw_only=True):
    """Its whole state, on greeting and on every change."""

    at: float
    phase: str
    """launching, loading, settling, ready or closing."""
    link: Link
    phone: str | None = None
    code: str | None = None
    """The QR code on the screen."""
    codes_ended: bool = False
    """WhatsApp shows no more codes: nobody scanned."""
    loads: int = 0
    """How often the page was loaded: what came in meanwhile raised no event."""
    details: str | None = None
    socket: str | None = None
    """WhatsApp's words for its socket and its stream."""
    update_offered: bool = False
    covered: bool = False
    """A dialog lies over the page."""
    passkey_until: float | None = None
    """Unix time until which the account's passkey can be shown."""
    passkey_left: float = 0.0
    """Seconds until then."""
    refused: bool = False
    """WhatsApp does not serve its page; ``details`` has what it does instead."""
    refusals: int = 0
    """Loads in a row that WhatsApp refused."""
    retry_after: float = 0.0
    """Seconds that WhatsApp asks to wait."""
    evidence: str | None = None
    """Of a page that does not answer."""
    other_version: bool = False
    """Its next load gets it another version of WhatsApp's page."""


class Beat(WorkerFact, frozen=True, kw_only=True):
    """Heard at ``at``, when it was read; ``page_at``: the page's last answer, None: none came since."""

    at: float
    page_at: float | None = None
    unrecoverable: bool = False
    """The page is silent, nothing more can be done for it, and it does not only wait for a core."""


class Exited(WorkerFact, frozen=True, kw_only=True):
    """Worker and browser are gone. ``details``: the worker's own last words for it."""

    code: int | None
    details: str | None = None


class Stopped(WorkerFact, frozen=True, kw_only=True):
    """It stands still (SIGSTOP)."""


class Unusable(WorkerFact, frozen=True, kw_only=True):
    """Nothing can be done with it: it does not listen, or what it says is no protocol."""

    why: str


class Adopted(Struct, frozen=True, kw_only=True):
    """An earlier daemon's worker lives. ``outdated``: it speaks another protocol."""

    outdated: bool = False


class StartRequested(Struct, frozen=True, kw_only=True):
    """Want it up. ``asked``: by somebody outside, whom neither backoff nor breaker hold up."""

    asked: bool = True
    restart: bool = False
    """Also replace a living worker, which counts as no crash."""
    expects_qr: bool = False
    """It has no credentials: a QR code is what comes next."""
    profile_unknown: bool = False
    """Nobody could see whether its profile is there."""


class StopRequested(Struct, frozen=True, kw_only=True):
    """Want it down. ``daemon_stopping``: only for now, and what was down keeps its reason."""

    daemon_stopping: bool = False


class RestartRequested(Struct, frozen=True, kw_only=True):
    """Replace its worker as planned."""

    why: str


class ReloadRequested(Struct, frozen=True, kw_only=True):
    """Ask WhatsApp again for the page that it refused."""

    why: str


class ParkRequested(Struct, frozen=True, kw_only=True):
    """What the shell found leaves nothing but to wait for a person."""

    cause: ParkCause
    details: str


class Left(Struct, frozen=True):
    """It was logged out or deleted: whatever its worker still says, until the next start."""


class SlotGranted(Struct, frozen=True):
    """It may start now."""


class HeldBack(Struct, frozen=True):
    """It waits for its start slot; said again only for another cause."""

    wait: Wait


class FleetChanged(Struct, frozen=True):
    """Something that concerns all sessions."""

    view: FleetView


class RulesChanged(Struct, frozen=True):
    """The configuration was read anew."""

    rules: Rules


class IdleRead(Struct, frozen=True):
    """Answer to ``ReadIdle``: seconds since the last message or call; None: a call is under way."""

    idle: float | None


class Noticed(Struct, frozen=True, kw_only=True):
    """What the message plane found: a condition, or that it is over (``message`` None). Unix times."""

    kind: Kind
    message: str | None
    since: float | None = None
    until: float | None = None


class RowRead(Struct, frozen=True, kw_only=True):
    """The row says something else than the status: ``said``, or nothing of the phone number."""

    said: str
    number_only: bool = False


class TimerDue(Struct, frozen=True, kw_only=True):
    """``next_deadline`` has passed. ``late``: seconds that the daemon itself stood still."""

    late: float = 0.0


class Moved(Struct, frozen=True, kw_only=True):
    """Its row, as far as the order of starts reads it."""

    priority: int
    active: float
    """Unix time of its last activity."""


Fact = (
    Beat
    | Reported
    | TimerDue
    | FleetChanged
    | Exited
    | Spawned
    | SpawnFailed
    | SlotGranted
    | HeldBack
    | Stopped
    | Unusable
    | Adopted
    | StartRequested
    | StopRequested
    | RestartRequested
    | ReloadRequested
    | ParkRequested
    | Left
    | IdleRead
    | Noticed
    | RowRead
    | RulesChanged
    | Moved
)
