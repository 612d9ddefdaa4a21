"""How a session requests a start slot of the fleet, and returns it."""

from waguard.core.replace import replace
from waguard.core.session.effects import ReleaseSlot, RequestSlot
from waguard.core.session.out import Out
from waguard.core.session.state import SessionState, Slot


def request_slot(
    state: SessionState, *, ended_at: float | None, planned: bool = False
) -> RequestSlot:
    """What the fleet has to know to grant one. ``ended_at``: when its worker ended, monotonic."""
    return RequestSlot(
        asked=state.asked,
        planned=planned,
        slow=state.retries.at is not None,
        priority=state.priority,
        active=state.active,
        ended_at=ended_at,
        new=state.expects_qr,
    )


def leave_slot(state: SessionState, out: Out) -> SessionState:
    """Return it, unless a replacement keeps it for the next worker."""
    if state.slot is Slot.FREE or (state.replacement and state.worker):
        return state
    out(ReleaseSlot())
    return replace(state, slot=Slot.FREE, held_back=None)
