"""The status in the database: derived, never set by hand. First match wins."""

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final

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
"""What a row may say only while a worker runs."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the supervisor knows of one session."""

    state: State
    link: Link = Link.UNKNOWN
    parked: ParkCause | None = None
    daemon_stopping: bool = False
    expects_qr: bool = False
    """It has no credentials yet: while it starts, a QR code is what comes next."""
    details: str | None = None
    left: bool = False
    """A person had it logged out or deleted: whatever its worker still says."""
    adopting: bool = False
    """Its worker is an earlier daemon's and has not said anything yet: the row may be right."""
    retrying: bool = False
    """It was parked, and is tried once more: until that has ended nothing has changed."""
    link_overdue: bool = False
    """The link has been unknown for so long that the row's old word is no promise any more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the row should say. ``reason`` and ``details`` are None while the session is well."""

    status: Status
    reason: Reason | None = None
    details: str | None = None


LEFT: Final = Verdict(Status.DISCONNECTED, Reason.USER_INITIATED)
"""Of a session that was logged out or deleted."""


def derive(standing: Standing) -> Verdict | None:
    """The row's status, or None: nothing is known that could correct the row."""
    if standing.left:
        return LEFT
    if standing.daemon_stopping and standing.state is not State.PARKED:
        return Verdict(Status.DISCONNECTED, Reason.INSTANCE_RESTART, "waguard was stopped")
    match standing.state:
        case State.STOPPED | State.STOPPING:
            return Verdict(Status.DISCONNECTED, Reason.USER_INITIATED, standing.details)
        case State.PARKED | State.PARKING:
            return _parked(standing)
        case State.STARTING if standing.adopting:
            return None
        case State.STARTING | State.BACKOFF | State.RECYCLING if standing.retrying:
            return None
        case State.STARTING | State.BACKOFF | State.RECYCLING:
            if standing.expects_qr and standing.state is State.STARTING:
                return Verdict(Status.QR_SCANNING)
            details = standing.details or f"the worker is {standing.state}"
            return Verdict(Status.DISCONNECTED, Reason.ERROR, details)
        case State.RUNNING:
            return _linked(standing)


def _parked(standing: Standing) -> Verdict:
    match standing.parked:
        case ParkCause.QR_EXPIRED:
            details = standing.details or "no one scanned the QR code"
            return Verdict(Status.DISCONNECTED, Reason.QR_EXPIRED, details)
        case ParkCause.PROFILE_MISSING:
            return Verdict(Status.DISCONNECTED, Reason.ERROR, standing.details)
        case cause:
            details = standing.details or str(cause)
            return Verdict(Status.FAILED, Reason.ERROR, details)


def _linked(standing: Standing) -> Verdict | None:
    match standing.link:
        case Link.CONNECTED:
            return Verdict(Status.CONNECTED)
        case Link.PAIRING | Link.SYNCING:
            return Verdict(Status.AUTHENTICATED)
        case Link.QR_PENDING | Link.LOGGED_OUT:
            return Verdict(Status.QR_SCANNING)
        case Link.PASSKEY_REQUIRED:
            return Verdict(Status.QR_SCANNING, None, standing.details)
        case Link.OFFLINE:
            details = standing.details or "the phone or the network is away"
            return Verdict(Status.DISCONNECTED, Reason.TIMEOUT, details)
        case Link.CONFLICT | Link.BLOCKED | Link.NEEDS_UPDATE:
            return Verdict(Status.FAILED, Reason.ERROR, standing.details or str(standing.link))
        case Link.UNKNOWN:
            if not standing.link_overdue:
                return None
            details = standing.details or "the page does not say how it stands with WhatsApp"
            return Verdict(Status.DISCONNECTED, Reason.UNKNOWN, details)


def understood(status: str, reason: str | None, details: str | None) -> Verdict:
    """A row's own words; what no version of waguard writes is read as disconnected, unknown."""
    if status not in {str(known) for known in Status}:
        return Verdict(Status.DISCONNECTED, Reason.UNKNOWN, f"the row said {status!r}")
    known = {str(known) for known in Reason}
    return Verdict(Status(status), Reason(reason) if reason in known else None, details)
