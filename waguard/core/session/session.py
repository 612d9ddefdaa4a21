"""One session: facts in, effects out. Pure.

``advance`` does three things in this order: it applies the fact to the state; it compares what is wanted with what
runs, and takes the next step towards it; it reports what changed. The second goes by levels, not by the fact: a
fact that comes twice, late or out of order does no harm, and the last request wins.
"""

from typing import Final, assert_never

from waguard.core.blame import Blame, Failure
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import FLOOD_LIMIT
from waguard.core.replace import replace
from waguard.core.row_status import REQUESTED, ParkCause, Status
from waguard.core.session import care, ending, page_restarts, waiting
from waguard.core.session import worker as workers
from waguard.core.session.care import FLOODS, find, on_due_care, on_idle, on_turn
from waguard.core.session.deadlines import Due, due, forgive
from waguard.core.session.effects import (
    Effect,
    Held,
    ProxiedChanged,
    Record,
    ReleaseSlot,
    Reload,
)
from waguard.core.session.facts import (
    Adopted,
    Beat,
    Exited,
    Fact,
    FleetChanged,
    HeldBack,
    IdleRead,
    Left,
    LoggedOut,
    Moment,
    Moved,
    Noticed,
    ParkRequested,
    ProxyChanged,
    ReloadRequested,
    Reported,
    RestartRequested,
    RowRead,
    RulesChanged,
    SlotGranted,
    Spawned,
    SpawnFailed,
    SpecChanged,
    StartRequested,
    Stopped,
    StopRequested,
    TimerDue,
    Unanswered,
    Unusable,
    WorkerFact,
)
from waguard.core.session.out import Out, Step
from waguard.core.session.restart import Retries
from waguard.core.session.show import on_row, show
from waguard.core.session.slot_request import decide_start, leave_slot, let_start, request_slot
from waguard.core.session.state import (
    Intent,
    Pairing,
    Replacement,
    SessionState,
    Slot,
    Stage,
    Worker,
)
from waguard.core.session.views import details, lifecycle, link, needs_core
from waguard.core.whatsapp_words import in_words

_ON_ITS_WAY: Final = frozenset({State.STARTING, State.RUNNING, State.RECYCLING})
_LIVING: Final = frozenset({Stage.ADOPTING, Stage.STARTING, Stage.READY})
_NOTABLE_WAIT: Final = 5.0  # s for a start slot; a shorter wait explains nothing


def advance(state: SessionState, fact: Fact, now: Moment) -> Step:
    """Handle one fact. Never raises; a fact that has no meaning in this state changes nothing."""
    worker = state.worker
    if isinstance(fact, WorkerFact):
        if worker is None or worker.number != fact.worker:
            return Step(state)  # about an earlier worker
        if isinstance(fact, Beat) and not worker.unresponsive:
            # the most frequent fact, and the state needs no decision
            return Step(workers.heard(state, worker, fact))
    effects: list[Effect] = []
    after = _handle(state, fact, now, effects.append)
    after = _decide(after, now, effects.append)
    if any(isinstance(it, Reload) for it in effects):
        after = page_restarts.load_asked(after)
    if after is not state:
        after = show(state, after, type(fact).__name__, effects.append)
    return Step(after, tuple(effects))


# ---- facts ----


