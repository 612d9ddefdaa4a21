"""What the supervisor reads off a session: is its start over, can it do a call, what can a person do.

Questions only; nothing here changes a session.
"""

from collections.abc import Callable, Mapping
from typing import Final

from waguard.core import remedies
from waguard.core.lifecycle import State, stays_down
from waguard.core.link import Link
from waguard.core.passkey_link import WAITING, words
from waguard.core.phone_number import number_of
from waguard.core.reconcile import Wanted
from waguard.core.row_status import Status
from waguard.core.session import views
from waguard.errors import ConflictError, OtherNumberError, UnavailableError, WaguardError
from waguard.ports.sessions import Health
from waguard.ports.store import SessionRow
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_profile import is_paired
from waguard.wire.calls import (
    Acks,
    Ask,
    Exists,
    FetchFile,
    MarkSeen,
    Operation,
    PairingCode,
    RefreshQr,
    ShowTyping,
)
from waguard.wire.reports import QrCode

# a conflict is none of them: where nobody takes over, the session is parked
FOR_A_PERSON: Final = frozenset(
    {Link.QR_PENDING, Link.PASSKEY_REQUIRED, Link.LOGGED_OUT, Link.BLOCKED, Link.NEEDS_UPDATE}
)
UNLINKED: Final = frozenset({Link.QR_PENDING, Link.PASSKEY_REQUIRED})

Needs = tuple[Callable[[SessionActor], bool], Callable[[SessionActor], bool]]
"""When something can be done, and when waiting for that is vain."""


def is_down(session: SessionActor) -> bool:
    """Only a person brings it up again. One whose restore is still to come is not down."""
    return stays_down(session.lifecycle, wanted=session.row.desired_up)


SENDING: Final[Needs] = (
    # one of another version is connected, and takes no calls: they wait for its replacement
    lambda s: s.link is Link.CONNECTED and not s.state.left and s.runner.link is not None,
    lambda s: s.state.left or is_down(s) or s.link in FOR_A_PERSON,
)


def promises_too_much(session: SessionActor) -> bool:
    """Whether the row speaks of a worker, and there is none and will be none."""
    return (
        session.lifecycle is State.STOPPED
        and not session.row.desired_up
        and session.row.status not in {Status.DISCONNECTED, Status.FAILED}
    )


def start_is_over(session: SessionActor) -> bool:
    """Whether there is something to say about a start."""
    if session.lifecycle is State.RUNNING:
        return (
            session.link
            in {Link.CONNECTED, Link.CONFLICT, Link.BLOCKED, Link.NEEDS_UPDATE} | UNLINKED
        )
    return session.lifecycle not in {State.STARTING, State.RECYCLING, State.STOPPING}


def outcome(session: SessionActor) -> str:
    """How its restore ended, in a word of ``summary``."""
    if session.lifecycle in {State.STOPPED, State.STOPPING}:
        return "interrupted"
    if session.link is Link.CONNECTED:
        return "restored"
    return "needs QR" if session.link in UNLINKED else "failed"


def summary(outcomes: list[str]) -> str:
    """ "restored 3, needs QR 1, missing profile 1": each outcome that occurred, with its count."""
    order = [
        "restored",
        "needs QR",
        "missing profile",
        "offline",
        "pending",
        "waiting",
        "failed",
        "interrupted",
    ]
    counted = [f"{name} {outcomes.count(name)}" for name in order if name in outcomes]
    return ", ".join(counted) or "no session to restore"


def status_line(health: Health) -> str:
    """All sessions in a line, for the service manager."""
    line = (
        f"{health.connected} of {health.total} sessions connected" if health.total else "no session"
    )
    if not health.known:
        line = "the number of sessions is unknown"
    if not health.problems:
        return line
    first, *more = health.problems
    return f"{line}; {first}" + (f"; and {len(more)} more" if more else "")


