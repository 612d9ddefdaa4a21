"""Facts about one worker: what it reports, that it does not answer, and how it ends. Pure."""

from typing import Final

from waguard.core.backoff import NEVER
from waguard.core.blame import MAY_BE_OUT_OF_MEMORY, Blame, Failure, of_exit
from waguard.core.host.evidence import WAITED_FOR
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session import after_failure, page_restarts, takeover
from waguard.core.session.care import report_care
from waguard.core.session.deadlines import Due
from waguard.core.session.effects import (
    Backfill,
    BrowserStarted,
    CheckAnswer,
    Kill,
    Record,
    Recycled,
    ReleaseSlot,
    TakeOver,
    Terminate,
    WorkerFailed,
)
from waguard.core.session.facts import Beat, Exited, Moment, Reported, RestartRequested
from waguard.core.session.out import Out
from waguard.core.session.restart import Retries
from waguard.core.session.state import (
    Intent,
    Pairing,
    Replacement,
    SessionState,
    Slot,
    Stage,
    Worker,
)
from waguard.core.session.views import UNPAIRED, unlinked

HUNG: Final = "a worker or its page hung"
NOT_READY: Final = "it did not become ready"
_HAS_BROWSER: Final = frozenset({"loading", "settling", "ready"})
_ELSEWHERE: Final = "WhatsApp Web is open elsewhere with this device"
_DELAYED_BY_SLOTS: Final = frozenset({"browser_unusable", "lease_expired"})


def with_replacement(state: SessionState, it: RestartRequested) -> SessionState:
    """Have its worker replaced as planned. What is requested already stays, but where this one is more urgent."""
    before, waits = state.replacement, state.slot is Slot.REQUESTED
    if before and waits and (before.why is None or before.urgent):
        return state
    # a stuck link's may be cancelled, and waits for nobody
    renewed = waits and it.urgent and not (before and before.stuck)
    slot = Slot.FREE if renewed else state.slot
    return replace(state, replacement=Replacement(it.why, urgent=it.urgent), slot=slot)


def new_worker(state: SessionState, stage: Stage, now: Moment, *, waits: bool = False) -> Worker:
    """The session's next worker."""
    return Worker(
        number=state.workers + 1,
        stage=stage,
        since=now.at,
        heard_at=now.at,
        page_at=now.at,
        link_since=now.at,
        code_at=now.at,
        waits=waits,
    )


def heard(state: SessionState, worker: Worker, beat: Beat) -> SessionState:
    """Apply a heartbeat."""
    page_at = worker.page_at if beat.page_at is None else max(worker.page_at, beat.page_at)
    return replace(
        state,
        worker=replace(
            worker,
            heard_at=max(worker.heard_at, beat.at),
            page_at=page_at,
            unrecoverable=beat.unrecoverable,
        ),
    )


def can_wait(state: SessionState, beat: Beat) -> bool:
    """Whether a heartbeat only moves deadlines away: it may be applied when one of them is due, or before the session's
    next fact."""
    worker = state.worker
    return (
        worker is not None
        and worker.number == beat.worker
        and worker.stage is Stage.READY
        and worker.unresponsive is None
        and worker.unrecoverable is beat.unrecoverable
        and beat.page_at is not None
    )


def on_beat(state: SessionState, worker: Worker, beat: Beat, now: Moment) -> SessionState:
    """Apply a heartbeat of a worker that was unresponsive."""
    state = heard(state, worker, beat)
    return _heard_again(state, now)


def _heard_again(state: SessionState, now: Moment) -> SessionState:
    worker = state.worker
    if worker is None or worker.unresponsive is None:
        return state
    return on_unresponsive(state, worker, now)


def on_unresponsive(state: SessionState, worker: Worker, now: Moment) -> SessionState:
    """A layer has not answered for ``limits.notice``, or answers again: it is only reported."""
    notice, words = state.rules.limits.notice, None
    late = now.at - worker.heard_at >= notice
    if late:
        words = "the worker does not answer"
    elif now.at - worker.page_at >= notice:
        words = "the page does not answer"
    if (words, late) == (worker.unresponsive, worker.late):
        return state
    return replace(state, worker=replace(worker, unresponsive=words, late=late))


