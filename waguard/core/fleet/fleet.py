"""What concerns all sessions: start slots, the breaker and its canary, the network, acks, memory. Pure.

All starts wait here. The breaker, and what the host lacks, are reasons not to grant a slot; a canary is a
session that gets one all the same. A conclusion about all sessions changes blame and order; it never stops the
deadlines of a single session.
"""

from typing import Final, NamedTuple

from waguard.core.backoff import NEVER
from waguard.core.blame import NOT_STARTED, Blame
from waguard.core.fleet import breaker as breakers
from waguard.core.fleet.acks import replace_for_acks, replaceable
from waguard.core.fleet.facts import (
    AcksSeen,
    BreakerChanged,
    CanaryStarted,
    Closing,
    FleetEffect,
    FleetFact,
    FleetOutage,
    FleetRulesChanged,
    Forgotten,
    HostRead,
    Measured,
)
from waguard.core.fleet.memory import on_measured
from waguard.core.fleet.network import Reading, is_away, outage
from waguard.core.fleet.page_restarts import EVERYWHERE, on_restarts, report_restarts
from waguard.core.fleet.slots import HOST_KINDS, READ_AGAIN, admit_next, report_host
from waguard.core.fleet.state import (
    FleetState,
    Member,
    Post,
    Report,
    Request,
    ToSession,
    many_late,
    offline_for,
    reached,
    tried_and_wanted,
)
from waguard.core.fleet.whatsapp import (
    ask_whatsapp,
    forget,
    next_try,
    on_failure,
    on_member,
    on_refusal,
)
from waguard.core.host.admission import Broken
from waguard.core.host.evidence import NO_BROWSER
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.session.effects import (
    BrowserStarted,
    LatenessChanged,
    MemberChanged,
    PageRestarts,
    ProxiedChanged,
    Recycled,
    RefusalChanged,
    ReleaseSlot,
    RequestSlot,
    WorkerFailed,
)
from waguard.core.session.facts import FleetChanged, Moment
from waguard.core.session.state import FleetView

ALL: Final = "*"
"""Every session."""
_DOWN: Final = frozenset({State.STOPPED, State.PARKED})


class FleetStep(NamedTuple):
    """The fleet afterwards, the facts for its sessions (``ALL``: for each of them), and effects for the shell."""

    fleet: FleetState
    posted: tuple[tuple[str, ToSession], ...] = ()
    effects: tuple[FleetEffect, ...] = ()


def advance(fleet: FleetState, session: str, fact: FleetFact, now: Moment) -> FleetStep:
    """Handle one fact; ``session``: the one that it is about, if any. Never raises."""
    posted: list[tuple[str, ToSession]] = []
    effects: list[FleetEffect] = []
    post, report = posted.append, effects.append
    after = _handle(fleet, session, fact, now, post)
    if isinstance(fact, Measured) and after is fleet:
        return FleetStep(
            fleet, tuple(posted)
        )  # of each session, again and again: nothing depends on it
    after = _update_network(after, now, report, asked=isinstance(fact, HostRead))
    if not after.closed:
        after = ask_whatsapp(after, now, post, report)
        after = admit_next(after, now, post)
        after = replace_for_acks(after, now, post, report)
        after = report_restarts(after, report)
    if not after.closed and (isinstance(fact, HostRead) or not after.waiting):
        after = report_host(after, now, report)
    _report_breaker(fleet, after, report)
    after = _view(after, post)
    return FleetStep(
        replace(after, read_host_at=_next_reading(after, now)), tuple(posted), tuple(effects)
    )


