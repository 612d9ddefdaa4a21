"""What is shown of a session: read off its state, never stored beside it. Pure."""

from collections.abc import Iterable
from typing import Final

from waguard.core.admission import Candidate, Cause, Wait
from waguard.core.blame import Blame, Condition
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import ADVICE, BLAMES, Kind, passkey_words
from waguard.core.replace import replace
from waguard.core.state import Found, Intent, SessionState, Slot, Stage, Worker
from waguard.core.status import ParkCause, Standing, Verdict, derive

_ENDING: Final = {
    Intent.UP: State.RECYCLING,
    Intent.DOWN: State.STOPPING,
    Intent.PARKED: State.PARKING,
}
# while the host lacks these, no QR code is what comes next
_LACKING: Final = frozenset({Cause.EXECUTABLE, Cause.SESSIONS_FOLDER})
_PHASES_WITHOUT_CORE: Final = frozenset({"settling", "ready"})
_WAIT_BLAMES: Final = {
    Cause.FLEET: Blame.SESSION,
    Cause.PLACE: Blame.OPERATOR,
    Cause.TURN: Blame.SESSION,
    Cause.WHATSAPP: Blame.WHATSAPP,
}
_WAIT_REMEDIES: Final = {
    Cause.PLACE: "Nothing: it starts when one of the others is up. `restore.concurrency` says how many"
    " start at a time.",
    Cause.FLEET: "Remove what the sessions have in common; one is tried at intervals by itself.",
    Cause.EXECUTABLE: "Install Chromium, or set `browser.executable`; the session starts by itself.",
    Cause.SESSIONS_FOLDER: "Mount the disk of `paths.sessions`; the session starts by itself.",
    Cause.MEMORY: "Give the host more memory, or stop another session.",
    Cause.PRESSURE: "Give the host more memory, or stop another session.",
    Cause.PIDS: "Raise the limit of processes (TasksMax= of the unit).",
}
_RETRIED: Final = "Nothing: waguard tries it again. See `waguard why`."
_PARKED: Final = {
    ParkCause.RESTART_BUDGET: "It is tried again, ever more rarely; `reconnect` tries it now.",
    ParkCause.CONFLICT: "Close WhatsApp Web elsewhere, then `reconnect`.",
    ParkCause.BLOCKED: "Look at the phone; a restart does not help.",
    ParkCause.NEEDS_UPDATE: "Update waguard or wa-js, then `reconnect`.",
    ParkCause.QR_EXPIRED: "`waguard qr` shows a new code.",
    ParkCause.PROFILE_MISSING: "Restore its profile, or pair it anew by QR code.",
}
_PARK_BLAMES: Final = {
    ParkCause.RESTART_BUDGET: Blame.SESSION,
    ParkCause.BLOCKED: Blame.WHATSAPP,
    ParkCause.NEEDS_UPDATE: Blame.WHATSAPP,
    ParkCause.PROFILE_MISSING: Blame.HOST,
}
_SAY_MORE: Final = frozenset({Kind.PASSKEY_REQUIRED, Kind.WHATSAPP_REFUSES, Kind.LINK_STUCK})
_LINKS: Final = {
    Link.QR_PENDING: (Blame.OPERATOR, "it waits for a scan", "Scan the code: `waguard qr`."),
    Link.LOGGED_OUT: (
        Blame.OPERATOR,
        "the phone removed this device",
        "Scan the code: `waguard qr`.",
    ),
    Link.OFFLINE: (
        Blame.NETWORK,
        "the phone or the network is away",
        "Nothing: it reconnects by itself.",
    ),
    Link.SYNCING: (Blame.WHATSAPP, "WhatsApp Web synchronizes", "Nothing: it ends by itself."),
    Link.PAIRING: (Blame.WHATSAPP, "the phone links this device", "Nothing: it ends by itself."),
    Link.UNKNOWN: (
        Blame.SESSION,
        "the page does not say how it stands with WhatsApp",
        _RETRIED,
    ),
    Link.CONFLICT: (
        Blame.OPERATOR,
        "WhatsApp Web is open elsewhere with this device",
        "Close it there, then `reconnect`.",
    ),
    Link.BLOCKED: (Blame.WHATSAPP, "WhatsApp blocks this session", "Look at the phone."),
    Link.NEEDS_UPDATE: (
        Blame.WHATSAPP,
        "WhatsApp needs a newer version of its page",
        "Update waguard or wa-js, then `reconnect`.",
    ),
    Link.PASSKEY_REQUIRED: (
        Blame.OPERATOR,
        "WhatsApp asks for the account's passkey",
        "Let the account's owner go on.",
    ),
}


