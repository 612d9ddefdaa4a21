"""What is true of one session, whatever the daemon knows of it."""

from dataclasses import dataclass, field

from waguard.core.link import Link
from waguard.core.passkey_link import PasskeyStage
from waguard.core.row_status import DerivedStatus, Status


@dataclass(slots=True)
class Page:
    """A session's worker, browser, page, account and row."""

    name: str

    # the worker
    number: int = 0
    alive: bool = False
    ready: bool = False
    phase: str = "launching"
    old: bool = False
    """It speaks another protocol."""
    hung: bool = False
    """The page does not answer."""
    stopped: bool = False
    """The worker stands still."""
    late: bool = False
    """It runs, and says nothing: nobody but its heartbeat shows that."""
    unrecoverable: bool = False
    """Its script was ended, and it does not answer all the same."""
    answered: float = 0.0
    planned: bool = False
    """Its end was asked for, and not because of a failure."""
    ending: bool = False
    closes_since: float | None = None
    """When it was asked to end, where it closes."""
    leftover: bool = False
    """A browser outlived its worker."""
    adopted: bool = False
    waits: bool = False
    """Its Chromium waits for a start slot."""

    # the page
    reported: tuple[object, ...] = ()
    loads: int = 0
    scripts_ended: int = 0
    warm: Link | None = None
    """What it says for some seconds after it was loaded."""
    stuck: Link | None = None
    stuck_for_worker: bool = False
    """A reload does not cure it."""
    mute: bool = False
    """It does not report the state of its link."""
    refused: bool = False
    refusals: int = 0
    retry_after: float = 0.0
    retry_at: float = 0.0
    """WhatsApp does not want to be asked earlier."""
    offered: bool = False
    covered: bool = False
    code: int = 0
    codes_left: int = 6
    stale_codes: bool = False
    reloaded: bool = False
    to_reload: int | None = None
    """The worker that was asked to while it stood still."""
    """Since it was last connected for long."""

    # the account
    account: Link = Link.CONNECTED
    before: tuple[Link, float] = (Link.CONNECTED, 0.0)
    """What it was until when: what was read of it may lie in a queue."""
    passkey: PasskeyStage = PasskeyStage.OFFERED
    """How far its linking is, while it needs a passkey."""
    passkey_ends: float = 0.0
    details: str | None = None

    # sends and memory
    deaf_since: float | None = None
    """It gets no acks; a new worker cures that."""
    deaf_worker: int = 0
    """The worker that it began with."""
    big: bool = False
    asked: bool = False
    """Its newest request for a start slot is one of somebody outside."""
    excused: bool = False
    """Somebody asked for the end of its worker."""

    # the row
    row: DerivedStatus = field(default_factory=lambda: DerivedStatus(Status.CONNECTED))
    phone: str | None = "49"
    paired: bool = False
    """It was connected, and not logged out here since."""
    desired: bool = True
    exists: bool = True
    restarts: int = 0

    # the truth over time
    up_since: float | None = None
    down_since: float = 0.0
    quiet_until: float | None = None
    """It was adopted as it was: until then nothing is to be said of it."""
    takeovers: list[float] = field(default_factory=list)
    trouble: tuple[float, str] | None = None
    """When the last cause ended, and which."""