def _handle(  # noqa: C901, PLR0912 - a table of facts
    fleet: FleetState,
    session: str,
    fact: FleetFact,
    now: Moment,
    post: Post,
) -> FleetState:
    match fact:
        case RequestSlot():
            before = fleet.waiting.get(session)
            request = Request(fact, before.at if before else now.at)
            return replace(fleet, waiting={**fleet.waiting, session: request})
        case ReleaseSlot():
            return _release(fleet, session)
        case MemberChanged(state=state, link=link):
            fleet = _on_member(fleet, session, state, link, now)
            return on_member(fleet, session, state, link, now)
        case WorkerFailed(failure):
            # ``MemberChanged`` follows
            members = {**fleet.members, session: Member(State.BACKOFF, Link.UNKNOWN, now.at)}
            fleet = on_failure(replace(fleet, members=members), session, failure, now)
            if failure.reason in NO_BROWSER:
                trial = fleet.broken.trial if fleet.broken else None
                return replace(fleet, broken=Broken(failure, now.at, trial))
            if failure.blame is not Blame.SESSION:
                return fleet
            if fleet.broken and failure.reason == NOT_STARTED:
                # Chromium answers now, and answered too late for this try: the next one shows whether it starts
                return _after_trial(fleet, session)
            alike = breakers.Failure(session, failure.cause, now.at)
            wanted = {session, *tried_and_wanted(fleet)}
            opened = breakers.failed(fleet.rules.breaker, fleet.breaker, alike, wanted=wanted)
            return replace(fleet, breaker=opened)
        case BrowserStarted():
            return _after_trial(fleet, session)
        case Recycled():
            kept = {name: n for name, n in fleet.memory_in_vain.items() if name != session}
            recycled = {**fleet.recycled_at, session: now.at}
            return replace(fleet, recycled_at=recycled, memory_in_vain=kept)
        case HostRead():
            return replace(fleet, host=fact, host_at=now.at)
        case AcksSeen():
            return _with_acks(fleet, session, fact)
        case Measured():
            return on_measured(fleet, session, fact, now, post)
        case Forgotten():
            return forget(_forget(_release(fleet, session), session), session)
        case Closing():
            return replace(fleet, closed=True, waiting={})
        case FleetRulesChanged(rules):
            return replace(fleet, rules=rules)
        case PageRestarts():
            return on_restarts(fleet, session, fact)
        case LatenessChanged(late):
            rest = fleet.late - {session}
            return replace(fleet, late=rest | {session} if late else rest)
        case ProxiedChanged(proxied):
            rest = fleet.proxied - {session}
            return replace(fleet, proxied=rest | {session} if proxied else rest)
        case RefusalChanged():
            return on_refusal(fleet, session, fact, now)


def _with_acks(fleet: FleetState, session: str, seen: AcksSeen) -> FleetState:
    rest = {name: it for name, it in fleet.acks.items() if name != session}
    return replace(fleet, acks=rest if seen == AcksSeen() else {**rest, session: seen})


def _release(fleet: FleetState, session: str) -> FleetState:
    return replace(
        fleet,
        waiting={name: it for name, it in fleet.waiting.items() if name != session},
        starting=fleet.starting - {session},
    )


def _forget(fleet: FleetState, session: str) -> FleetState:
    return replace(
        fleet,
        members={name: it for name, it in fleet.members.items() if name != session},
        acks={name: it for name, it in fleet.acks.items() if name != session},
        recycled_at={name: it for name, it in fleet.recycled_at.items() if name != session},
        memory_in_vain={name: it for name, it in fleet.memory_in_vain.items() if name != session},
        restarting=fleet.restarting - {session},
        late=fleet.late - {session},
        proxied=fleet.proxied - {session},
        slow=None if fleet.slow == session else fleet.slow,
        recycling=None if fleet.recycling == session else fleet.recycling,
    )


def _after_trial(fleet: FleetState, session: str) -> FleetState:
    """Forget that Chromium starts for nobody, where this session is the one that tried it."""
    tried = fleet.broken is not None and fleet.broken.trial == session
    return replace(fleet, broken=None) if tried else fleet


