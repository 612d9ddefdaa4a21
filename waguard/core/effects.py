"""What the shell performs. An effect is an edge; a level (status, conditions, next deadline) is read off
the state."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from waguard.core.admission import Wait
from waguard.core.blame import Failure
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.status import DerivedStatus


class Spawn(Struct, frozen=True):
    """End what a dead worker left, start worker number ``worker``, greet it."""

    worker: int
    check_profile: bool = False
    """Nobody could see its profile when it was asked to start: a paired one without is parked."""


class Terminate(Struct, frozen=True):
    """Ask it to close its browser and to exit."""

    worker: int
    why: Failure | None = None
    """None: as planned."""


class Kill(Struct, frozen=True):
    """End its process group."""

    worker: int


class Reload(Struct, frozen=True):
    """Load its page anew."""

    worker: int


class TakeOver(Struct, frozen=True):
    """Have its page take the session back from another client."""

    worker: int


class Backfill(Struct, frozen=True):
    """Have it report what came in while nobody listened."""

    worker: int
    loads: int


class TakeScreenshot(Struct, frozen=True):
    """Keep a picture of its page: a person has to see it."""

    worker: int


class ReadIdle(Struct, frozen=True):
    """Say how long it has been idle (``IdleRead``)."""


class ShowCode(Struct, frozen=True):
    """There is a new QR code on its screen."""

    code: str


class Held(Struct, frozen=True):
    """Its start waits, for another cause than before."""

    wait: Wait


class ResponsivenessChanged(Struct, frozen=True):
    """Which layer does not answer, in words, and what is known of it; None: all do."""

    unresponsive: str | None
    evidence: str | None = None


class WriteStatus(Struct, frozen=True):
    """The row should say this; the newest wins."""

    status: DerivedStatus
    phone: str | None


class Publish(Struct, frozen=True):
    """An event for the stream and the webhooks."""

    event: str
    data: Mapping[str, Any]


class Record(Struct, frozen=True):
    """An entry of the audit trail."""

    kind: str
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


# for the fleet; the engine carries them there


class RequestSlot(Struct, frozen=True, kw_only=True):
    """It wants to start. ``slow``: it spent its restarts, and one such is tried at a time."""

    asked: bool
    planned: bool = False
    """To replace a worker that works: not while many starts fail."""
    slow: bool = False
    priority: int = 0
    active: float = 0.0
    """Unix time of its last activity."""
    ended_at: float | None = None
    """When its last browser ended; None also where the kernel may have ended it for its memory."""


class ReleaseSlot(Struct, frozen=True):
    """It needs no core any more, or does not want to start."""


class MemberChanged(Struct, frozen=True):
    """What it does, and how it stands with WhatsApp as far as a ready worker says."""

    state: State
    link: Link
    before: Link
    """How it stood."""


class WorkerFailed(Struct, frozen=True):
    """An unplanned end."""

    failure: Failure


class BrowserStarted(Struct, frozen=True):
    """Its Chromium runs."""


class RefusalChanged(Struct, frozen=True):
    """WhatsApp did not serve its page, once more (``why``), or it is not refused any more (None)."""

    why: str | None
    retry_after: float = 0.0
    """Seconds that WhatsApp asks to wait."""


class Recycled(Struct, frozen=True):
    """Its worker is replaced as planned."""


ToFleet = (
    RequestSlot
    | ReleaseSlot
    | MemberChanged
    | WorkerFailed
    | BrowserStarted
    | RefusalChanged
    | Recycled
)
Effect = (
    Spawn
    | Terminate
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