def link(state: SessionState) -> Link:
    """How it stands with WhatsApp, as far as a ready worker says."""
    worker = state.worker
    ready = worker is not None and (worker.stage is Stage.READY)
    return worker.link if worker is not None and ready else Link.UNKNOWN


def lifecycle(state: SessionState) -> State:
    """What its worker does."""
    if (worker := state.worker) is None:
        return _without_worker(state)
    match worker.stage:
        case Stage.ENDING:
            return _ENDING[state.intent]
        case Stage.SPAWNING if state.intent is not Intent.UP:
            return _ENDING[state.intent]
        case Stage.READY:
            return State.RUNNING
        case Stage.ADOPTING | Stage.SPAWNING | Stage.STARTING:
            return State.STARTING


def _without_worker(state: SessionState) -> State:
    match state.intent:
        case Intent.DOWN:
            return State.STOPPED
        case Intent.PARKED:
            return State.PARKED
        case Intent.UP if state.retries.at is not None:
            return State.PARKED
        case Intent.UP if state.slot is Slot.FREE or is_held_by_fleet(state):
            return State.BACKOFF
        case Intent.UP:
            return State.STARTING


def is_held_by_fleet(state: SessionState) -> bool:
    """Whether the fleet breaker keeps it down after a failure."""
    wait = state.held_back
    return wait is not None and wait.cause is Cause.FLEET and state.failure is not None


def is_adopting(state: SessionState) -> bool:
    """Whether its worker is an earlier daemon's and has not said yet how it stands."""
    worker = state.worker
    if worker is None or not worker.adopted or worker.overdue:
        return False
    if worker.stage is Stage.ADOPTING:
        return True
    return worker.stage is Stage.READY and worker.link is Link.UNKNOWN


def needs_core(state: SessionState) -> bool:
    """Whether its start still keeps a core from the next one."""
    worker = state.worker
    if worker is None:
        return True
    starting = worker.stage in {Stage.SPAWNING, Stage.STARTING}
    return starting and worker.phase not in _PHASES_WITHOUT_CORE


def candidate(state: SessionState, now: float) -> Candidate:
    """It, as one of those that are to start."""
    return Candidate(
        session=state.session,
        priority=state.priority,
        active=state.active,
        asked=state.asked,
        ended=None if state.ended_at is None else now - state.ended_at,
    )


def passkey(state: SessionState) -> str | None:
    """That its linking waits for the account's passkey, in words."""
    worker = state.worker
    if worker is None or link(state) is not Link.PASSKEY_REQUIRED or worker.passkey_until is None:
        return None
    return passkey_words(worker.passkey_until)


def details(state: SessionState) -> str | None:
    """Why it is not well, in words."""
    if state.held_back:
        return state.held_back.words
    return str(state.failure) if state.failure else None


def _shown_details(state: SessionState) -> str | None:
    if words := passkey(state):
        return f"passkey_required: {words}"
    reported = state.worker.details if state.worker else None
    if link(state) is Link.OFFLINE:  # why it was started is over
        return state.fleet.network_down or reported or details(state)
    return details(state) or reported