def _handle(  # noqa: C901, PLR0912 - a table of facts
    state: SessionState, fact: Fact, now: Moment, out: Out
) -> SessionState:
    if isinstance(fact, WorkerFact):
        return _handle_worker(state, fact, now, out)
    match fact:
        case TimerDue(late=late) if late:
            return forgive(state, late, now.at)
        case TimerDue():
            return _on_timer(state, now, out)
        case FleetChanged(view):
            return replace(state, fleet=view)
        case RulesChanged(rules):
            return replace(state, rules=rules)
        case ProxyChanged(proxied) if proxied is not state.proxied:
            out(ProxiedChanged(proxied))
            return replace(state, proxied=proxied)
        case Moved(priority=priority, active=active):
            return replace(state, priority=priority, active=active)
        case SlotGranted():
            return _on_slot(state, now, out)
        case HeldBack() if state.retries.at is not None:
            return state  # it stays parked until its turn comes
        case HeldBack(wait) if state.held_back and state.held_back.cause is wait.cause:
            return replace(state, held_back=wait)
        case HeldBack(wait) if state.slot is Slot.REQUESTED:
            unseen = state.check_profile or wait.cause is Cause.SESSIONS_FOLDER
            out(Held(wait))
            return replace(state, held_back=wait, since=now.at, check_profile=unseen)
        case Adopted(outdated=outdated) if state.worker is None:
            return _on_adopted(state, now, out, outdated=outdated)
        case StartRequested():
            return _on_start(state, fact, now, out)
        case StopRequested():
            return _on_stop(state, daemon_stopping=fact.daemon_stopping, moves=fact.moves)
        case RestartRequested():
            return _on_restart(state, fact, now, out)
        case ReloadRequested(why=why):
            return on_turn(state, why, out)
        case ParkRequested(cause=cause, details=why):
            return workers.park(state, cause, why, now, out)
        case Left():
            return replace(state, begun=True, left=True, pairing=Pairing())
        case LoggedOut(reason) if not state.left:  # else by who asked for that
            out(Record("logged_out", reason=in_words(reason) if reason else None))
            return replace(state, pairing=replace(state.pairing, said=reason))
        case IdleRead(idle):
            return on_idle(state, idle, now, out)
        case Noticed(kind=kind, message=message, since=since, until=until):
            return find(state, kind, message, now, out, since=since, until=until)
        case RowRead():
            return on_row(state, fact, out)
        case _:
            return state


def _handle_worker(  # noqa: C901 - a table of facts
    state: SessionState, fact: WorkerFact, now: Moment, out: Out
) -> SessionState:
    if (worker := state.worker) is None:
        return state
    match fact:
        case Beat():
            return workers.on_beat(state, worker, fact, now)
        case Reported():
            after = workers.on_report(state, worker, fact, now, out)
            return _after_report(after, now, out, other_version=fact.other_version)
        case Exited():
            return workers.on_exit(state, worker, fact, now, out)
        case SpawnFailed(failure=failure):
            return workers.on_end(state, worker, failure, now, out)
        case Spawned() if worker.stage is Stage.SPAWNING:
            return replace(state, worker=replace(worker, stage=Stage.STARTING, since=now.at))
        case Stopped() if worker.stage in _LIVING:
            why = Failure(
                Blame.SESSION, "stopped", workers.HUNG, "the worker was stopped (SIGSTOP)"
            )
            return workers.kill(workers.end(state, worker, why, now, out), out)
        case Stopped() | Unanswered() if worker.stage is Stage.ENDING:
            return ending.on_no_answer(state, worker, fact, now, out)
        case SpecChanged() if worker.stage in {Stage.ADOPTING, Stage.STARTING}:
            return workers.end(state, worker, None, now, out)  # the next one has its slot
        case Unusable(why=why) if worker.stage in _LIVING:
            cause = workers.HUNG if worker.stage is Stage.READY else workers.NOT_READY
            failure = Failure(Blame.SESSION, "worker_unusable", cause, why)
            return workers.end(state, worker, failure, now, out)
        case _:
            return state


def _on_adopted(state: SessionState, now: Moment, out: Out, *, outdated: bool) -> SessionState:
    found = replace(workers.new_worker(state, Stage.ADOPTING, now), adopted=True, outdated=outdated)
    out(Record("adopted", before=str(state.status.status)))
    planned = Replacement("its worker was of another version") if outdated else None
    up = replace(state, begun=True, intent=Intent.UP, daemon_stopping=False, replacement=planned)
    retries = Retries(state.retries.tries, running=state.retries.at is not None)
    return replace(up, worker=found, workers=found.number, failure=None, retries=retries)


