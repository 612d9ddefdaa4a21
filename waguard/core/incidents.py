"""From the audit log to incidents: cause, actions, result. Pure.

An incident begins when a session stops being connected (or is logged out, restarted or parked). It ends when the
session is connected again, or was stopped on purpose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.status import ParkCause, Status

_HEALTHY: Final = frozenset({Status.CONNECTED})
# the way to the first connection is no incident
_ON_THE_WAY: Final = frozenset({Status.QR_SCANNING, Status.AUTHENTICATED})
_TROUBLE: Final = frozenset(
    {
        *("restart", "parked", "logged_out", "profile_mended", "reconciled", "row_corrected"),
        *(
            "acks_missing",
            "sends_throw",
            "page_deaf",
            "webhooks_held",
            "webhooks_down",
            "backfill_gap",
            "supervision_failed",
        ),
        "undecryptable_given_up",
        *map(str, Kind),
    }
)
# what ends any incident of a session
_BACK: Final = {
    "acks_back": "WhatsApp acknowledges again",
    "sends_back": "its page sends again",
    "page_hears": "its page raises events again",
    "webhooks_released": "its webhooks are delivered again",
    "webhooks_up": "its receiver accepts webhooks again",
    "supervision_goes_on": "waguard watches it again",
}
# what ends only the incident that it began
_OVER: Final = {f"{kind}_over": str(kind) for kind in Kind}
_OF_PAGE: Final = frozenset(map(str, Kind))
_ADVICE: Final[Mapping[str, str]] = {
    **{str(kind): advice for kind, advice in remedies.PAGE.items()},
    **{kind: remedies.FLEET[kind] for kind in ("webhooks_held", "webhooks_down")},
    "logged_out": remedies.LINKS[Link.LOGGED_OUT],
    "supervision_failed": remedies.FAULT,
    "acks_missing": remedies.ACKS_LATE,
    "sends_throw": remedies.SENDS_THROW,
    "page_deaf": remedies.DEAF,
}
# what is over as soon as it is recorded, unless it is part of another incident
_OVER_AT_ONCE: Final = {
    "row_corrected": "the row is right again",
    "backfill_gap": "the session goes on",
    "undecryptable_given_up": "the session goes on",
}
SESSION_ENDS: Final = {"webhooks_held": "webhooks_released", "webhooks_down": "webhooks_up"}
"""What other parts of waguard report of a session, and what ends it."""
STARTED: Final = "waguard_started"
DIED: Final = "daemon_died"
RESTORED: Final = "daemon_restored"
# kinds that concern all sessions at once, and the kind that ends each
FLEET_ENDS: Final = {
    "fleet_breaker_opened": "fleet_breaker_closed",
    "network_down": "network_up",
    "database_down": "database_up",
    "disk_low": "disk_free",
    "acks_missing_everywhere": "acks_back_everywhere",
    "sends_throw_everywhere": "sends_back_everywhere",
    "webhooks_down": "webhooks_up",
    "webhooks_late": "webhooks_in_time",
    "dead_letters": "dead_letters_gone",
    "letters_uncertain": "letters_certain",
    "letters_undecryptable": "letters_read",
    "database_behind": "database_caught_up",
    "runtime_removed": "runtime_back",
    "browser_missing": "browser_back",
    "sessions_folder_missing": "sessions_folder_back",
    "lease_held": "lease_taken",
    "whatsapp_refuses": "whatsapp_serves",
    "version_held": "version_released",
    "version_refused": "version_accepted",
    "bundle_rolled_back": "bundle_released",
    DIED: RESTORED,
}
FLEET_STEPS: Final = frozenset({"version_suspected", "version_held_long", "version_works"})
"""Steps about a version: they are part of the incident that they lead to."""
_OF_VERSIONS: Final = ("version_released", "version_accepted", "bundle_released")
_FLEET_DONE: Final = {
    "fleet_breaker_opened": "restarts waited, one session was tried at a time",
    "network_down": "no session was restarted for it",
    "database_down": "sessions went on; workers kept what they received until it was stored",
    "disk_low": "new work was refused; received messages were stored",
    "acks_missing_everywhere": "no worker was replaced for it",
    "sends_throw_everywhere": "one worker at a time was replaced, at growing intervals",
    "webhooks_down": "webhooks waited in the database; one at a time was tried",
    "webhooks_late": "the others were delivered",
    "dead_letters": "these were not sent to the receiver again",
    "letters_uncertain": "they were not delivered again: the application may have them",
    "letters_undecryptable": "the phone has the messages",
    "database_behind": "new work was refused; received messages waited",
    "runtime_removed": "sessions went on; the folder was created again where possible",
    "browser_missing": "sessions that were to start waited; no restart was spent",
    "sessions_folder_missing": "sessions that were to start waited; no new profile was created",
    "lease_held": "nothing was supervised, sent or delivered from here",
    "whatsapp_refuses": "one session at a time tried for all, at growing intervals; no restart was spent",
    "version_held": "sessions that were ill, or had not sent anything, were loaded with an older version",
    "version_refused": "the sessions keep what they have",
    "bundle_rolled_back": "sessions got the wa-js that they had before",
    DIED: "the next daemon searched for the workers that were still running",
}
_FLEET_RESULTS: Final = {
    "fleet_breaker_closed": "one session was up again, and the others followed",
    "network_up": "the network was back, and the sessions reconnected by themselves",
    "database_up": "the database answered again",
    "disk_free": "there was room again",
    "acks_back_everywhere": "WhatsApp acknowledged again",
    "sends_back_everywhere": "sends were acknowledged again",
    "webhooks_up": "the receiver accepted webhooks again, or nothing waits for it any more",
    "webhooks_in_time": "nothing waits for so long any more",
    "dead_letters_gone": "a person replayed or discarded them",
    "letters_certain": "a person replayed or discarded them",
    "letters_read": "a person discarded them",
    "database_caught_up": "everything that waited was stored",
    "runtime_back": "lock, pid file and sockets were there again",
    "browser_back": "Chromium started again, or no session waited for it any more",
    "sessions_folder_back": "the profiles were there again, or no session waited for them any more",
    "whatsapp_serves": "a page was served again, or no session waited for one any more",
    "version_released": "a newer version worked, as canaries showed, or a person decided otherwise",
    "version_accepted": "WhatsApp serves a newer version",
    "bundle_released": "it is used again, or it is not there any more",
    "lease_taken": "the lease was released, or it expired without a renewal",
    RESTORED: "the sessions were supervised again",
    STARTED: "waguard was started again",
}
_FLEET_OVER_AT_ONCE: Final = {
    "file_unreadable": "everything else was read; a worker whose record it was is found by its mark",
    "version_acquitted": "no version was changed for it",
    "version_spent": "it is not served any more",
    "version_too_old": "it is not served any more",
    "bundle_accepted": "all sessions get it at their next load",
}
VERSION_NEWS: Final = frozenset(
    {
        *FLEET_STEPS,
        "version_acquitted",
        "version_spent",
        "version_too_old",
        "bundle_accepted",
    }
)
"""Entries of the fleet's audit log that are also events, beside the begin and end of outages."""
FLEET_BLAMES: Final = {
    "fleet_breaker_opened": Blame.SESSION,
    "network_down": Blame.NETWORK,
    "acks_missing_everywhere": Blame.WHATSAPP,
    "sends_throw_everywhere": Blame.WHATSAPP,
    "whatsapp_refuses": Blame.WHATSAPP,
    "version_held": Blame.WHATSAPP,
    "version_refused": Blame.WHATSAPP,
    "bundle_rolled_back": Blame.OPERATOR,
    "restoring": Blame.OPERATOR,
    "webhooks_held": Blame.OPERATOR,
    "webhooks_down": Blame.OPERATOR,
    "webhooks_late": Blame.OPERATOR,
    "dead_letters": Blame.OPERATOR,
    "letters_uncertain": Blame.OPERATOR,
    "letters_undecryptable": Blame.WHATSAPP,
    "lease_held": Blame.OPERATOR,
}
"""The blame of each kind; all others are the host's."""