def wanted(rows: Mapping[str, SessionRow]) -> dict[str, Wanted]:
    """The rows as the reconciler's plan reads them."""
    return {
        name: Wanted(
            up=row.desired_up,
            status=row.status,
            workspace=row.workspace_id,
            phone=row.phone_number,
            paired=is_paired(row),
            switched_off=row.switched_off,
        )
        for name, row in rows.items()
    }


def shown_code(session: SessionActor) -> QrCode | None:
    """The code on its screen."""
    return (
        session.runner.report.qr
        if session.runner.report and session.link is Link.QR_PENDING
        else None
    )


def no_code_will_come(session: SessionActor) -> bool:
    """Waiting for a code is vain: it is linked, or down."""
    return is_down(session) or session.link in {
        Link.CONNECTED,
        Link.SYNCING,
        Link.PAIRING,
        Link.PASSKEY_REQUIRED,
    }


def require_files(session: SessionActor) -> None:
    """Raises ``UnavailableError`` where its worker does not know files by their paths."""
    report = session.runner.report
    if report is None or not report.files:
        raise UnavailableError(
            "its worker is of an earlier version, which takes no large files",
            remedy=f"`waguard sessions restart {session.name}`",
            retry_after=30,
        )


def needs(call: Operation) -> Needs:
    """What a call needs that is no send."""
    match call:
        case Exists() | Acks() | Ask() | FetchFile() | MarkSeen() | ShowTyping():
            return SENDING
        case PairingCode() | RefreshQr():
            return (
                lambda s: s.link in UNLINKED,
                lambda s: is_down(s) or s.link is Link.CONNECTED,
            )
        case _:
            return (lambda s: s.lifecycle is State.RUNNING, is_down)


def refuse_while_linking(session: SessionActor, *, starting_over: bool = False) -> None:
    """Raises ``ConflictError`` where a linking is under way that needs the account's passkey; ``starting_over``: only
    where another code would end what somebody waits for."""
    linking = views.passkey(session.state)
    if linking is None or (starting_over and linking.stage not in WAITING):
        return
    raise ConflictError(
        f"passkey_required: {words(linking)}",
        remedy=remedies.text(remedies.PASSKEY[linking.stage], session.name),
    )


def next_step(session: SessionActor, where_it_is_down: str) -> str:
    """What a person can do."""
    first = next(iter(views.conditions(session.state)), None)
    return first.remedy if first else remedies.text(where_it_is_down, session.name)


def not_ready(session: SessionActor, *, unrecoverable: bool) -> WaguardError:
    """The error for a call that could not be done."""
    if session.state.left:
        done = "deleted" if session.row.removed_at else "logged out"
        return ConflictError(
            f"Session not connected: it was {done}",
            remedy=remedies.text(remedies.LEFT, session.name),
        )
    now = session.link if session.lifecycle is State.RUNNING else session.lifecycle
    why = f": {views.details(session.state)}" if views.details(session.state) else ""
    if unrecoverable:
        return ConflictError(
            f"Session not connected: it is {now}{why}",
            remedy=next_step(session, remedies.DOWN),
        )
    return UnavailableError(f"Session not connected yet: it is {now}{why}", retry_after=5)


def require_number(session: SessionActor, phone: str) -> None:
    """Raises ``OtherNumberError`` where it is linked to another number than ``phone`` (digits), and
    ``UnavailableError`` where a code was on its screen and it is not known yet who scanned it."""
    reported = session.runner.report.phone if session.runner.report else None
    if reported is None and session.state.showed_code:
        raise UnavailableError("the linked number is not known yet", retry_after=5)
    linked = number_of(reported or session.row.phone_number)
    if linked is not None and linked != phone:
        raise OtherNumberError(phone, linked)


def linked_number(session: SessionActor) -> str | None:
    """Digits of the number that its worker says it is linked to, while it is connected."""
    report = session.runner.report
    return report.phone if report and session.link is Link.CONNECTED else None
