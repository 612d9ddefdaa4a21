"""Start slots: who may start now, and why each of the others waits. Pure.

``admission`` decides about single sessions. This module adds what concerns the fleet: the breaker with its canary,
a Chromium that does not start, and the one session that is tried although it spent its restarts.
"""

from collections.abc import Mapping
from typing import Final

from waguard.core.fleet import breaker as breakers
from waguard.core.fleet.state import FleetState, Post, Report, report_outage, under_way
from waguard.core.fleet.whatsapp import on_admitted, starts_held
from waguard.core.host.admission import (
    TRIAL,
    Broken,
    Candidate,
    Cause,
    Wait,
    admit,
    sessions_folder,
)
from waguard.core.host.evidence import BROWSER_HANGS, NO_SANDBOX
from waguard.core.lifecycle import State
from waguard.core.replace import replace
from waguard.core.session.facts import HeldBack, Moment, SlotGranted

AHEAD: Final = 16  # sessions that have a worker while only a place is missing: some MB each
READ_AGAIN: Final = 1.0  # s between two readings of the host
_OF_BROWSER: Final = {BROWSER_HANGS: "browser_hangs", NO_SANDBOX: "sandbox_missing"}
HOST_KINDS: Final = (
    "browser_missing",
    "browser_hangs",
    "sandbox_missing",
    "sessions_folder_missing",
    "disk_unusable",
)


def admit_next(fleet: FleetState, now: Moment, post: Post) -> FleetState:
    """Grant slots to those that may start, and post to the others why they wait."""
    if not fleet.waiting:
        return _try_canary(fleet, [], now)
    full = len(fleet.starting) >= fleet.rules.limits.places
    ahead = [name for name, request in fleet.waiting.items() if request.ahead]
    down = sum(not request.asked_for.replaces for request in fleet.waiting.values())
    if (
        full
        and len(ahead) in {down, AHEAD}
        and all(request.reported is Cause.PLACE for request in fleet.waiting.values())
    ):
        return fleet  # nothing changes until a slot is released
    if not full and now.at - fleet.host_at >= READ_AGAIN:
        return fleet  # the host is read first, at once
    before = fleet.breaker
    candidates = {name: _candidate(fleet, name, now) for name in fleet.waiting}
    held = [it for it in candidates.values() if not it.asked]
    if not full:  # a canary that is chosen while no slot is free would lose its turn
        fleet = _try_canary(fleet, held, now)
    opening = fleet.breaker.opening
    why = breakers.words(fleet.rules.breaker, opening) if opening else None
    chosen = opening.canary if opening and fleet.breaker is not before else None
    for canary in (chosen, fleet.whatsapp.canary):
        if canary in candidates:
            candidates[canary] = _as_asked(candidates[canary])
    slow = _slow_waits(fleet) | starts_held(fleet) | _planned_waits(fleet, why)
    decision = admit(
        fleet.rules.limits,
        fleet.host.left,
        [it for name, it in candidates.items() if name not in slow],
        starting=len(fleet.starting),
        fleet=why,
        paired=fleet.host.paired,
        trial=fleet.broken.at(now.at) if fleet.broken else None,
    )
    waiting = _bounded(fleet, decision.waiting, ahead)
    return _grant(fleet, decision.admitted, waiting | slow, now, post)


def _bounded(fleet: FleetState, waiting: Mapping[str, Wait], ahead: list[str]) -> dict[str, Wait]:
    """Let at most ``AHEAD`` have a worker before their Chromium may start; ``ahead`` have one already, and so has who is
    to be replaced."""
    room = (0 if fleet.broken else AHEAD) - len(ahead)
    bounded = dict(waiting)
    for name, wait in waiting.items():
        if wait.ahead and name not in ahead:
            works = fleet.waiting[name].asked_for.replaces
            room -= not works
            if works or room < 0:
                bounded[name] = Wait(wait.cause, wait.words)
    return bounded


def _candidate(fleet: FleetState, name: str, now: Moment) -> Candidate:
    it = fleet.waiting[name].asked_for
    # who is to be replaced gives its memory back when the slot is granted
    ended_at = now.at if it.replaces else it.ended_at
    return Candidate(
        session=name,
        priority=it.priority,
        active=it.active,
        asked=it.asked,
        ended=None if ended_at is None else now.at - ended_at,
        planned=it.planned,
        new=it.new,
    )


def _as_asked(it: Candidate) -> Candidate:
    """A canary starts as if a person had asked for it."""
    return Candidate(
        session=it.session,
        priority=it.priority,
        active=it.active,
        asked=True,
        ended=it.ended,
        new=it.new,
    )