def _on_member(
    fleet: FleetState, session: str, state: State, link: Link, now: Moment
) -> FleetState:
    before = fleet.members.get(session)
    same = before is not None and before.link is link
    since = before.link_since if before and same else now.at
    members = {**fleet.members, session: Member(state, link, since)}
    fleet = replace(fleet, members=members)
    if link is not Link.CONNECTED and (seen := fleet.acks.get(session)):
        # no ack can come: the waiting time of its sends begins again; whether it is on trial stays
        waiting = replace(seen, late=None, curable=None, overdue=False)
        fleet = _with_acks(fleet, session, waiting)
    if link is not Link.UNKNOWN and not (link is Link.OFFLINE and session in fleet.proxied):
        fleet = replace(fleet, breaker=breakers.came_up(fleet.breaker, session))
    on_its_way = state in {State.STARTING, State.RUNNING, State.RECYCLING} and link is Link.UNKNOWN
    if fleet.slow == session and not on_its_way:
        fleet = replace(fleet, slow=None)
    up = state is State.RUNNING and link is not Link.UNKNOWN
    if fleet.recycling == session and (up or state in _DOWN):
        fleet = replace(fleet, recycling=None)
    if session in fleet.memory_in_vain and state in _DOWN:  # its condition ends then, too
        kept = {name: n for name, n in fleet.memory_in_vain.items() if name != session}
        fleet = replace(fleet, memory_in_vain=kept)
    return fleet


def _update_network(fleet: FleetState, now: Moment, report: Report, *, asked: bool) -> FleetState:
    """Whether the network is away. ``asked``: the host was read just now; else only a connected session is evidence."""
    before, offline = fleet.network_down, offline_for(fleet, now.at)
    if fleet.closed or (before is None and not offline):
        return fleet
    if not asked and offline and not reached(fleet):
        return fleet
    reading = fleet.host.network if fleet.rules.watch_network else Reading()
    why = outage(
        before,
        reading,
        offline=offline,
        connected=len(reached(fleet)),
        threshold=fleet.rules.threshold,
    )
    came = before is not None and why is None
    if before != why:
        report(FleetOutage("network_down", why, {"offline": len(offline)}))
    return replace(
        fleet,
        network_down=why,
        network_unsure=why is not None and not is_away(reading),
        network_at=now.at if came else fleet.network_at,
    )


def _report_breaker(before: FleetState, after: FleetState, report: Report) -> None:
    was, now = before.breaker.opening, after.breaker.opening
    if was is None and now is not None:
        report(BreakerChanged(opened=True, cause=now.cause, sessions=tuple(sorted(now.sessions))))
    elif was is not None and now is None:
        report(BreakerChanged(opened=False, cause=was.cause, sessions=tuple(sorted(was.sessions))))
    elif was and now and now.canary and now.tried_at != was.tried_at:
        report(CanaryStarted(now.canary))


def _view(fleet: FleetState, post: Post) -> FleetState:
    opening = fleet.breaker.opening
    view = FleetView(
        network_down=fleet.network_down,
        network_unsure=fleet.network_unsure,
        network_since=fleet.network_at,
        pages_restart=fleet.outages.get(EVERYWHERE),
        breaker=breakers.words(fleet.rules.breaker, opening) if opening else None,
        browser_broken=fleet.broken is not None,
        many_late=many_late(fleet),
    )
    if view == fleet.view:
        return fleet
    post((ALL, FleetChanged(view)))
    return replace(fleet, view=view)


def _next_reading(fleet: FleetState, now: Moment) -> float:
    """When the host is to be read: only while something depends on it."""
    if fleet.closed:
        return NEVER
    full = len(fleet.starting) >= fleet.rules.limits.places
    busy = (
        (fleet.waiting and not full)
        or fleet.breaker.opening
        or fleet.broken
        or fleet.network_down
        or any(True for _ in replaceable(fleet))
        or any(kind in fleet.outages for kind in HOST_KINDS)
        or (offline_for(fleet, now.at) and not reached(fleet))
    )
    due = now.at if busy else next_try(fleet)
    return max(now.at, due, fleet.host_at + READ_AGAIN)
