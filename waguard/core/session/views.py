"""What is shown of a session: derived from its state, never stored beside it. Pure."""

from collections.abc import Iterable
from typing import Final

from waguard.core import passkey_link, remedies
from waguard.core.blame import Blame, Condition
from waguard.core.host.admission import Candidate, Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import BLAMES, Kind
from waguard.core.passkey_link import PasskeyLink
from waguard.core.replace import replace
from waguard.core.row_status import (
    DerivedStatus,
    ParkCause,
    Reason,
    StatusInputs,
    derive,
    why_it_starts,
)
from waguard.core.session.page_load import PORTAL
from waguard.core.session.state import Found, Intent, SessionState, Slot, Stage, Worker
from waguard.core.whatsapp_words import in_words

_ENDING: Final = {
    Intent.UP: State.RECYCLING,
    Intent.DOWN: State.STOPPING,
    Intent.PARKED: State.PARKING,
}
# while the host lacks these, no QR code can be expected
_LACKING: Final = frozenset(
    {
        Cause.EXECUTABLE,
        Cause.BROWSER_HANGS,
        Cause.SANDBOX,
        Cause.SESSIONS_FOLDER,
        Cause.DISK,
    }
)
_PHASES_WITHOUT_CORE: Final = frozenset({"settling", "ready"})
_WAIT_BLAMES: Final = {
    Cause.FLEET: Blame.SESSION,
    Cause.PLACE: Blame.OPERATOR,
    Cause.TURN: Blame.SESSION,
    Cause.WHATSAPP: Blame.WHATSAPP,
}
_PARK_BLAMES: Final = {
    ParkCause.RESTART_BUDGET: Blame.SESSION,
    ParkCause.BLOCKED: Blame.WHATSAPP,
    ParkCause.NEEDS_UPDATE: Blame.WHATSAPP,
    ParkCause.PROFILE_MISSING: Blame.HOST,
    ParkCause.PAGE_FLOODS: Blame.SESSION,
}
_SAY_MORE: Final = frozenset({Kind.PASSKEY_REQUIRED, Kind.WHATSAPP_REFUSES, Kind.LINK_STUCK})
_LINKS: Final = {
    Link.QR_PENDING: (Blame.OPERATOR, "it waits for a scan"),
    Link.LOGGED_OUT: (Blame.OPERATOR, "the phone removed this device"),
    Link.OFFLINE: (Blame.NETWORK, "the phone or the network is away"),
    Link.SYNCING: (Blame.WHATSAPP, "WhatsApp Web synchronizes"),
    Link.PAIRING: (Blame.WHATSAPP, "the phone links this device"),
    Link.UNKNOWN: (Blame.SESSION, "the page does not report the state of its link to WhatsApp"),
    Link.CONFLICT: (Blame.OPERATOR, "WhatsApp Web is open elsewhere with this device"),
    Link.BLOCKED: (Blame.WHATSAPP, "WhatsApp blocks this session"),
    Link.NEEDS_UPDATE: (Blame.WHATSAPP, "WhatsApp needs a newer version of its page"),
    Link.PASSKEY_REQUIRED: (Blame.OPERATOR, "WhatsApp asks for the account's passkey"),
}
UNPAIRED: Final = frozenset({Link.QR_PENDING, Link.LOGGED_OUT})
"""The page waits for a scan."""
# steps of a pairing: nothing is wrong
_ON_THE_WAY: Final = frozenset({Link.QR_PENDING, Link.LOGGED_OUT, Link.PAIRING})


def link(state: SessionState) -> Link:
    """The link to WhatsApp that a ready worker reports; else unknown."""
    worker = state.worker
    ready = worker is not None and (worker.stage is Stage.READY)
    return worker.link if worker is not None and ready else Link.UNKNOWN


def lifecycle(state: SessionState) -> State:
    """The lifecycle, in the words of the API."""
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
    """Whether its worker is an earlier daemon's and has not reported its state yet."""
    worker = state.worker
    if worker is None or not worker.adopted or worker.overdue:
        return False
    if worker.stage is Stage.ADOPTING:
        return True
    return worker.stage is Stage.READY and worker.link is Link.UNKNOWN


