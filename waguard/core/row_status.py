"""The status in the database: derived, never set by hand. The first match wins. Pure."""

from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.lifecycle import State
from waguard.core.link import Link


class Status(StrEnum):
    """``whatsapp_accounts.status``: the only five values that ever leave waguard."""

    QR_SCANNING = auto()
    AUTHENTICATED = auto()
    CONNECTED = auto()
    DISCONNECTED = auto()
    FAILED = auto()


LIVE_STATUSES: Final = frozenset({Status.QR_SCANNING, Status.AUTHENTICATED, Status.CONNECTED})
"""The statuses that a row may have only while a worker runs."""


class Reason(StrEnum):
    """``whatsapp_accounts.disconnect_reason``."""

    USER_INITIATED = auto()
    INSTANCE_RESTART = auto()
    TIMEOUT = auto()
    ERROR = auto()
    QR_EXPIRED = auto()
    UNKNOWN = auto()


class ParkCause(StrEnum):
    """Why a session waits for a person."""

    RESTART_BUDGET = auto()
    CONFLICT = auto()
    BLOCKED = auto()
    NEEDS_UPDATE = auto()
    QR_EXPIRED = auto()
    PROFILE_MISSING = auto()
    PAGE_FLOODS = auto()


class StatusInputs(Struct, frozen=True, kw_only=True):
    """What the status of a session is derived from."""

    state: State
    link: Link = Link.UNKNOWN
    parked: ParkCause | None = None
    daemon_stopping: bool = False
    moves: bool = False
    """With ``daemon_stopping``: to another host."""
    expects_qr: bool = False
    """The session has no credentials yet: while it starts, it will show a QR code."""
    details: str | None = None
    left: bool = False
    """The session was logged out or deleted: its worker's reports do not count."""
    adopting: bool = False
    """The worker is an earlier daemon's and has not reported yet: the row may be right."""
    retrying: bool = False
    """The session was parked, and is tried once more: until the result is known the status stays."""
    requested: bool = False
    """A person or the application requested its start; else waguard restores it."""
    stopped: bool = False
    """The row says that waguard stopped it in order."""
    failed: bool = False
    """A failure is why it is not up; else it starts, or waits for its start."""
    link_overdue: bool = False
    """The link has been unknown for too long: the row's status is not credible any more."""


class DerivedStatus(Struct, frozen=True):
    """What the row should say. ``reason`` and ``details`` are None while the session is healthy."""

    status: Status
    reason: Reason | None = None
    details: str | None = None


LEFT: Final = DerivedStatus(Status.DISCONNECTED, Reason.USER_INITIATED)
"""The status of a session that was logged out or deleted."""


SWITCHED_OFF: Final = "the application switched the account off (is_active = 0)"
"""Why it is down, where that is so."""
REQUESTED: Final = "a person or the application requested a start"
RESTORED: Final = "its worker had ended when waguard took it over"
STOPPED: Final = "waguard had stopped it in order, and starts it again"
"""Why it starts, where no failure says so."""
MOVES: Final = "the session is being moved to another host"


def derive(inputs: StatusInputs) -> DerivedStatus | None:
    """The row's status; None: nothing is known that could correct the row."""
    if inputs.left:
        return LEFT
    if inputs.daemon_stopping and inputs.state is not State.PARKED:
        details = MOVES if inputs.moves else "waguard was stopped"
        return DerivedStatus(Status.DISCONNECTED, Reason.INSTANCE_RESTART, details)
    match inputs.state:
        case State.STOPPED | State.STOPPING:
            return DerivedStatus(Status.DISCONNECTED, Reason.USER_INITIATED, inputs.details)
        case State.PARKED | State.PARKING:
            return _parked(inputs)
        case State.STARTING if inputs.adopting:
            return None
        case State.STARTING | State.BACKOFF | State.RECYCLING if inputs.retrying:
            return None
        case State.STARTING | State.BACKOFF | State.RECYCLING:
            if inputs.expects_qr and inputs.state is State.STARTING:
                return DerivedStatus(Status.QR_SCANNING)
            return _on_its_way(inputs)
        case State.RUNNING:
            return _linked(inputs)


def why_it_starts(*, requested: bool, stopped: bool) -> str:
    """Where no failure says so."""
    if requested:
        return REQUESTED
    return STOPPED if stopped else RESTORED


def _on_its_way(inputs: StatusInputs) -> DerivedStatus:
    details = inputs.details or why_it_starts(requested=inputs.requested, stopped=inputs.stopped)
    in_order = (inputs.requested or inputs.stopped) and not inputs.failed
    reason = Reason.INSTANCE_RESTART if in_order else Reason.ERROR
    return DerivedStatus(Status.DISCONNECTED, reason, details)


def _parked(inputs: StatusInputs) -> DerivedStatus:
    match inputs.parked:
        case ParkCause.QR_EXPIRED:
            details = inputs.details or "no one scanned the QR code"
            return DerivedStatus(Status.DISCONNECTED, Reason.QR_EXPIRED, details)
        case ParkCause.PROFILE_MISSING:
            return DerivedStatus(Status.DISCONNECTED, Reason.ERROR, inputs.details)
        case cause:
            details = inputs.details or str(cause)
            return DerivedStatus(Status.FAILED, Reason.ERROR, details)


def _linked(inputs: StatusInputs) -> DerivedStatus | None:
    match inputs.link:
        case Link.CONNECTED:
            return DerivedStatus(Status.CONNECTED)
        case Link.PAIRING | Link.SYNCING:
            return DerivedStatus(Status.AUTHENTICATED)
        case Link.QR_PENDING | Link.LOGGED_OUT:
            return DerivedStatus(Status.QR_SCANNING)
        case Link.PASSKEY_REQUIRED:
            return DerivedStatus(Status.QR_SCANNING, None, inputs.details)
        case Link.OFFLINE:
            details = inputs.details or "the phone or the network is away"
            return DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, details)
        case Link.CONFLICT | Link.BLOCKED | Link.NEEDS_UPDATE:
            return DerivedStatus(Status.FAILED, Reason.ERROR, inputs.details or str(inputs.link))
        case Link.UNKNOWN:
            if not inputs.link_overdue:
                return None
            details = inputs.details or "the page does not report the state of its link to WhatsApp"
            return DerivedStatus(Status.DISCONNECTED, Reason.UNKNOWN, details)


def understood(status: str, reason: str | None, details: str | None) -> DerivedStatus:
    """The status that a row has; a value that no version of waguard writes is read as disconnected, unknown."""
    if status not in {str(known) for known in Status}:
        return DerivedStatus(Status.DISCONNECTED, Reason.UNKNOWN, f"the row said {status!r}")
    known = {str(known) for known in Reason}
    return DerivedStatus(Status(status), Reason(reason) if reason in known else None, details)