def on_silent(
    state: SessionState, worker: Worker, passed: Due, now: Moment, out: Out
) -> SessionState:
    """A limit for answers has passed: the worker is ended, and replaced."""
    limits, at = state.rules.limits, now.at
    match passed:
        case Due.START_OVERDUE:
            reason, since = "not_ready", worker.since
            why = f"not ready {limits.start:g} s after its start"
        case Due.WORKER_SILENT:
            reason, since = "worker_silent", worker.heard_at
            why = f"the worker has not answered for {at - since:.0f} s"
        case Due.PAGE_SILENT:
            reason, since = "page_silent", worker.page_at
            why = f"the page has not answered for {at - since:.0f} s"
        case Due.NO_NEW_CODE:
            reason, since = "no_new_code", worker.code_at
            why = f"the page has shown no new QR code for {at - since:.0f} s"
        case _:
            reason, since = "link_unknown", worker.link_since
            why = f"the page has not reported the state of its link to WhatsApp for {at - since:.0f} s"
    state = _without(state, at - since)
    if worker.evidence:
        why = f"{why}: {worker.evidence}"
    cause = HUNG if worker.stage is Stage.READY else NOT_READY
    ended = end(state, worker, Failure(Blame.SESSION, reason, cause, why), now, out)
    if passed is not Due.WORKER_SILENT or worker.closing or ended.worker is None:
        return ended
    # a loop that hangs cannot close anything, and would only use up its time; one that waits for a core can
    out(CheckAnswer(worker.number))
    return replace(ended, worker=replace(ended.worker, answer_at=NEVER))


def _without(state: SessionState, unwell: float) -> SessionState:
    """Do not count the seconds in which a worker was unhealthy as time since its restart. Otherwise a fault that takes
    as long as ``restart.period`` to show would be restarted forever."""
    return replace(state, counted=tuple(at + unwell for at in state.counted))


def on_report(
    state: SessionState, worker: Worker, said: Reported, now: Moment, out: Out
) -> SessionState:
    """Apply a report of the worker's whole state."""
    ready = said.phase == "ready" and worker.stage in {Stage.STARTING, Stage.ADOPTING, Stage.READY}
    became_ready = ready and worker.stage is not Stage.READY
    changed = said.link is not worker.link or (became_ready and not worker.adopted)
    new_code = said.code is not None and said.code != worker.code
    after = replace(
        worker,
        stage=Stage.READY if ready else worker.stage,
        since=now.at if became_ready else worker.since,
        heard_at=said.at,
        page_at=said.at if became_ready else worker.page_at,
        waits=said.waits,
        phase=said.phase,
        link=said.link,
        link_since=now.at if changed else worker.link_since,
        overdue=worker.overdue and said.link is Link.UNKNOWN,
        code=said.code,
        codes_ended=said.codes_ended,
        code_at=now.at if new_code or changed else worker.code_at,
        loads=said.loads,
        in_use=page_restarts.in_use(worker, said),
        scripts_ended=said.scripts_ended,
        details=said.details,
        socket=said.socket,
        evidence=said.evidence,
    )
    if said.phase in _HAS_BROWSER and worker.phase not in _HAS_BROWSER:
        out(BrowserStarted())
    state = replace(
        state,
        worker=after,
        phone=said.phone or state.phone,
        showed_code=(state.showed_code or said.code is not None) and not said.phone,
    )
    state = _heard_again(state, now)
    pairing = state.pairing
    if after.stage is Stage.READY:
        state = _pairing(_on_link(state, said.link), said.link, now, out)
    state = report_care(state, said, now, out)
    state = page_restarts.count(state, worker, said, now, out)
    if state.pairing != pairing:  # a pairing loads the page, and so does an unlink
        state = page_restarts.on_calm(state, now, out)
    if why := page_restarts.failure(state, now):
        state = _without(state, now.at - state.care.loads[0])
        return end(page_restarts.ended(state), after, why, now, out)
    return _backfill(state, out)


def _on_link(state: SessionState, link: Link) -> SessionState:
    """Forget failures that the link of a ready page disproves."""
    if link is Link.UNKNOWN:
        return state
    state = replace(state, retries=Retries(state.retries.tries), spared=0)
    if link is Link.CONNECTED:
        return replace(state, failure=None, expects_qr=False)
    if link is Link.QR_PENDING:
        return replace(state, failure=None, expects_qr=True)
    return state


def _pairing(state: SessionState, link: Link, now: Moment, out: Out) -> SessionState:
    """Follow whether the account is linked to this device."""
    pairing = state.pairing
    if link is Link.CONNECTED:
        # a reason may come before the page shows that the session is unlinked
        said = pairing.said if pairing.lost_at is None else None
        return replace(state, pairing=Pairing(made=True, said=said))
    if link not in UNPAIRED or state.left or not pairing.made or pairing.lost_at is not None:
        return state
    state = replace(state, pairing=replace(pairing, lost_at=now.at))
    out(Record("unlinked", reason=unlinked(state)))
    return state


def _backfill(state: SessionState, out: Out) -> SessionState:
    """Request a backfill, once after each load."""
    worker = state.worker
    if worker is None or worker.stage is not Stage.READY or worker.link is not Link.CONNECTED:
        return state
    if worker.backfilled == worker.loads:
        return state
    out(Backfill(worker.number, worker.loads))
    return replace(state, worker=replace(worker, backfilled=worker.loads))