def _try_canary(fleet: FleetState, held: list[Candidate], now: Moment) -> FleetState:
    if fleet.breaker.opening is None or fleet.whatsapp.why:
        return fleet  # while WhatsApp serves nobody, its own schedule decides
    if not held and any(it.state is State.BACKOFF for it in fleet.members.values()):
        return fleet  # they request a slot soon
    eligible = _eligible(fleet, held)
    if held and not eligible:
        return fleet  # a canary that may not start would lose its turn
    busy = under_way(fleet)
    tried = breakers.tried(fleet.rules.breaker, fleet.breaker, eligible, under_way=busy, now=now.at)
    return fleet if tried is fleet.breaker else replace(fleet, breaker=tried)


def _eligible(fleet: FleetState, held: list[Candidate]) -> list[Candidate]:
    """Who may be the canary: one that spent its restarts only where no other is held, and in its turn. Once it failed while
    the breaker is open, it starts like the others, and counts like them when it fails again."""
    others = [it for it in held if not fleet.waiting[it.session].asked_for.slow]
    slow = _slow_waits(fleet)
    return others or [it for it in held if it.session not in slow]


def _slow_waits(fleet: FleetState) -> dict[str, Wait]:
    """Why sessions that spent their restarts wait; all but the one that is next."""
    slow = {name: it for name, it in fleet.waiting.items() if it.asked_for.slow}
    if not slow:
        return {}
    why = "other sessions that spent their restarts are tried first, one at a time"
    free = fleet.slow is None and fleet.network_down is None
    turn = min(slow, key=lambda name: slow[name].at) if free else None
    return {name: Wait(Cause.TURN, why) for name in slow if name != turn}


def _planned_waits(fleet: FleetState, breaker: str | None) -> dict[str, Wait]:
    """Why planned replacements wait while the breaker is open: a new worker might not start."""
    if breaker is None:
        return {}
    wait = Wait(Cause.FLEET, breaker)
    return {name: wait for name, it in fleet.waiting.items() if it.asked_for.planned}


def _grant(
    fleet: FleetState,
    admitted: tuple[str, ...],
    waiting: Mapping[str, Wait],
    now: Moment,
    post: Post,
) -> FleetState:
    left = {name: it for name, it in fleet.waiting.items() if name not in admitted}
    for name in admitted:
        post((name, SlotGranted()))
        if fleet.waiting[name].asked_for.slow:
            fleet = replace(fleet, slow=name)
    for name, wait in waiting.items():
        # the numbers in its words change all the time; only another cause is news
        before = left[name]
        if before.reported is not wait.cause or (wait.ahead and not before.ahead):
            post((name, HeldBack(wait)))
            ahead = before.ahead or wait.ahead
            left[name] = replace(before, reported=wait.cause, ahead=ahead)
    fleet, broken = on_admitted(fleet, admitted, now), fleet.broken
    if broken and admitted:
        broken = Broken(broken.why, now.at, admitted[0])
    return replace(fleet, waiting=left, starting=fleet.starting.union(admitted), broken=broken)


def report_host(fleet: FleetState, now: Moment, report: Report) -> FleetState:
    """Report what the host lacks for all starts; while nobody waits, nothing is known to be missing."""
    host, broken = fleet.host.left, fleet.broken
    if not fleet.waiting:
        fleet = report_outage(fleet, "sessions_folder_missing", None, report)
        fleet = report_outage(fleet, "disk_unusable", None, report)
        # between a failure and its next try a session does not wait for a slot
        if broken and (fleet.starting or now.at - broken.tried_at < 2 * TRIAL):
            return fleet
        return _report_browser(replace(fleet, broken=None), None, report)
    if host.executable:
        # the executable is gone: its failures do not count for the next one
        fleet = replace(fleet, broken=None)
    fleet = _report_browser(fleet, host.executable, report)
    folder = sessions_folder(host, paired=fleet.host.paired)
    fleet = report_outage(fleet, "sessions_folder_missing", folder, report)
    return report_outage(fleet, "disk_unusable", str(host.disk) if host.disk else None, report)


def _report_browser(fleet: FleetState, missing: str | None, report: Report) -> FleetState:
    """``missing``: why there is none."""
    why = {"browser_missing": missing}
    if broken := fleet.broken:
        why = {_OF_BROWSER.get(broken.why.reason, "browser_missing"): str(broken.why)}
    for kind in ("browser_missing", *_OF_BROWSER.values()):
        fleet = report_outage(fleet, kind, why.get(kind), report)
    return fleet
