"""From the audit log to incidents: cause, actions, result. Pure.

An incident begins when a session stops being connected (or is logged out, restarted or parked). It ends when the
session is connected again, or was stopped on purpose. One that began with a condition of a connected session ends with
this condition; one in which an outage of another part began ends with this outage, where the session is connected before.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.incidents import changes, sentences
from waguard.core.incidents.changes import CHANGE
from waguard.core.incidents.entries import Entry, Incident
from waguard.core.incidents.kinds import (
    ADVICE,
    BEGUN,
    DIED,
    FLEET_BLAMES,
    FLEET_DONE,
    FLEET_ENDS,
    FLEET_OVER_AT_ONCE,
    FLEET_RESULTS,
    FLEET_STEPS,
    HEALTHY,
    LOSSES,
    OF_PAGE,
    OF_VERSIONS,
    ON_THE_WAY,
    OVER_AT_ONCE,
    OWN_ENDS,
    RESTORED,
    SESSION_ENDS,
    STARTED,
    TROUBLE,
    VERSION_NEWS,
)
from waguard.core.row_status import ParkCause

_BEGINS: Final = {end: begin for begin, end in OWN_ENDS.items()}
_FORGET: Final = frozenset({BEGUN, "adopted", "left"})
"""Nobody reports the end of an outage that began before."""


def fleet_condition(kind: str, message: str, *, since: float) -> Condition:
    """What concerns all sessions at once, as people see it. ``since``: unix time."""
    return Condition(
        type=kind,
        blame=FLEET_BLAMES.get(kind, Blame.HOST),
        reason=kind,
        message=message,
        since=since,
        remedy=remedies.text(remedies.FLEET[kind]),
    )


def needed_since(entries: Iterable[Entry], *, fleet: bool = False) -> float | None:
    """Unix time of the oldest entry that an open incident needs; None: no incident is open."""
    incidents = fold_fleet(entries) if fleet else fold(entries)
    return min((incident.began for incident in incidents if incident.ended is None), default=None)


def incident_event(entry: Entry) -> dict[str, Any] | None:
    """The event that the stream gets for an entry; None: the entry begins no incident."""
    if entry.kind not in TROUBLE:
        return None
    return {
        "kind": entry.kind,
        "before": entry.before,
        "after": entry.after,
        "reason": entry.reason,
    }


def fold(entries: Iterable[Entry], *, session: str | None = None) -> list[Incident]:
    """Incidents of a session in the order in which they began; ``entries`` oldest first. ``session``
    is named in the advice."""
    incidents: list[Incident] = []
    current: Incident | None = None
    change: Entry | None = None  # the newest one that may explain what follows
    outages: list[str] = []  # what other parts of waguard have reported, and not its end
    for entry in entries:
        at = entry.at or 0.0
        _follow(outages, entry)
        if change and not changes.may_explain(change, at):
            change = None
        if entry.kind == CHANGE and (done := changes.done(entry)):
            change = entry
            if current:
                current.actions.append(done)
            continue
        if entry.kind == "start_requested" and change and changes.is_start(change):
            continue  # the change says who did
        if current is None:
            current = _begun(entry, at, session)
            if current is None:
                continue
            # who started it before has not caused it
            if change and not changes.is_start(change) and (done := changes.done(change)):
                current.actions.insert(0, done)
            incidents.append(current)
        outage = next(iter(outages), None)
        if current.ended is not None or not _goes_on(current, entry, at, session, outage):
            current = None
    return incidents


def _follow(outages: list[str], entry: Entry) -> None:
    if entry.kind in _FORGET:
        outages.clear()
    elif entry.kind in SESSION_ENDS and entry.kind not in outages:
        outages.append(entry.kind)
    elif (begin := _BEGINS.get(entry.kind)) in outages:
        outages.remove(begin)


def _connected(incident: Incident, outage: str, session: str | None) -> None:
    """The connection does not end an outage that has nothing to do with it."""
    if incident.kind != outage:
        incident.actions.append("it was connected again")
    incident.kind, incident.advice = outage, _advice(ADVICE, outage, session)


def fold_fleet(entries: Iterable[Entry]) -> list[Incident]:
    """Fold the fleet's own audit log; several incidents can be open at once."""
    incidents: list[Incident] = []
    ongoing: dict[str, Incident] = {}
    deaths: set[str] = set()
    steps: list[str] = []  # about a version, not yet part of an incident
    for entry in entries:
        at, end = entry.at or 0.0, FLEET_ENDS.get(entry.kind)
        _add_change(ongoing, entry)
        if entry.kind in FLEET_STEPS and entry.reason:
            _of_versions(ongoing, steps).append(entry.reason)
        if entry.kind == DIED:
            if (who := _who(entry)) in deaths:
                continue  # a daemon reported it twice: it died before it could record that
            deaths.add(who)
        if end and end not in ongoing:
            ongoing[end] = Incident(
                _since(entry, at),
                entry.reason or entry.kind.replace("_", " "),
                actions=[*_taken(steps, entry.kind), FLEET_DONE[entry.kind]],
                advice=_advice(remedies.FLEET, entry.kind, None),
            )
            incidents.append(ongoing[end])
        elif entry.kind == DIED:
            ongoing[RESTORED].actions.append(f"the next daemon died as well: {entry.reason}")
        if result := FLEET_OVER_AT_ONCE.get(entry.kind):
            cause, done = entry.reason or entry.kind, _taken(steps, entry.kind)
            incidents.append(Incident(at, cause, actions=done, result=result, ended=at))
        if entry.kind == RESTORED and RESTORED in ongoing and entry.reason:
            ongoing[RESTORED].actions.append(entry.reason)
        ended = list(ongoing) if entry.kind == STARTED else [entry.kind]
        for incident in (ongoing.pop(kind) for kind in ended if kind in ongoing):
            incident.result, incident.ended = FLEET_RESULTS[entry.kind], at
            incident.advice = None
    return incidents


