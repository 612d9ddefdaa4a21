import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.announcements import Announcement, announce
from waguard.core.row_status import LIVE_STATUSES, DerivedStatus, Reason, Status

QR = DerivedStatus(Status.QR_SCANNING)
LINKED = DerivedStatus(Status.AUTHENTICATED)
READY = DerivedStatus(Status.CONNECTED)
AWAY = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "the network is away")
CRASHED = DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "Chromium died")
PARKED = DerivedStatus(Status.FAILED, Reason.ERROR, "TOS_BLOCK")

statuses = st.builds(
    DerivedStatus,
    st.sampled_from(Status),
    st.none() | st.sampled_from(Reason),
    st.none() | st.text(),
)


def disconnected(reason: str, status: str, details: str) -> Announcement:
    return "session_disconnected", {"reason": reason, "status": status, "details": details}


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (QR, LINKED, [("session_authenticated", {"status": "authenticated"})]),
        (LINKED, READY, [("session_ready", {"phone_number": "62811", "status": "connected"})]),
        (READY, AWAY, [disconnected("timeout", "disconnected", "the network is away")]),
        (AWAY, CRASHED, []),
        (CRASHED, PARKED, [disconnected("error", "failed", "TOS_BLOCK")]),
        (READY, QR, []),
        (None, READY, [("session_ready", {"phone_number": "62811", "status": "connected"})]),
        (None, CRASHED, [disconnected("error", "disconnected", "Chromium died")]),
        (CRASHED, DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "and again"), []),
        (READY, READY, []),
    ],
)
def test_what_the_application_gets(
    before: DerivedStatus | None, after: DerivedStatus, events: list[Announcement]
) -> None:
    assert announce(before, after, phone="62811") == events


@given(st.none() | statuses, statuses, st.none() | st.text())
def test_at_most_one_event_whose_name_the_application_knows(
    before: DerivedStatus | None, after: DerivedStatus, phone: str | None
) -> None:
    events = announce(before, after, phone=phone)
    known = {"session_authenticated", "session_ready", "session_disconnected"}
    assert len(events) <= 1
    assert {name for name, _ in events} <= known


@given(statuses, statuses)
def test_an_end_is_published_exactly_when_the_status_changed(
    before: DerivedStatus, after: DerivedStatus
) -> None:
    events = [name for name, _ in announce(before, after, phone=None)]
    if after.status not in LIVE_STATUSES:
        assert events == (["session_disconnected"] if before.status != after.status else [])