def _on_start(state: SessionState, fact: StartRequested, now: Moment, out: Out) -> SessionState:
    if waiting.waits_on(state) and not fact.asked:
        return waiting.begin(state, fact)
    fresh = lifecycle(state) not in _ON_ITS_WAY
    if fact.asked and (fresh or fact.restart) and state.status.status is not Status.CONNECTED:
        out(Record("start_requested", reason=REQUESTED))
    up = replace(
        state,
        begun=True,
        intent=Intent.UP,
        daemon_stopping=False,
        left=False,
        asked=fact.asked,
        # a requested start renews the restart budget; a restore, or a move that fails, does not
        retries=Retries() if fact.asked else replace(state.retries, at=None),
    )
    if fresh:
        up = replace(
            up,
            failure=None,
            uncounted=False,
            counted=() if fact.asked else state.counted,
            spared=0,
            takeovers=(),
            not_before=now.at,
            since=now.at,
            check_profile=fact.profile_unknown,
            expects_qr=fact.expects_qr or state.expects_qr,
        )
    if fact.asked:
        up = page_restarts.forget(up)
    worker = state.worker
    if worker is None or worker.waits:
        # its request is renewed: the breaker does not delay a person's start
        renewed = state.slot is Slot.REQUESTED and state.asked is not fact.asked
        return replace(up, slot=Slot.FREE) if renewed else up
    if worker.stage is Stage.ENDING and (fresh or fact.restart):
        return replace(up, worker=replace(worker, planned=True))
    if fact.restart and worker.stage in _LIVING:
        slot = Slot.FREE if state.slot is Slot.REQUESTED else state.slot  # renewed, as above
        return replace(up, replacement=Replacement(None), slot=slot)
    return up


def _on_stop(state: SessionState, *, daemon_stopping: bool, moves: bool) -> SessionState:
    spent = state.retries.at is not None and state.worker is None
    if daemon_stopping and spent:  # it stays parked, and keeps its reason
        return replace(state, intent=Intent.PARKED, parked=ParkCause.RESTART_BUDGET)
    idle = state.worker is None and state.intent is not Intent.UP
    if daemon_stopping and (idle or state.intent is Intent.PARKED):
        return state
    down = replace(
        state,
        begun=True,
        intent=Intent.DOWN,
        daemon_stopping=daemon_stopping,
        moves=moves,
        replacement=None,
        retries=state.retries if daemon_stopping else Retries(),
    )
    return down if daemon_stopping else replace(down, failure=None)


def _on_restart(state: SessionState, it: RestartRequested, now: Moment, out: Out) -> SessionState:
    if state.intent is Intent.DOWN or (state.worker and state.worker.waits):
        return state  # it was stopped meanwhile, or has not begun
    if state.worker and state.worker.stage in _LIVING:
        return workers.with_replacement(state, it)
    if lifecycle(state) in _ON_ITS_WAY:
        return state  # its next worker is as this one wants it
    out(Record("retried", reason=it.why))
    up = _on_start(state, StartRequested(asked=False), now, out)
    # its request is renewed: the breaker does not delay what may be the cure
    slot = Slot.FREE if it.urgent and up.slot is Slot.REQUESTED else up.slot
    why = Failure(Blame.OPERATOR, "recycled", it.why)
    return replace(up, asked=it.urgent, failure=why, slot=slot)


def _on_slot(state: SessionState, now: Moment, out: Out) -> SessionState:
    if state.slot is not Slot.REQUESTED:
        out(ReleaseSlot())  # it does not want a slot any more
        return state
    if state.held_back and now.at - state.since >= _NOTABLE_WAIT:
        out(Record("start_waited", reason=state.held_back.words))
    granted = replace(state, slot=Slot.HELD, held_back=None)
    if state.retries.at is not None:
        out(Record("retried", reason=details(state)))
        return replace(granted, retries=Retries(state.retries.tries + 1, running=True))
    if state.uncounted:
        out(Record("restart", reason=str(state.failure)))
        return replace(granted, restarts=state.restarts + 1, uncounted=False)
    return granted


