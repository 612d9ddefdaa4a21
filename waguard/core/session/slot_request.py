"""How a session requests a start slot of the fleet, starts with it, and returns it."""

from waguard.core.replace import replace
from waguard.core.session import care
from waguard.core.session.effects import ReleaseSlot, RequestSlot, Spawn, StartBrowser
from waguard.core.session.facts import Moment
from waguard.core.session.out import Out
from waguard.core.session.state import Intent, Replacement, SessionState, Slot, Stage, Worker
from waguard.core.session.worker import new_worker


def request_slot(
    state: SessionState, *, ended_at: float | None, replacement: Replacement | None = None
) -> RequestSlot:
    """What the fleet has to know to grant one. ``ended_at``: when its worker ended, monotonic; ``replacement``: of a
    worker that works."""
    it = replacement
    return RequestSlot(
        asked=state.asked or it is not None,
        planned=it is not None and it.why is not None and it.stuck is None,
        urgent=it is not None and it.urgent,
        replaces=it is not None,
        slow=state.retries.at is not None,
        priority=state.priority,
        active=state.active,
        ended_at=ended_at,
        new=state.expects_qr,
    )


def leave_slot(state: SessionState, out: Out) -> SessionState:
    """Return it, unless a replacement that does not wait keeps it for the next worker."""
    worker, planned = state.worker, state.replacement
    if state.slot is Slot.FREE or (planned and worker and not care.waits(worker, planned)):
        return state
    out(ReleaseSlot())
    return replace(state, slot=Slot.FREE, held_back=None)


def decide_start(state: SessionState, now: Moment, out: Out) -> SessionState:
    """Request a slot, and start a worker as soon as it may be."""
    if state.intent is not Intent.UP:
        return care.forget_page(leave_slot(state, out), now, out)
    match state.slot:
        case Slot.FREE if now.at >= state.not_before:
            out(request_slot(state, ended_at=state.ended_at))
            return replace(state, slot=Slot.REQUESTED)
        case Slot.HELD:
            return _spawn(state, now, out)
        case Slot.REQUESTED if state.held_back and state.held_back.ahead:
            return _spawn(state, now, out)
        case _:
            return state


def _spawn(state: SessionState, now: Moment, out: Out) -> SessionState:
    """Start a worker; without a slot its Chromium waits."""
    waits = state.slot is not Slot.HELD
    started = new_worker(state, Stage.SPAWNING, now, waits=waits)
    out(Spawn(started.number, check_profile=state.check_profile, waits=waits))
    return replace(state, worker=started, workers=started.number, check_profile=False)


def let_start(state: SessionState, worker: Worker, now: Moment, out: Out) -> SessionState:
    """Let a worker that waits start its Chromium as soon as the session has its slot."""
    match state.slot:
        case Slot.FREE:  # an earlier daemon's worker, or a request that is renewed
            out(request_slot(state, ended_at=state.ended_at))
            return replace(state, slot=Slot.REQUESTED)
        case Slot.HELD:
            out(StartBrowser(worker.number))
            return replace(state, worker=replace(worker, waits=False, since=now.at))
        case Slot.REQUESTED:
            return state