def on_conflict(state: SessionState, worker: Worker, now: Moment, out: Out) -> SessionState:
    """Another client of this device took the session: take it back, or park it."""
    if not state.rules.takeover:
        return park(state, ParkCause.CONFLICT, _ELSEWHERE, now, out)
    if state.takeovers and worker.page_at <= state.takeovers[-1]:
        return state  # a page that hangs cannot report that it is connected again
    recent_ones = tuple(takeover.recent(state.takeovers, now=now.at))
    match takeover.answer(recent_ones, now=now.at):
        case takeover.Answer.WAIT:
            return state
        case takeover.Answer.TAKE_OVER:
            out(Record("taken_over", reason=_ELSEWHERE))
            out(TakeOver(worker.number))
            return replace(state, takeovers=(*recent_ones, now.at))
        case takeover.Answer.PARK:
            count, minutes = len(recent_ones), takeover.PERIOD / 60
            why = f"{_ELSEWHERE}: it was taken back {count} times in {minutes:g} min"
            return park(state, ParkCause.CONFLICT, why, now, out)


def park(state: SessionState, cause: ParkCause, why: str, now: Moment, out: Out) -> SessionState:
    """Park the session: only a person can help."""
    out(Record("parked", reason=str(cause), evidence={"details": why}))
    blamed = Failure(Blame.OPERATOR, str(cause), str(cause), why)
    return replace(
        state,
        begun=True,
        intent=Intent.PARKED,
        # a profile is looked for where the row wants the session up, whoever deleted it before
        left=state.left and cause is not ParkCause.PROFILE_MISSING,
        parked=cause,
        failure=blamed,
        since=now.at,
        replacement=None,
        retries=Retries(state.retries.tries),
    )


# ---- its end ----


def end(
    state: SessionState, worker: Worker, why: Failure | None, now: Moment, out: Out
) -> SessionState:
    """Request the worker's end; ``why`` None: it is planned."""
    out(Terminate(worker.number, why))
    ending = replace(
        worker,
        stage=Stage.ENDING,
        since=now.at,
        answer_at=now.at + state.rules.answer if worker.phase and not worker.outdated else NEVER,
        planned=why is None,
        waits=False,
        unresponsive=None,
        late=False,
    )
    ended = replace(state, worker=ending)
    return ended if why is None else replace(ended, failure=why, since=now.at)


def recycle(state: SessionState, worker: Worker, why: str, now: Moment, out: Out) -> SessionState:
    """Replace it as planned."""
    out(Record("recycled", reason=why))
    out(Recycled())
    state = replace(state, failure=Failure(Blame.OPERATOR, "recycled", why))
    return end(replace(state, recycled_at=now.at), worker, None, now, out)


def kill(state: SessionState, out: Out) -> SessionState:
    """Kill the worker: it does not end by itself."""
    if (worker := state.worker) is None:
        return state
    out(Kill(worker.number))
    return replace(state, worker=replace(worker, answer_at=NEVER))


def on_exit(state: SessionState, worker: Worker, it: Exited, now: Moment, out: Out) -> SessionState:
    """Worker and browser are gone."""
    ending = worker.stage is Stage.ENDING
    killed = it.code in MAY_BE_OUT_OF_MEMORY and not ending
    state = replace(state, ended_at=None if killed else now.at)
    failure = of_exit(it.code, it.details or worker.details)
    if ending and state.failure:
        failure = state.failure  # why it was ended, not its exit code
    return on_end(state, worker, it.host or failure, now, out)


def on_end(
    state: SessionState, worker: Worker, failure: Failure, now: Moment, out: Out
) -> SessionState:
    """The worker ended, or could not be started. After a planned end the next one starts at once; else the blame
    decides."""
    down = replace(state, worker=None, replacement=None)
    if state.intent is not Intent.UP:
        return down
    if worker.planned and state.slot is Slot.REQUESTED:
        return replace(down, slot=Slot.FREE, held_back=None)  # requested while a worker worked
    if worker.planned:  # its slot is kept for the next worker
        return down
    if down.slot is not Slot.FREE:
        out(ReleaseSlot())
        down = replace(down, slot=Slot.FREE, held_back=None)
    out(WorkerFailed(failure))
    down = replace(down, failure=failure, since=now.at, asked=False)
    match failure.blame:
        case Blame.HOST:
            # others may start meanwhile; ``slots`` delays starts while none can
            reread = failure.reason in WAITED_FOR | _DELAYED_BY_SLOTS
            wait = 0.0 if reread else state.rules.held_retry
            return replace(down, retries=Retries(state.retries.tries), not_before=now.at + wait)
        case Blame.SESSION:
            if worker.stage is Stage.STARTING:
                down = _without(down, now.at - worker.since)
            return after_failure.of_its_own(down, failure, now, out)
        case Blame.NETWORK | Blame.WHATSAPP | Blame.OPERATOR:
            return after_failure.of_others(down, failure, now, out)
