"""What the shell performs. An effect is an edge: it happens once. Levels (status, conditions, next deadline) are
read off the state."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from waguard.core.blame import Failure
from waguard.core.host.admission import Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus


class Spawn(Struct, frozen=True):
    """End what a dead worker left, start worker number ``worker``, greet it."""

    worker: int
    check_profile: bool = False
    """Whether its profile exists was unknown when the start was requested: a paired session without one is
    parked."""
    waits: bool = False
    """The session has no start slot yet: its Chromium is started by ``StartBrowser``."""


class StartBrowser(Struct, frozen=True):
    """Let the worker start its Chromium: it has its start slot."""

    worker: int


class Terminate(Struct, frozen=True):
    """Request that the worker closes its browser and exits."""

    worker: int
    why: Failure | None = None
    """None: it is planned."""


class CheckAnswer(Struct, frozen=True):
    """Read what keeps the worker from answering that it closes (``Unanswered``)."""

    worker: int


class Kill(Struct, frozen=True):
    """Kill its process group."""

    worker: int


class Reload(Struct, frozen=True):
    """Reload its page."""

    worker: int


class TakeOver(Struct, frozen=True):
    """Let its page take the session back from another client."""

    worker: int


class Backfill(Struct, frozen=True):
    """Let it report messages that raised no event because no page listened."""

    worker: int
    loads: int


class TakeScreenshot(Struct, frozen=True):
    """Keep a screenshot of its page for a person."""

    worker: int


class ReadIdle(Struct, frozen=True):
    """Report how long the session has been idle (``IdleRead``)."""


class ShowCode(Struct, frozen=True):
    """There is a new QR code on its screen."""

    code: str


class Held(Struct, frozen=True):
    """The start waits, and the cause is another one than before."""

    wait: Wait


class ResponsivenessChanged(Struct, frozen=True):
    """Which layer is unresponsive, in words, and the evidence; None: worker and page answer again."""

    unresponsive: str | None
    evidence: str | None = None


class WriteStatus(Struct, frozen=True):
    """Write this status to the row; the newest one wins."""

    status: DerivedStatus
    phone: str | None


class Publish(Struct, frozen=True):
    """Publish an event: on the stream, and as a webhook where receivers know it."""

    event: str
    data: Mapping[str, Any]


class Record(Struct, frozen=True):
    """Write an entry to the audit log."""

    kind: str
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


# for the fleet: the engine hands them to it


class RequestSlot(Struct, frozen=True, kw_only=True):
    """The session wants to start. ``slow``: it spent its restarts; one such session is tried at a time."""

    asked: bool
    planned: bool = False
    """No person requested the replacement: it is granted when nobody else waits, and not while many starts fail or
    WhatsApp serves no page."""
    urgent: bool = False
    """A planned one that is granted all the same while WhatsApp serves no page."""
    replaces: bool = False
    """The session's worker works until the slot is granted: no other one is started before."""
    slow: bool = False
    priority: int = 0
    active: float = 0.0
    """Unix time of its last activity."""
    ended_at: float | None = None
    """When its last browser ended; None also where the kernel may have killed it because of its memory."""
    new: bool = False
    """The session has no profile to miss."""


class ReleaseSlot(Struct, frozen=True):
    """The session needs no core any more, or does not want to start."""


class MemberChanged(Struct, frozen=True):
    """The session's lifecycle or the link of its ready worker changed."""

    state: State
    link: Link
    before: Link
    """The link before this change."""


class WorkerFailed(Struct, frozen=True):
    """A worker ended unplanned."""

    failure: Failure


class BrowserStarted(Struct, frozen=True):
    """The session's Chromium runs."""


class RefusalChanged(Struct, frozen=True):
    """WhatsApp refused the page once more (``why``), or does not refuse it any more (None)."""

    why: str | None
    retry_after: float = 0.0
    """Seconds that WhatsApp asks to wait."""


class PageRestarts(Struct, frozen=True):
    """The session's page was loaded so often lately although nobody asked for that; 0: not any more."""

    count: int


class LatenessChanged(Struct, frozen=True):
    """The session's worker is late with its heartbeat, or not any more."""

    late: bool


class ProxiedChanged(Struct, frozen=True):
    """The session goes through a proxy of its own, or not any more: its way is not that of the others."""

    proxied: bool


class Recycled(Struct, frozen=True):
    """The session's worker is replaced as planned."""


ToFleet = (
    RequestSlot
    | ReleaseSlot
    | MemberChanged
    | WorkerFailed
    | BrowserStarted
    | RefusalChanged
    | PageRestarts
    | LatenessChanged
    | ProxiedChanged
    | Recycled
)
Effect = (
    Spawn
    | StartBrowser
    | Terminate
    | CheckAnswer
    | Kill
    | Reload
    | TakeOver
    | Backfill
    | TakeScreenshot
    | ReadIdle
    | ShowCode
    | Held
    | ResponsivenessChanged
    | WriteStatus
    | Publish
    | Record
    | ToFleet
)