def fleet_condition(kind: str, why: str, *, since: float) -> Condition:
    """What concerns all sessions at once, as people see it. ``since``: unix time."""
    return Condition(
        type=kind,
        blame=FLEET_BLAMES.get(kind, Blame.HOST),
        reason=kind,
        message=why,
        since=since,
        remedy=remedies.text(remedies.FLEET[kind]),
    )


class Entry(Protocol):
    """One entry of the audit log, as far as incidents need it. ``at`` is unix time."""

    @property
    def at(self) -> float | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def before(self) -> str | None: ...
    @property
    def after(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def evidence(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Incident:
    """``began`` and ``ended`` in unix time; ``ended`` None: it still goes on."""

    began: float
    cause: str
    actions: list[str] = field(default_factory=list)
    result: str | None = None
    ended: float | None = None
    advice: str | None = None
    kind: str = ""
    """The kind of the entry that it began with."""


def needed_since(entries: Iterable[Entry], *, fleet: bool = False) -> float | None:
    """Unix time of the oldest entry that an open incident needs; None: no incident is open."""
    incidents = fold_fleet(entries) if fleet else fold(entries)
    return min((incident.began for incident in incidents if incident.ended is None), default=None)


def incident_event(entry: Entry) -> dict[str, Any] | None:
    """The event that the stream gets for an entry; None: the entry begins no incident."""
    if entry.kind not in _TROUBLE:
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
    for entry in entries:
        at = entry.at or 0.0
        if current is None:
            current = _begun(entry, at, session)
            if current is None:
                continue
            incidents.append(current)
        if current.ended is not None or not _goes_on(current, entry, at, session):
            current = None
    return incidents


def fold_fleet(entries: Iterable[Entry]) -> list[Incident]:
    """The same of the fleet's own audit log; several incidents can be open at once."""
    incidents: list[Incident] = []
    ongoing: dict[str, Incident] = {}
    deaths: set[str] = set()
    steps: list[str] = []  # about a version, not yet part of an incident
    for entry in entries:
        at, end = entry.at or 0.0, FLEET_ENDS.get(entry.kind)
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
                actions=[*_taken(steps, entry.kind), _FLEET_DONE[entry.kind]],
                advice=_advice(remedies.FLEET, entry.kind, None),
            )
            incidents.append(ongoing[end])
        elif entry.kind == DIED:
            ongoing[RESTORED].actions.append(f"the next daemon died as well: {entry.reason}")
        if result := _FLEET_OVER_AT_ONCE.get(entry.kind):
            cause, done = entry.reason or entry.kind, _taken(steps, entry.kind)
            incidents.append(Incident(at, cause, actions=done, result=result, ended=at))
        if entry.kind == RESTORED and RESTORED in ongoing and entry.reason:
            ongoing[RESTORED].actions.append(entry.reason)
        ended = list(ongoing) if entry.kind == STARTED else [entry.kind]
        for incident in (ongoing.pop(kind) for kind in ended if kind in ongoing):
            incident.result, incident.ended = _FLEET_RESULTS[entry.kind], at
            incident.advice = None
    return incidents


def _of_versions(ongoing: Mapping[str, Incident], steps: list[str]) -> list[str]:
    """The list that a step about a version belongs to: an open incident's, or that of the next one."""
    return next((ongoing[it].actions for it in _OF_VERSIONS if it in ongoing), steps)


def _taken(steps: list[str], kind: str) -> list[str]:
    """The steps that led to an entry of this kind; each is reported once."""
    if FLEET_ENDS.get(kind) not in _OF_VERSIONS and kind not in VERSION_NEWS:
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
    if entry.kind == "status" and entry.before in _HEALTHY and entry.after not in _HEALTHY:
        return Incident(at, entry.reason or f"it became {entry.after}")
    if entry.kind not in _TROUBLE:
        return None
    begun = Incident(at, entry.reason or entry.kind.replace("_", " "), kind=entry.kind)
    begun.advice = _advice(_ADVICE, entry.kind, session)
    if result := _OVER_AT_ONCE.get(entry.kind):
        begun.actions.append(_done(entry) or "")
        begun.result, begun.ended = result, at
    return begun


def _advice(known: Mapping[str, str], kind: str, session: str | None) -> str | None:
    return remedies.text(known[kind], session) if kind in known else None


def _goes_on(incident: Incident, entry: Entry, at: float, session: str | None) -> bool:
    """Add the entry; whether the incident is still open after it."""
    if entry.kind == "status":
        return _still_ill(incident, entry, at)
    if result := _ending(incident, entry):
        incident.result, incident.ended, incident.advice = result, at, None
        return False
    begins = entry.kind in _OF_PAGE and entry.kind == incident.kind
    if not begins and (done := _done(entry)):
        incident.actions.append(done)
    if entry.kind == "parked" and entry.reason in set(ParkCause):
        incident.advice = remedies.text(remedies.PARKED[ParkCause(entry.reason)], session)
    elif entry.kind in _ADVICE:
        incident.advice = remedies.text(_ADVICE[entry.kind], session)
    return True


def _ending(incident: Incident, entry: Entry) -> str | None:
    """The result, where the entry ends the incident."""
    match entry.kind:
        case "adopted" if entry.before in _HEALTHY:  # the earlier daemon's watch is lost
            return "waguard was started again"
        case "left":  # its worker's last reports were part of that
            return "unlinked on purpose"
        case kind if kind in _OVER and _OVER[kind] == incident.kind:
            return "it is over"
        case kind:
            return _BACK.get(kind)


def _still_ill(incident: Incident, entry: Entry, at: float) -> bool:
    if entry.after in _HEALTHY:
        incident.result, incident.ended, incident.advice = "connected again", at, None
        return False
    if entry.after not in _ON_THE_WAY and entry.reason is None:
        incident.result, incident.ended, incident.advice = "stopped on purpose", at, None
        return False
    return True


_DONE: Final = {
    "restart": "its worker was started again",
    "retried": "it was tried once more",
    "recycled": "its worker was replaced, as planned",
    "reloaded": "its page was loaded again",
    "taken_over": "it was taken back from the other client",
    "backfill_gap": "the other messages were reported; the phone has the missing ones",
    "logged_out": "WhatsApp logged it out; a QR code is shown",
    "undecryptable_given_up": "messages that could not be decrypted were given up: they are dead letters"
    " (`waguard webhooks list --state undecryptable`), and the phone has them",
    "supervision_failed": "the other sessions were supervised as always",
}


_DONE_WITH: Final = {
    "page_version": "its page was loaded with {}",
    "screenshot": "a picture of its page is kept: {}",
    "webhooks_held": "its received messages wait: {}",
}


def _done(entry: Entry) -> str | None:
    """What waguard did or observed, in a few words."""
    match entry.kind:
        case "parked":
            return f"it was parked ({entry.reason})"
        case "profile_mended" | "profile_tidied":
            return entry.reason or "its profile was repaired"
        case "stray_ended":
            return f"an orphan was ended: {(entry.reason or '?')[:80]}"
        case "row_corrected":
            return f"its row was corrected from {entry.before} to {entry.after}"
        case "reconciled":
            return f"it was {entry.after}"
        case kind if kind in _DONE_WITH:
            return _DONE_WITH[kind].format(entry.reason)
        case "webhooks_down":
            return "its webhooks wait in the database, and one at a time is tried"
        case kind if kind in _OF_PAGE:
            return f"a condition was reported: {entry.reason}"
        case kind:
            return _DONE.get(kind)


def sentences(incident: Incident) -> Sequence[str]:
    """The incident for an operator: cause, actions, result."""
    lines = [f"Cause: {incident.cause}."]
    counted = dict.fromkeys(incident.actions)
    for action in counted:
        times = incident.actions.count(action)
        lines.append(f"Done: {action}{f' ({times} times)' if times > 1 else ''}.")
    if incident.ended is None:
        lines.append("It goes on." + (f" {incident.advice}" if incident.advice else ""))
    else:
        lines.append(f"Result: {incident.result} after {incident.ended - incident.began:.1f} s.")
    return lines