def derive_status(state: SessionState) -> Verdict:
    """What the row should say; its present word where nothing is known that could correct it."""
    if not state.begun:
        return state.status
    wait = state.held_back
    standing = Standing(
        state=lifecycle(state),
        link=link(state),
        parked=parked_for(state),
        daemon_stopping=state.daemon_stopping,
        left=state.left,
        expects_qr=state.expects_qr and not (wait and wait.cause in _LACKING),
        details=_shown_details(state),
        adopting=is_adopting(state),
        retrying=state.retries.running,
        link_overdue=state.worker is not None and state.worker.overdue,
    )
    return derive(standing) or state.status


def parked_for(state: SessionState) -> ParkCause | None:
    """Why it waits for a person, or for its next slow try."""
    if state.intent is Intent.UP and state.retries.at is not None and state.worker is None:
        return ParkCause.RESTART_BUDGET
    return state.parked if state.intent is Intent.PARKED else None


def conditions(state: SessionState) -> tuple[Condition, ...]:
    """Everything that is not well with it, the cause of the status first; empty: all is well."""
    if state.left or state.intent is Intent.DOWN:
        return ()
    worker, found = state.worker, list[Condition]()
    if cause := parked_for(state):
        blame = _PARK_BLAMES.get(cause, Blame.OPERATOR)
        why = details(state) or str(cause)
        found.append(_condition("parked", blame, str(cause), why, state.since, _PARKED[cause]))
    elif worker is None or worker.stage is not Stage.READY:
        if not is_adopting(state):
            found.append(_of_start(state))
    elif _link_needs_words(state, worker):
        found.append(_of_link(state, worker))
    if worker and worker.silence:
        since = min(worker.heard_at, worker.page_at)
        why = f"{worker.silence}: {worker.evidence}" if worker.evidence else worker.silence
        found.append(_condition("page", Blame.SESSION, "unresponsive", why, since, _RETRIED))
    found += [
        _condition(str(kind), BLAMES[kind], str(kind), it.message, it.at, ADVICE[kind], it)
        for kind, it in state.care.found.items()
    ]
    return tuple(found)


def _link_needs_words(state: SessionState, worker: Worker) -> bool:
    """Whether no condition of the page says more of the link than its name."""
    if worker.link is Link.CONNECTED or is_adopting(state):
        return False
    return state.care.found.keys().isdisjoint(_SAY_MORE)


def _condition(
    type_: str,
    blame: Blame,
    reason: str,
    message: str,
    since: float,
    remedy: str,
    found: Found | None = None,
) -> Condition:
    until = found.until if found else None
    return Condition(
        type=type_,
        blame=blame,
        reason=reason,
        message=message,
        since=since,
        remedy=remedy,
        until=until,
    )


def _of_start(state: SessionState) -> Condition:
    if (wait := state.held_back) is not None:
        return _of_wait(wait, state.since)
    if (why := state.failure) is not None:
        return _condition("start", why.blame, why.reason, str(why), state.since, _RETRIED)
    message = f"the worker is {lifecycle(state)}"
    since = state.worker.since if state.worker else state.since
    return _condition(
        "start", Blame.OPERATOR, "starting", message, since, "Nothing: it is on its way."
    )


def _of_wait(wait: Wait, since: float) -> Condition:
    blame = _WAIT_BLAMES.get(wait.cause, Blame.HOST)
    remedy = _WAIT_REMEDIES.get(wait.cause, _RETRIED)
    return _condition("start", blame, str(wait.cause), wait.words, since, remedy)


def _of_link(state: SessionState, worker: Worker) -> Condition:
    blame, message, remedy = _LINKS[worker.link]
    if worker.refused:
        blame = Blame.WHATSAPP
    offline = worker.link is Link.OFFLINE
    said = (offline and state.fleet.network_down) or worker.details or message
    return _condition("link", blame, str(worker.link), said, worker.link_since, remedy)


def shown(
    conditions: Iterable[Condition], *, monotonic: float, wall: float
) -> tuple[Condition, ...]:
    """As people read them: unix time."""
    return tuple(
        replace(
            it,
            since=wall - (monotonic - it.since),
            expires_in=None if it.until is None else max(0.0, it.until - wall),
        )
        for it in conditions
    )