def _after_report(
    state: SessionState, now: Moment, out: Out, *, other_version: bool
) -> SessionState:
    """Park a session, or take it back, where its link needs a person."""
    worker = state.worker
    if worker is None or worker.stage is not Stage.READY:
        return state
    match worker.link:
        case Link.CONFLICT:
            return workers.on_conflict(state, worker, now, out)
        case Link.BLOCKED:
            why = worker.details or "WhatsApp blocks this session"
            return workers.park(state, ParkCause.BLOCKED, why, now, out)
        case Link.NEEDS_UPDATE if other_version:
            return state  # the schedule of versions reloads it
        case Link.NEEDS_UPDATE:
            why = worker.details or "WhatsApp needs a newer version of its page"
            return workers.park(state, ParkCause.NEEDS_UPDATE, why, now, out)
        case _ if worker.codes_ended:
            why = "no one scanned the QR codes that were shown"
            return workers.park(state, ParkCause.QR_EXPIRED, why, now, out)
        case _:
            return state


def _on_timer(state: SessionState, now: Moment, out: Out) -> SessionState:
    for passed in due(state, now.at):
        state = _on_due(state, passed, now, out)
    return state


def _on_due(  # noqa: C901 - a table of deadlines
    state: SessionState, passed: Due, now: Moment, out: Out
) -> SessionState:
    worker = state.worker
    if worker is None:
        return state  # START: ``_decide`` handles it
    if worker.stage is Stage.ENDING:
        return ending.on_due(state, worker, passed, now, out)
    match passed:
        case Due.UNRESPONSIVE:
            return workers.on_unresponsive(state, worker, now)
        case Due.LINK_OVERDUE:
            return replace(state, worker=replace(worker, overdue=True))
        case Due.PAGE_CALM:
            return page_restarts.on_calm(state, now, out)
        case Due.STABLE:
            return replace(state, counted=(), spared=0, retries=Retries())
        case Due.CONFLICT:
            return workers.on_conflict(state, worker, now, out)
        case (
            Due.START_OVERDUE
            | Due.WORKER_SILENT
            | Due.PAGE_SILENT
            | Due.LINK_UNKNOWN
            | Due.NO_NEW_CODE
        ):
            return workers.on_silent(state, worker, passed, now, out)
        case Due.KILL | Due.ANSWER | Due.START:
            return state
        case Due.FLOODED:
            why = f"{FLOODS}; it has not stopped for {FLOOD_LIMIT:.0f} s"
            return workers.park(state, ParkCause.PAGE_FLOODS, why, now, out)
        case Due.LINK_STUCK | Due.UPDATE | Due.PASSKEY_OVER | Due.COVERED | Due.LINK_STABLE:
            return on_due_care(state, worker, passed, now, out)
    assert_never(passed)


# ---- the next step towards what is wanted ----


def _decide(state: SessionState, now: Moment, out: Out) -> SessionState:
    worker = state.worker
    if worker is None:
        return decide_start(state, now, out)
    if worker.stage is Stage.ENDING:
        return state
    if state.intent is not Intent.UP:
        if worker.stage is Stage.SPAWNING:
            return state  # it is ended as soon as its process runs
        return workers.end(leave_slot(state, out), worker, None, now, out)
    if worker.waits:
        return let_start(state, worker, now, out)
    if state.replacement and worker.stage in _LIVING and not care.waits(worker, state.replacement):
        return _replace_worker(state, worker, state.replacement, now, out)
    if needs_core(state) or (state.upgrading and link(state) is Link.UNKNOWN):
        return state
    state = replace(state, upgrading=False) if state.upgrading else state
    return leave_slot(state, out)


def _replace_worker(
    state: SessionState, worker: Worker, planned: Replacement, now: Moment, out: Out
) -> SessionState:
    """Replace a worker that works: first request a slot, which one that still starts has, and let it serve meanwhile."""
    if state.slot is Slot.FREE:
        out(request_slot(state, ended_at=now.at, replacement=planned))
        return replace(state, slot=Slot.REQUESTED)
    if state.slot is Slot.REQUESTED:
        return state
    state = replace(state, upgrading=worker.outdated)
    if planned.why is None:
        return workers.end(state, worker, None, now, out)
    return workers.recycle(state, worker, planned.why, now, out)