def _add_change(ongoing: Mapping[str, Incident], entry: Entry) -> None:
    if entry.kind == CHANGE and (found := changes.done_to_all(entry)) and found[0] in ongoing:
        ongoing[found[0]].actions.append(found[1])


def _of_versions(ongoing: Mapping[str, Incident], steps: list[str]) -> list[str]:
    """The list that a step about a version belongs to: an open incident's, or that of the next one."""
    return next((ongoing[it].actions for it in OF_VERSIONS if it in ongoing), steps)


def _taken(steps: list[str], kind: str) -> list[str]:
    """The steps that led to an entry of this kind; each is reported once."""
    if FLEET_ENDS.get(kind) not in OF_VERSIONS and kind not in VERSION_NEWS:
        return []
    taken = steps[:]
    steps.clear()
    return taken


def _who(entry: Entry) -> str:
    """Which process died."""
    known = [entry.evidence.get(name) for name in ("boot", "pid", "start_time")]
    return str(known if any(known) else entry.reason)


def _since(entry: Entry, at: float) -> float:
    """When it began: a death is reported by the next daemon, and by its clock."""
    seen = entry.evidence.get("last_seen")
    return min(float(seen), at) if entry.kind == DIED and isinstance(seen, int | float) else at


def _begun(entry: Entry, at: float, session: str | None) -> Incident | None:
    if entry.kind == "status" and entry.before in HEALTHY and entry.after not in HEALTHY:
        return Incident(at, entry.reason or f"it became {entry.after}")
    if entry.kind not in TROUBLE:
        return None
    begun = Incident(at, entry.reason or entry.kind.replace("_", " "), kind=entry.kind)
    begun.advice = _advice(ADVICE, entry.kind, session)
    if result := OVER_AT_ONCE.get(entry.kind):
        begun.actions.append(sentences.done(entry) or "")
        begun.result, begun.ended = result, at
    return begun


def _advice(known: Mapping[str, str], kind: str, session: str | None) -> str | None:
    return remedies.text(known[kind], session) if kind in known else None


def _goes_on(
    incident: Incident, entry: Entry, at: float, session: str | None, outage: str | None
) -> bool:
    """Add the entry; whether the incident is still open after it. ``outage``: another part reports it still."""
    if outage and entry.kind == "status" and entry.after in HEALTHY:
        _connected(incident, outage, session)
        return True
    if entry.kind == "status":
        return _still_unhealthy(incident, entry, at)
    if result := sentences.ending(incident, entry):
        incident.result, incident.ended, incident.advice = result, at, None
        return False
    begins = entry.kind in OF_PAGE and entry.kind == incident.kind
    if not begins and (done := sentences.done(entry)):
        incident.actions.append(done)
    incident.pause = max(incident.pause or (0.0, ""), sentences.pause(entry))
    if entry.kind in LOSSES:
        _lost(incident)
    incident.advice = _advised(incident, entry, session)
    return True


def _advised(incident: Incident, entry: Entry, session: str | None) -> str | None:
    """What helps after the entry. What an unlink needs goes before what another part reports meanwhile."""
    if entry.kind == "parked" and entry.reason in set(ParkCause):
        return remedies.text(remedies.PARKED[ParkCause(entry.reason)], session)
    if over := _BEGINS.get(entry.kind):
        its_own = incident.advice == _advice(ADVICE, over, session)
        return _advice(ADVICE, incident.kind, session) if its_own else incident.advice
    if entry.kind in SESSION_ENDS and incident.advice:
        return incident.advice
    return _advice(ADVICE, entry.kind, session) or incident.advice


def _lost(incident: Incident) -> None:
    """The session has to be connected again: what the incident began with may end before."""
    if incident.kind in OWN_ENDS:
        incident.kind = ""


def _still_unhealthy(incident: Incident, entry: Entry, at: float) -> bool:
    if entry.after in HEALTHY:
        incident.result, incident.ended, incident.advice = "connected again", at, None
        return False
    if entry.after not in ON_THE_WAY and entry.reason is None:
        incident.result, incident.ended, incident.advice = "stopped on purpose", at, None
        return False
    if entry.before in HEALTHY:
        _lost(incident)
    return True