def needs_core(state: SessionState) -> bool:
    """Whether its start still uses a core, so that it keeps its slot."""
    worker = state.worker
    if worker is None:
        return True
    starting = worker.stage in {Stage.SPAWNING, Stage.STARTING}
    if worker.stage is Stage.ADOPTING:  # it was adopted while it waited for its slot
        starting = state.slot is Slot.HELD
    return starting and worker.phase not in _PHASES_WITHOUT_CORE


def candidate(state: SessionState, now: float) -> Candidate:
    """The session as a candidate for a start."""
    return Candidate(
        session=state.session,
        priority=state.priority,
        active=state.active,
        asked=state.asked,
        ended=None if state.ended_at is None else now - state.ended_at,
        new=state.expects_qr,
    )


def passkey(state: SessionState) -> PasskeyLink | None:
    """The linking that needs the account's passkey; None: none is under way."""
    worker = state.worker
    return worker.passkey if worker and link(state) is Link.PASSKEY_REQUIRED else None


def details(state: SessionState) -> str | None:
    """Why it is not healthy, in words; None: nothing is known."""
    if state.held_back:
        return state.held_back.words
    return str(state.failure) if state.failure else None


def _shown_details(state: SessionState) -> str | None:
    if linking := passkey(state):
        return f"passkey_required: {passkey_link.words(linking)}"
    reported = state.worker.details if state.worker else None
    if link(state) is Link.OFFLINE:  # an earlier failure does not matter any more
        return state.network_down or reported or details(state)
    return details(state) or reported


def derive_status(state: SessionState) -> DerivedStatus:
    """What the row should say; the row's status where nothing is known that could correct it."""
    if not state.begun:
        return state.status
    wait = state.held_back
    inputs = StatusInputs(
        state=lifecycle(state),
        link=link(state),
        parked=parked_for(state),
        daemon_stopping=state.daemon_stopping,
        moves=state.moves,
        left=state.left,
        expects_qr=state.expects_qr and not (wait and wait.cause in _LACKING),
        details=_shown_details(state),
        adopting=is_adopting(state),
        retrying=state.retries.running,
        requested=state.asked,
        stopped=_was_stopped(state),
        failed=state.failure is not None,
        link_overdue=state.worker is not None and state.worker.overdue,
    )
    return derive(inputs) or state.status


def _was_stopped(state: SessionState) -> bool:
    return state.status.reason is Reason.INSTANCE_RESTART


def parked_for(state: SessionState) -> ParkCause | None:
    """Why it waits for a person, or for its next try after it spent its restarts."""
    if state.intent is Intent.UP and state.retries.at is not None and state.worker is None:
        return ParkCause.RESTART_BUDGET
    return state.parked if state.intent is Intent.PARKED else None


def conditions(state: SessionState) -> tuple[Condition, ...]:
    """All conditions of the session, the cause of its status first; empty: it is healthy."""
    if state.left or state.intent is Intent.DOWN:
        return ()
    worker, found = state.worker, list[Condition]()
    if cause := parked_for(state):
        found.append(_of_parked(state, cause))
    elif worker is None or worker.stage is not Stage.READY:
        if not is_adopting(state):
            found.append(_of_start(state))
    elif _link_needs_words(state, worker):
        found.append(_of_link(state, worker))
    if state.pairing.lost_at is not None:
        found.append(_of_unlinked(state, state.pairing.lost_at))
    if worker and worker.unresponsive:
        found.append(_of_unresponsive(state, worker))
    found += [_of_page(state, kind, it) for kind, it in state.care.found.items()]
    return tuple(found)


def _link_needs_words(state: SessionState, worker: Worker) -> bool:
    """Whether the link is a condition: it is not connected, and no other condition explains that."""
    if worker.link is Link.CONNECTED or is_adopting(state):
        return False
    if worker.link in UNPAIRED and state.pairing.lost_at is not None:
        return False
    return state.care.found.keys().isdisjoint(_SAY_MORE)


def _of_parked(state: SessionState, cause: ParkCause) -> Condition:
    return Condition(
        session=state.session,
        type="parked",
        blame=_PARK_BLAMES.get(cause, Blame.OPERATOR),
        reason=str(cause),
        message=details(state) or str(cause),
        since=state.since,
        remedy=remedies.text(remedies.PARKED[cause], state.session),
        degrades=cause is not ParkCause.QR_EXPIRED,
    )


def unlinked(state: SessionState) -> str:
    """In words, that the session is not linked any more."""
    number = f"+{state.number}" if state.number else "its number"
    said = state.pairing.said
    why = f"WhatsApp says: {in_words(said)}" if said else "WhatsApp gave no reason"
    return f"{number} is not linked to this device any more, and waits for a scan; {why}"


