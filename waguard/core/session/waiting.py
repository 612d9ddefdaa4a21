"""What the next daemon has to know of a session that is parked: a restart neither starts who waits for a person, nor
renews spent restarts. Pure."""

from typing import Final

from waguard.core.blame import Blame, Failure
from waguard.core.lifecycle import State
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause, Reason, StatusInputs, derive
from waguard.core.session.facts import StartRequested
from waguard.core.session.restart import Remembered, Retries
from waguard.core.session.state import Intent, SessionState

# another version of waguard or of the page may cure the others
_STAYS: Final = frozenset(
    {ParkCause.CONFLICT, ParkCause.BLOCKED, ParkCause.PAGE_FLOODS, ParkCause.QR_EXPIRED}
)
_KEPT: Final = _STAYS | {ParkCause.RESTART_BUDGET}


def remember(state: SessionState, known: Remembered, *, began: float) -> Remembered:
    """Add why it is parked. ``began``: unix time at the monotonic time 0."""
    cause = _kept(state)
    if state.left or cause is None:
        return known
    return replace(known, parked=str(cause), parked_at=round(state.since + began))


def _kept(state: SessionState) -> ParkCause | None:
    if state.retries.at is not None or state.retries.running:
        return ParkCause.RESTART_BUDGET
    waits = state.intent is Intent.PARKED or not state.begun
    return state.parked if waits and state.parked in _STAYS else None


def resume(
    state: SessionState,
    known: Remembered,
    *,
    connected_at: float | None,
    began: float,
    now: float,
) -> SessionState:
    """Park it again where its row still says so, and it has not connected since, maybe under another host's daemon
    (``connected_at``: unix time); else somebody started it, or it was changed, since that was stored.

    The state is one that nothing has begun of; what only restores it says nothing twice, and leaves it parked, or
    gives it one try. ``now``: monotonic.
    """
    cause = next((it for it in _KEPT if it == known.parked), None)
    if state.left or cause is None or known.parked_at is None:
        return state
    if connected_at is not None and int(connected_at) > known.parked_at:  # which is rounded
        return state
    spent, row = cause is ParkCause.RESTART_BUDGET, state.status
    shown = derive(StatusInputs(state=State.PARKED, parked=cause))
    says = shown and (row.status, row.reason) == (shown.status, shown.reason)
    if not (says or (spent and row.reason is Reason.INSTANCE_RESTART)):  # which ended a try
        return state
    why = Failure(Blame.OPERATOR, str(cause), str(cause), row.details or str(cause))
    since = known.parked_at - began
    if spent:
        return replace(state, retries=Retries(known.tries, now), failure=why, since=since)
    return replace(state, parked=cause, failure=why, since=since)


def waits_on(state: SessionState) -> bool:
    """Whether it is parked since the daemon before this one, and nothing has begun of it; or it spent its restarts, and
    was stopped to move to another host."""
    spent = state.retries.at is not None
    if state.begun:
        return spent and state.intent is Intent.PARKED
    return spent or state.parked is not None


def begin(state: SessionState, fact: StartRequested) -> SessionState:
    """Answer the start that only restores it."""
    return replace(
        state,
        begun=True,
        intent=Intent.UP if state.retries.at is not None else Intent.PARKED,
        check_profile=fact.profile_unknown,
        expects_qr=fact.expects_qr or state.expects_qr,
    )
