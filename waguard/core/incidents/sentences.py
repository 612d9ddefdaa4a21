"""The text of ``waguard why``: what an incident was, what waguard did, how it ended. Pure.

What helps is in ``core/remedies.py``; texts that belong to a kind of entry are in ``kinds.py``.
"""

from collections.abc import Sequence
from typing import Final

from waguard.core.blame import Blame
from waguard.core.incidents.entries import Entry, Incident
from waguard.core.incidents.kinds import BACK, BEGUN, HEALTHY, OF_PAGE, OWN_ENDS

NO_INCIDENTS: Final = "no incidents recorded"
NOTABLE_PAUSE: Final = 2.0  # s before a restart; a shorter one explains nothing
_DONE: Final = {
    "start_requested": "a person or the application started it",
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
    "start_waited": "its start waited: {}",
    "passkey_started": "the request for the account's passkey was asked for by {}",
    "passkey_answered": "an answer of the account's passkey went to the page, from {}",
    "passkey_confirmed": "the code of the linking was confirmed by {}",
    "passkey_cancelled": "the request for the account's passkey was refused by {}",
    "passkey_refused": "what was sent for the linking by passkey was refused, from {}",
    "screenshot": "a picture of its page is kept: {}",
    "webhooks_held": "its received messages wait: {}",
    "row_disputed": "its received messages wait, and its row is corrected once a minute",
    "passkey_failed": "{}",
}


def done(entry: Entry) -> str | None:
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
        case kind if kind in OF_PAGE:
            return f"a condition was reported: {entry.reason}"
        case kind:
            return _DONE.get(kind)


def pause(entry: Entry) -> tuple[float, str]:
    """How long the restart that it records was delayed in seconds, and the blame of the failure."""
    delay = entry.evidence.get("delay")
    known = entry.kind == "restart" and isinstance(delay, int | float)
    return (float(delay or 0.0), str(entry.evidence.get("blame"))) if known else (0.0, "")


def ending(incident: Incident, entry: Entry) -> str | None:
    """The result, where the entry ends the incident."""
    match entry.kind:
        case "adopted" if entry.before in HEALTHY:  # the earlier daemon's watch is lost
            return "waguard was started again"
        case kind if kind == BEGUN and incident.kind in OWN_ENDS:
            return BACK[BEGUN]
        case "left":  # its worker's last reports were part of that
            return "unlinked on purpose"
        case kind if kind == OWN_ENDS.get(incident.kind):
            return BACK.get(kind, "it is over")
        case _:
            return None


def sentences(incident: Incident) -> Sequence[str]:
    """The incident for an operator: cause, actions, result."""
    lines = [f"Cause: {incident.cause}."]
    counted = dict.fromkeys(incident.actions)
    for action in counted:
        times = incident.actions.count(action)
        lines.append(f"Done: {action}{f' ({times} times)' if times > 1 else ''}.")
    if incident.pause and incident.pause[0] >= NOTABLE_PAUSE:
        seconds, blame = incident.pause
        what = "its own failures" if blame == Blame.SESSION else "what a restart does not cure"
        pauses = f"the pauses after {what} grow"
        lines.append(f"Delayed: a restart by up to {seconds:.0f} s, because {pauses}.")
    if incident.ended is None:
        lines.append("It is still open." + (f" {incident.advice}" if incident.advice else ""))
    elif incident.ended < incident.began:  # the clock was set back
        lines.append(f"Result: {incident.result}.")
    else:
        lines.append(f"Result: {incident.result} after {incident.ended - incident.began:.1f} s.")
    return lines
