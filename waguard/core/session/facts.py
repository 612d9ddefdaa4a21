"""The facts that a session handles. Past tense: it happened; ``...Requested``: a person, the application or the
shell requests it.

A fact about a worker has the worker's number: a late fact about an earlier worker is dropped. Times are monotonic
seconds.
"""

from msgspec import Struct

from waguard.core.blame import Failure
from waguard.core.host.admission import Wait
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyLink
from waguard.core.row_status import ParkCause
from waguard.core.session.state import FleetView, Rules


class Moment(Struct, frozen=True):
    """The time of a decision and a random number. ``at``: monotonic seconds; ``chance``: uniform in [0, 1)."""

    at: float
    chance: float = 0.5
    wall: float = 0.0
    """Unix time, for what people read."""


class WorkerFact(Struct, frozen=True, kw_only=True):
    """A fact about the worker with this number."""

    worker: int


class Spawned(WorkerFact, frozen=True, kw_only=True):
    """The worker's process runs."""


class SpawnFailed(WorkerFact, frozen=True, kw_only=True):
    """The worker's process could not be started."""

    failure: Failure


class Reported(WorkerFact, frozen=True, kw_only=True):
    """The worker's whole state: once connected, and after every change."""

    at: float
    phase: str
    """launching, loading, settling, ready or closing."""
    link: Link
    phone: str | None = None
    code: str | None = None
    """The QR code on the screen."""
    codes_ended: bool = False
    """WhatsApp shows no more codes: nobody scanned."""
    waits: bool = False
    """Chromium is not started before ``StartBrowser``."""
    loads: int = 0
    """How often the page was loaded; messages that arrive during a load raise no event."""
    scripts_ended: int = 0
    """How often the page's script was ended because the page did not answer."""
    details: str | None = None
    socket: str | None = None
    """The state of WhatsApp's socket and stream, in WhatsApp's words."""
    update_offered: bool = False
    covered: bool = False
    """A dialog covers the page."""
    flooded: bool = False
    """The page reports more than it may."""
    passkey: PasskeyLink | None = None
    """A linking that needs the account's passkey."""
    passkey_left: float = 0.0
    """Seconds until its stage ends."""
    refused: bool = False
    """WhatsApp does not serve its page; ``details`` says what it answers."""
    refusals: int = 0
    """Loads in a row that WhatsApp refused."""
    retry_after: float = 0.0
    """Seconds that WhatsApp asks to wait."""
    evidence: str | None = None
    """Why the page does not answer, as far as it is known."""
    other_version: bool = False
    """The next load will be another version of WhatsApp's page."""


class Beat(WorkerFact, frozen=True, kw_only=True):
    """A heartbeat, read at ``at``. ``page_at``: the page's last answer; None: none since the last heartbeat."""

    at: float
    page_at: float | None = None
    unrecoverable: bool = False
    """The page does not answer, no further step can help it, and the CPU is not saturated."""


class Exited(WorkerFact, frozen=True, kw_only=True):
    """Worker and browser ended. ``details``: the worker's own explanation."""

    code: int | None
    details: str | None = None
    host: Failure | None = None
    """What the host lacked at that moment: it explains the end better than the code does."""


class Stopped(WorkerFact, frozen=True, kw_only=True):
    """The worker's process was stopped (SIGSTOP)."""


class Unanswered(WorkerFact, frozen=True, kw_only=True):
    """Answer to ``CheckAnswer``: all that the worker said has been read."""

    rests: bool
    """None of its threads runs, waits for a core or for a disk."""
    ran: float = 0.0
    """Seconds of a core that it used since the last check."""


class Unusable(WorkerFact, frozen=True, kw_only=True):
    """The daemon cannot use it: it does not listen, or breaks the protocol."""

    why: str


class SpecChanged(WorkerFact, frozen=True, kw_only=True):
    """The worker may start its Chromium, and was made for another configuration, version or place of its profile than
    holds now: it has started none."""


class Adopted(Struct, frozen=True, kw_only=True):
    """An earlier daemon's worker lives. ``outdated``: it speaks another version of the protocol."""

    outdated: bool = False


class StartRequested(Struct, frozen=True, kw_only=True):
    """The session is wanted up. ``asked``: a person or the application requests it; neither backoff nor breaker
    delays that."""

    asked: bool = True
    restart: bool = False
    """Also replace a living worker; that is planned, and not a failure."""
    expects_qr: bool = False
    """The session has no credentials: it will show a QR code."""
    profile_unknown: bool = False
    """Whether its profile exists could not be read."""


class StopRequested(Struct, frozen=True, kw_only=True):
    """The session is wanted down. ``daemon_stopping``: only until the next daemon; what was down keeps its reason.
    ``moves``: that one is another host's, and this one goes on."""

    daemon_stopping: bool = False
    moves: bool = False


class RestartRequested(Struct, frozen=True, kw_only=True):
    """Replace its worker as planned. ``urgent``: also while WhatsApp serves no page: another version may be the cure, and
    the host comes before a session that is far too big."""

    why: str
    urgent: bool = False


class ReloadRequested(Struct, frozen=True, kw_only=True):
    """Request the page again that WhatsApp refused."""

    why: str


class ParkRequested(Struct, frozen=True, kw_only=True):
    """The shell found something that only a person can solve."""

    cause: ParkCause
    details: str


class Left(Struct, frozen=True):
    """The session was logged out or deleted: until the next start its worker's reports do not count."""


class SlotGranted(Struct, frozen=True):
    """The session may start now."""


class HeldBack(Struct, frozen=True):
    """The session waits for its start slot; posted again only for another cause."""

    wait: Wait


class FleetChanged(Struct, frozen=True):
    """What concerns all sessions has changed."""

    view: FleetView


class ProxyChanged(Struct, frozen=True):
    """The session goes through a proxy of its own (``proxied``), or not any more."""

    proxied: bool


class RulesChanged(Struct, frozen=True):
    """The configuration was read again."""

    rules: Rules


class LoggedOut(Struct, frozen=True):
    """WhatsApp unlinked the session; ``reason``: as WhatsApp names it. What the page shows decides."""

    reason: str | None = None


class IdleRead(Struct, frozen=True):
    """Answer to ``ReadIdle``: seconds since the last message or call; None: a call is under way."""

    idle: float | None


class Noticed(Struct, frozen=True, kw_only=True):
    """A condition of the session's messages begins, or is over (``message`` None). Unix times."""

    kind: Kind
    message: str | None
    since: float | None = None
    until: float | None = None


class RowRead(Struct, frozen=True, kw_only=True):
    """The row does not have the session's status but ``said``, or (``number_only``) lacks the phone number."""

    said: str
    number_only: bool = False
    knows_number: bool = False
    """The application had ``session_ready`` before, and its row has the number: it is not repeated, because
    the application deletes rows of the same number while it handles it."""


class TimerDue(Struct, frozen=True, kw_only=True):
    """``next_deadline`` has passed. ``late``: seconds that the daemon itself stood still."""

    late: float = 0.0


class Moved(Struct, frozen=True, kw_only=True):
    """The row's values by which starts are ordered have changed."""

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
    | Unanswered
    | Unusable
    | SpecChanged
    | Adopted
    | StartRequested
    | StopRequested
    | RestartRequested
    | ReloadRequested
    | ParkRequested
    | Left
    | LoggedOut
    | IdleRead
    | Noticed
    | RowRead
    | RulesChanged
    | ProxyChanged
    | Moved
)
