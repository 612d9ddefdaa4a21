"""From a change of the state to effects: the row's status, the audit log, events. Pure."""

import re
from typing import Final

from waguard.core.announcements import announce
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.row_status import LIVE_STATUSES, DerivedStatus, Reason, Status
from waguard.core.session.effects import (
    LatenessChanged,
    MemberChanged,
    Publish,
    Record,
    ResponsivenessChanged,
    ShowCode,
    WriteStatus,
)
from waguard.core.session.facts import RowRead
from waguard.core.session.out import Out
from waguard.core.session.state import SessionState
from waguard.core.session.views import derive_status, is_adopting, lifecycle, link

_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def show(before: SessionState, after: SessionState, because: str, out: Out) -> SessionState:
    """Compare the levels before and after, and emit an effect for each that changed."""
    was, now = lifecycle(before), lifecycle(after)
    was_linked, linked = link(before), link(after)
    adopting = is_adopting(before) or is_adopting(after)
    if was is not now and not adopting:
        word = _WORDS.sub("_", because).lower()
        out(Publish("lifecycle", {"from": was, "to": now, "because": word}))
    if was_linked is not linked:
        known = adopting and (before.status.status, linked) == (Status.CONNECTED, Link.CONNECTED)
        if not known:
            out(Publish("link", {"from": was_linked, "to": linked}))
    _show_code(before, after, out)
    if was is not now or was_linked is not linked:
        out(MemberChanged(now, linked, was_linked))
    _show_responsiveness(before, after, out)
    status = derive_status(after)
    published = before.status if after.begun else after.status  # ``on_row`` reports a corrected row
    if status == published:
        if after.phone != before.phone and linked is Link.CONNECTED:
            out(WriteStatus(status, after.phone))
        return after
    out(WriteStatus(status, after.phone))
    if (status.status, status.reason) != (published.status, published.reason):
        out(
            Record(
                "status",
                before=str(published.status),
                after=str(status.status),
                reason=status.details,
            )
        )
    for event, data in announce(published, status, phone=after.number):
        out(Publish(event, data))
    return replace(after, status=status)


def _show_code(before: SessionState, after: SessionState, out: Out) -> None:
    if link(after) is not Link.QR_PENDING or after.worker is None or after.left:
        return
    was = before.worker.code if before.worker and link(before) is Link.QR_PENDING else None
    if after.worker.code is not None and after.worker.code != was:
        out(ShowCode(after.worker.code))


def _show_responsiveness(before: SessionState, after: SessionState, out: Out) -> None:
    was = before.worker.unresponsive if before.worker else None
    worker = after.worker
    now = worker.unresponsive if worker else None
    if was != now:
        out(ResponsivenessChanged(now, worker.evidence if worker else None))
    late = worker is not None and worker.late
    if late != (before.worker is not None and before.worker.late):
        out(LatenessChanged(late))


def on_row(state: SessionState, fact: RowRead, out: Out) -> SessionState:
    """Write the row again: somebody else changed it, or it is wrong."""
    if fact.number_only:  # the status has not changed, so nothing is published
        status = str(state.status.status)
        why = "its phone number was missing"
        out(Record("row_corrected", before=status, after=status, reason=why))
        out(WriteStatus(state.status, state.phone))
        return state
    if lifecycle(state) is State.STOPPED and state.status.status in LIVE_STATUSES:
        none = DerivedStatus(Status.DISCONNECTED, Reason.UNKNOWN, "no worker runs")
        state = replace(state, status=none)
    shown = state.status
    out(
        Record(
            "row_corrected",
            before=fact.said,
            after=str(shown.status),
            reason=shown.details or "the row was wrong",
            evidence={"lifecycle": str(lifecycle(state)), "link": str(link(state))},
        )
    )
    if shown.status is Status.CONNECTED and not fact.knows_number:
        for event, data in announce(None, shown, phone=state.number):
            out(Publish(event, data))
    out(WriteStatus(shown, state.phone))
    return state
