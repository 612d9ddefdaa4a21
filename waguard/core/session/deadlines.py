"""All that happens because time has passed: one list of deadlines, read off the state. The shell evaluates them at each
tick, and arms a timer for those that cannot wait for it. Monotonic seconds. Pure."""

from enum import StrEnum, auto
from typing import Final, NamedTuple

from waguard.core.backoff import NEVER
from waguard.core.link import Link
from waguard.core.page_care import (
    COVERED_LIMIT,
    FLOOD_LIMIT,
    PASSKEY_GRACE,
    STUCK,
    STUCK_AGAIN,
    UNSURE_LIMIT,
    UPDATE_APART,
    Kind,
    Step,
)
from waguard.core.passkey_link import WAITING
from waguard.core.replace import replace
from waguard.core.session.state import Intent, SessionState, Slot, Stage, Worker
from waguard.core.session.takeover import RETRY

# s connected, after which the steps tried against a stuck link are forgotten
LINK_STABLE: Final = 300.0


class Due(StrEnum):
    """What a passed deadline means. Where several are due they are handled in this order."""

    KILL = auto()
    ANSWER = auto()
    START_OVERDUE = auto()
    UNRESPONSIVE = auto()
    WORKER_SILENT = auto()
    PAGE_SILENT = auto()
    LINK_OVERDUE = auto()
    LINK_UNKNOWN = auto()
    NO_NEW_CODE = auto()
    CONFLICT = auto()
    LINK_STUCK = auto()
    UPDATE = auto()
    PASSKEY_OVER = auto()
    COVERED = auto()
    FLOODED = auto()
    LINK_STABLE = auto()
    PAGE_CALM = auto()
    STABLE = auto()
    START = auto()


def deadlines(state: SessionState) -> list[tuple[float, Due]]:
    """All deadlines of this state, in no order."""
    worker, rules = state.worker, state.rules
    if worker is None:
        waits = state.intent is Intent.UP and state.slot is Slot.FREE
        return [(state.not_before, Due.START)] if waits else []
    match worker.stage:
        case Stage.SPAWNING:
            return []  # the shell owes an answer: Spawned or SpawnFailed
        case Stage.ENDING:
            answers = worker.closing or worker.answer_at == NEVER
            found = [] if answers else [(worker.answer_at, Due.ANSWER)]
            return [*found, (worker.since + rules.stop_grace, Due.KILL)]
        case Stage.READY:
            return _of_page(state, worker)
        case Stage.ADOPTING | Stage.STARTING:
            found = list[tuple[float, Due]]()
            if worker.stage is Stage.ADOPTING and not worker.overdue:
                found.append((worker.since + rules.adopt, Due.LINK_OVERDUE))
            if not state.network_down and not worker.outdated:
                # while it waits for its start slot its heartbeats are all that it can do
                begun = worker.heard_at if worker.waits else worker.since
                found.append((begun + rules.limits.start, Due.START_OVERDUE))
            return found


def _of_page(state: SessionState, worker: Worker) -> list[tuple[float, Due]]:
    if not worker.outdated:
        return _of_unresponsive(state, worker) + _of_link(state, worker)
    if worker.page_at <= worker.since:
        return []  # none of its heartbeats was understood: whether its page answers is unknown
    return _of_unresponsive(state, worker)


def _of_unresponsive(state: SessionState, worker: Worker) -> list[tuple[float, Due]]:
    limits = state.rules.limits
    page = limits.unrecoverable_page if worker.unrecoverable else limits.page
    found = [(worker.page_at + page, Due.PAGE_SILENT)]
    if worker.late:  # reported first: how many are late together decides how long it may be
        excused = state.fleet.many_late or worker.closing  # whoever closes sends none
        silent = limits.worker_of_many if excused else limits.worker
        found.append((worker.heard_at + silent, Due.WORKER_SILENT))
    else:
        page_at = NEVER if worker.unresponsive else worker.page_at
        found.append((min(worker.heard_at, page_at) + limits.notice, Due.UNRESPONSIVE))
    return found


def _of_link(state: SessionState, worker: Worker) -> list[tuple[float, Due]]:
    limits, link, since = state.rules.limits, worker.link, worker.link_since
    found = list[tuple[float, Due]]()
    if link is Link.UNKNOWN:
        found.append((since + limits.link, Due.LINK_UNKNOWN))
        if not worker.overdue:
            found.append((since + _row_stays(state, worker), Due.LINK_OVERDUE))
    elif link is Link.QR_PENDING:
        found.append((worker.code_at + limits.code, Due.NO_NEW_CODE))
    elif link is Link.CONFLICT and state.takeovers and worker.page_at > state.takeovers[-1]:
        found.append((state.takeovers[-1] + RETRY, Due.CONFLICT))
    elif link is Link.CONNECTED:
        found += _of_connected(state, worker)
    if link in STUCK and (at := _stuck_at(state, worker)) is not None:
        found.append((at, Due.LINK_STUCK))
    if (calm := _calm_at(state, worker)) is not None:
        found.append((calm, Due.PAGE_CALM))
    if worker.flooded_since is not None:
        found.append((worker.flooded_since + FLOOD_LIMIT, Due.FLOODED))
    if (
        (linking := worker.passkey)
        and linking.stage not in WAITING
        and (state.care.passkey_reloaded != linking.until)
    ):
        found.append((worker.passkey_ends + PASSKEY_GRACE, Due.PASSKEY_OVER))
    return found


