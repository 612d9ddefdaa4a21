"""What the next daemon has to know of a session that waits for a person: it is not started by a restart. Pure."""

from typing import Final

from waguard.core.blame import Blame, Failure
from waguard.core.lifecycle import State
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause, StatusInputs, derive
from waguard.core.session.restart import Remembered
from waguard.core.session.state import Intent, SessionState

# another version of waguard or of the page may cure the others
_STAYS: Final = frozenset(
    {ParkCause.CONFLICT, ParkCause.BLOCKED, ParkCause.PAGE_FLOODS, ParkCause.QR_EXPIRED}
)


def remember(state: SessionState, known: Remembered, *, began: float) -> Remembered:
    """Add why it waits. ``began``: unix time at the monotonic time 0."""
    waits = state.intent is Intent.PARKED or not state.begun
    if state.left or not waits or state.parked not in _STAYS:
        return known
    return replace(known, parked=str(state.parked), parked_at=round(state.since + began))


def resume(state: SessionState, known: Remembered, *, began: float) -> SessionState:
    """Park it again where its row still says so: else somebody started it, or it was changed, since that was stored.

    The state is one that nothing has begun of; what only restores it leaves it parked, and says nothing twice.
    """
    cause = next((it for it in _STAYS if it == known.parked), None)
    if state.left or cause is None or known.parked_at is None:
        return state
    shown = derive(StatusInputs(state=State.PARKED, parked=cause))
    if not shown or (shown.status, shown.reason) != (state.status.status, state.status.reason):
        return state
    word = str(cause)
    why = Failure(Blame.OPERATOR, word, word, state.status.details or word)
    return replace(state, parked=cause, failure=why, since=known.parked_at - began)