def _of_unlinked(state: SessionState, since: float) -> Condition:
    remedy = remedies.NEW_CODE if state.intent is Intent.PARKED else remedies.LINKS[Link.QR_PENDING]
    return Condition(
        session=state.session,
        type="unlinked",
        blame=Blame.OPERATOR,
        reason="unlinked",
        message=unlinked(state),
        since=since,
        remedy=remedies.text(remedy, state.session),
    )


def _of_unresponsive(state: SessionState, worker: Worker) -> Condition:
    return Condition(
        session=state.session,
        type="page",
        blame=Blame.SESSION,
        reason="unresponsive",
        message=": ".join(filter(None, (worker.unresponsive, worker.evidence))),
        since=min(worker.heard_at, worker.page_at),
        remedy=remedies.text(remedies.UNRESPONSIVE, state.session),
    )


def _of_page(state: SessionState, kind: Kind, found: Found) -> Condition:
    everywhere = kind is Kind.PAGE_RESTARTS and state.fleet.pages_restart is not None
    linking = passkey(state) if kind is Kind.PASSKEY_REQUIRED else None
    remedy = remedies.PASSKEY[linking.stage] if linking else remedies.PAGE[kind]
    return Condition(
        session=state.session,
        type=str(kind),
        blame=Blame.WHATSAPP if everywhere else BLAMES[kind],
        reason=str(kind),
        message=found.message,
        since=found.at,
        remedy=remedies.text(remedy, state.session),
        until=found.until,
        stage=str(linking.stage) if linking else None,
        unattended_until=linking.unattended_until if linking else None,
    )


def _of_start(state: SessionState) -> Condition:
    wait, why, worker = state.held_back, state.failure, state.worker
    place = ""
    since, degrades = state.since, True
    if wait is not None:
        blame, reason = _WAIT_BLAMES.get(wait.cause, Blame.HOST), str(wait.cause)
        message, remedy = wait.words, remedies.STARTS[wait.cause]
        if wait.why:
            reason, remedy, place = (
                wait.why.reason,
                remedies.FAILED[wait.why.reason],
                wait.why.place,
            )
        degrades = not (state.expects_qr and wait.cause is Cause.PLACE)
    elif why is not None:
        blame, reason, message, place = why.blame, why.reason, str(why), why.place
        remedy = remedies.FAILED.get(reason, remedies.RETRIED)
    else:
        blame, reason, remedy = Blame.OPERATOR, "starting", remedies.STARTING
        it_starts = why_it_starts(requested=state.asked, stopped=_was_stopped(state))
        message = f"the worker is {lifecycle(state)}: {it_starts}"
        since, degrades = worker.since if worker else since, not state.expects_qr
    return Condition(
        session=state.session,
        type="start",
        blame=blame,
        reason=reason,
        message=message,
        since=since,
        remedy=remedies.text(remedy, state.session, **({"at": place} if place else {})),
        degrades=degrades,
    )


def _of_link(state: SessionState, worker: Worker) -> Condition:
    blame, message = _LINKS[worker.link]
    offline = worker.link is Link.OFFLINE
    away = state.network_down if offline else None
    portal = offline and (worker.details or "").startswith(PORTAL)
    remedy = remedies.PORTAL if portal else remedies.LINKS[worker.link]
    if away:
        remedy = remedies.PROXY if state.proxied else remedies.FLEET["network_down"]
    return Condition(
        session=state.session,
        type="link",
        blame=Blame.WHATSAPP if worker.refused else blame,
        reason="proxy" if away and state.proxied else str(worker.link),
        message=away or worker.details or message,
        since=worker.link_since,
        remedy=remedies.text(remedy, state.session),
        degrades=worker.link not in _ON_THE_WAY,
    )


def shown(
    conditions: Iterable[Condition], *, monotonic: float, wall: float
) -> tuple[Condition, ...]:
    """Show the conditions to people: with unix times."""
    return tuple(
        replace(
            it,
            since=wall - (monotonic - it.since),
            expires_in=None if it.until is None else max(0.0, it.until - wall),
            unattended_expires_in=None
            if it.unattended_until is None
            else max(0.0, it.unattended_until - wall),
        )
        for it in conditions
    )