def _row_stays(state: SessionState, worker: Worker) -> float:
    """Seconds for which the row stays as it is while the link is unknown."""
    return state.rules.adopt if worker.adopted else state.rules.link_unknown


def _of_connected(state: SessionState, worker: Worker) -> list[tuple[float, Due]]:
    care, found = state.care, list[tuple[float, Due]]()
    if state.counted or state.retries.tries or state.spared:
        found.append((worker.link_since + state.rules.stable_after, Due.STABLE))
    if care.tried:
        found.append((worker.link_since + LINK_STABLE, Due.LINK_STABLE))
    if worker.update_since is not None and Kind.UPDATE_PERSISTS not in care.found:
        last = max(care.reloads, default=float("-inf"))
        found.append((max(worker.update_since, last + UPDATE_APART, care.idle_at), Due.UPDATE))
    if worker.covered_since is not None and Kind.ACTION_REQUIRED not in care.found:
        found.append((worker.covered_since + COVERED_LIMIT, Due.COVERED))
    return found


def _calm_at(state: SessionState, worker: Worker) -> float | None:
    """When loads that nobody asked for are forgotten; None: there are none."""
    care = state.care
    if not care.loads and not care.page_ends and Kind.PAGE_RESTARTS not in care.found:
        return None
    return max((worker.since, *care.loads[-1:])) + state.rules.restart.period


def _stuck_at(state: SessionState, worker: Worker) -> float | None:
    """When the next step against a link that does not move is due; None: there is none."""
    care = state.care
    if worker.refused:
        return None
    limit, _ = STUCK[worker.link]
    tried = [step for link, step in care.tried if link is worker.link]
    if care.stuck_in is worker.link and Kind.LINK_STUCK in care.found and not tried:
        limit = max(limit, STUCK_AGAIN)
    if state.network_unsure:
        since = max(worker.link_since, care.stepped_at)
        return None if Step.RELOAD in tried else since + max(UNSURE_LIMIT, limit)
    if state.network_down:
        return None
    return max(worker.link_since, state.fleet.network_since, care.stepped_at) + limit


def next_deadline(state: SessionState) -> float:
    """When ``TimerDue`` is to be posted next; ``NEVER``: there is no deadline."""
    return min(deadlines(state), default=(NEVER, None))[0]


class WhileHeard(NamedTuple):
    """When the next deadline of a ready page is, by its newest heartbeat: those that heartbeats move are so many seconds
    after it."""

    others: float
    page: float
    notice: float

    def next_deadline(self, heard_at: float, page_at: float) -> float:
        """As ``next_deadline`` of the state that has that heartbeat."""
        return min(self.others, page_at + self.page, min(heard_at, page_at) + self.notice)


def while_heard(state: SessionState) -> WhileHeard | None:
    """None: its deadlines depend on more of a heartbeat than when it was."""
    worker = state.worker
    if (
        worker is None
        or worker.stage is not Stage.READY
        or worker.outdated
        or worker.late
        or worker.unresponsive
        or worker.link is Link.CONFLICT
    ):
        return None
    limits = state.rules.limits
    others = min(_of_link(state, worker), default=(NEVER, None))[0]
    page = limits.unrecoverable_page if worker.unrecoverable else limits.page
    return WhileHeard(others, page, limits.notice)


def next_timer(state: SessionState) -> float:
    """When ``TimerDue`` cannot wait for the next tick, a second at most; ``NEVER``: all can. The deadlines of a ready page
    can: each heartbeat moves them, and hundreds of sessions would be hundreds of timers."""
    ready = state.worker is not None and state.worker.stage is Stage.READY
    return NEVER if ready else next_deadline(state)


def due(state: SessionState, now: float) -> list[Due]:
    """The deadlines that have passed, in the order of ``Due``."""
    order = list(Due)
    passed = {it for at, it in deadlines(state) if at <= now}
    return sorted(passed, key=order.index)


def forgive(state: SessionState, seconds: float, now: float) -> SessionState:
    """The daemon stood still for so many seconds and heard nobody: that time does not count as unresponsive."""
    if (worker := state.worker) is None:
        return state
    moved = replace(
        worker,
        since=min(now, worker.since + seconds),
        answer_at=worker.answer_at + seconds,
        heard_at=min(now, worker.heard_at + seconds),
        page_at=min(now, worker.page_at + seconds),
        link_since=min(now, worker.link_since + seconds),
        code_at=min(now, worker.code_at + seconds),
    )
    return replace(state, worker=moved)
