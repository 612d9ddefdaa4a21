from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import (
    LIVE_STATUSES,
    REQUESTED,
    RESTORED,
    STOPPED,
    DerivedStatus,
    ParkCause,
    Reason,
    Status,
    StatusInputs,
    derive,
)

DOWN, BAD = Status.DISCONNECTED, Status.FAILED
NO_ONE = "no one scanned the QR code"
AWAY = "the phone or the network is away"


def inputs(state: State, link: Link = Link.UNKNOWN, **more: object) -> StatusInputs:
    return StatusInputs(state=state, link=link, **more)  # type: ignore[arg-type]  # a table's row


TABLE: Final = {
    "logged out, and its worker shows a new code on its way out": (
        inputs(State.RUNNING, Link.QR_PENDING, left=True),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "deleted, and the daemon stops": (
        inputs(State.STOPPED, left=True, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "stopped by the user": (
        inputs(State.STOPPED),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "stopping for the user, still connected": (
        inputs(State.STOPPING, Link.CONNECTED),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "the daemon stops while connected": (
        inputs(State.RUNNING, Link.CONNECTED, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stops while a QR code waits": (
        inputs(State.RUNNING, Link.QR_PENDING, daemon_stopping=True, expects_qr=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stopped it": (
        inputs(State.STOPPED, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stops, but this one waits for a person": (
        inputs(State.PARKED, daemon_stopping=True, parked=ParkCause.BLOCKED, details="TOS_BLOCK"),
        DerivedStatus(BAD, Reason.ERROR, "TOS_BLOCK"),
    ),
    "profile missing": (
        inputs(State.PARKED, parked=ParkCause.PROFILE_MISSING, details="profile missing: /p"),
        DerivedStatus(DOWN, Reason.ERROR, "profile missing: /p"),
    ),
    "parked by the restart budget": (
        inputs(State.PARKED, parked=ParkCause.RESTART_BUDGET, details="5 restarts in 300 s"),
        DerivedStatus(BAD, Reason.ERROR, "5 restarts in 300 s"),
    ),
    "parked by a conflict, still ending": (
        inputs(State.PARKING, Link.CONFLICT, parked=ParkCause.CONFLICT),
        DerivedStatus(BAD, Reason.ERROR, "conflict"),
    ),
    "parked by a block": (
        inputs(State.PARKED, parked=ParkCause.BLOCKED),
        DerivedStatus(BAD, Reason.ERROR, "blocked"),
    ),
    "parked for an update": (
        inputs(State.PARKED, parked=ParkCause.NEEDS_UPDATE),
        DerivedStatus(BAD, Reason.ERROR, "needs_update"),
    ),
    "QR count used up": (
        inputs(State.PARKED, parked=ParkCause.QR_EXPIRED),
        DerivedStatus(DOWN, Reason.QR_EXPIRED, NO_ONE),
    ),
    "QR count used up, with more to say": (
        inputs(State.PARKING, parked=ParkCause.QR_EXPIRED, details="6 codes"),
        DerivedStatus(DOWN, Reason.QR_EXPIRED, "6 codes"),
    ),
    "starting with credentials": (
        inputs(State.STARTING),
        DerivedStatus(DOWN, Reason.ERROR, RESTORED),
    ),
    "starting to be linked": (
        inputs(State.STARTING, expects_qr=True),
        DerivedStatus(Status.QR_SCANNING),
    ),
    "backoff": (
        inputs(State.BACKOFF, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "backoff before it was linked": (
        inputs(State.BACKOFF, expects_qr=True),
        DerivedStatus(DOWN, Reason.ERROR, RESTORED),
    ),
    "starting after an orderly stop": (
        inputs(State.STARTING, stopped=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, STOPPED),
    ),
    "waiting for its start after an orderly stop": (
        inputs(State.STARTING, stopped=True, details="2 are ahead"),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "2 are ahead"),
    ),
    "starting, as a person requested": (
        inputs(State.STARTING, requested=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, REQUESTED),
    ),
    "recycling, as a person requested": (
        inputs(State.RECYCLING, Link.CONNECTED, requested=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, REQUESTED),
    ),
    "starting after an orderly stop, and it fails": (
        inputs(State.BACKOFF, stopped=True, failed=True, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "requested, and it fails": (
        inputs(State.BACKOFF, requested=True, failed=True, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "offline": (
        inputs(State.RUNNING, Link.OFFLINE),
        DerivedStatus(DOWN, Reason.TIMEOUT, AWAY),
    ),
    "qr_pending": (inputs(State.RUNNING, Link.QR_PENDING), DerivedStatus(Status.QR_SCANNING)),
    "unlinked on the phone": (
        inputs(State.RUNNING, Link.LOGGED_OUT, details="unlinked"),
        DerivedStatus(Status.QR_SCANNING),
    ),
    "pairing": (inputs(State.RUNNING, Link.PAIRING), DerivedStatus(Status.AUTHENTICATED)),
    "syncing": (inputs(State.RUNNING, Link.SYNCING), DerivedStatus(Status.AUTHENTICATED)),
    "connected": (
        inputs(State.RUNNING, Link.CONNECTED, details="of old", expects_qr=True),
        DerivedStatus(Status.CONNECTED),
    ),
    "conflict before it is parked": (
        inputs(State.RUNNING, Link.CONFLICT),
        DerivedStatus(BAD, Reason.ERROR, "conflict"),
    ),
    "blocked before it is parked": (
        inputs(State.RUNNING, Link.BLOCKED, details="TOS_BLOCK"),
        DerivedStatus(BAD, Reason.ERROR, "TOS_BLOCK"),
    ),
    "being adopted keeps the row": (inputs(State.STARTING, adopting=True, expects_qr=True), None),
    "adopted, and it ended": (
        inputs(State.BACKOFF, adopting=True, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "unknown keeps the row": (inputs(State.RUNNING, Link.UNKNOWN, details="?"), None),
}

standings = st.builds(
    StatusInputs,
    state=st.sampled_from(State),
    link=st.sampled_from(Link),
    parked=st.none() | st.sampled_from(ParkCause),
    daemon_stopping=st.booleans(),
    expects_qr=st.booleans(),
    adopting=st.booleans(),
    details=st.none() | st.text(),
)


@pytest.mark.parametrize(("known", "status"), TABLE.values(), ids=TABLE.keys())
def test_what_the_row_says(known: StatusInputs, status: DerivedStatus | None) -> None:
    assert derive(known) == status


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("link", Link)
def test_all_inputs_have_an_answer(state: State, link: Link) -> None:
    status = derive(StatusInputs(state=state, link=link, parked=ParkCause.BLOCKED))
    assert (status is None) == (state is State.RUNNING and link is Link.UNKNOWN)


def test_only_five_statuses_and_six_reasons_ever_leave() -> None:
    """The application's columns are enums: any other word would fail there."""
    assert [*Status] == ["qr_scanning", "authenticated", "connected", "disconnected", "failed"]
    assert [*Reason] == [
        *("user_initiated", "instance_restart", "timeout", "error", "qr_expired", "unknown")
    ]


@given(standings)
def test_connected_is_promised_only_by_a_running_worker_whose_link_is(known: StatusInputs) -> None:
    status = derive(known)
    if status is not None and status.status is Status.CONNECTED:
        assert known.state is State.RUNNING
        assert known.link is Link.CONNECTED
        assert not known.daemon_stopping


@given(standings)
def test_a_live_status_needs_a_worker_that_may_be_alive(known: StatusInputs) -> None:
    status = derive(known)
    if status is not None and status.status in LIVE_STATUSES:
        assert known.state in {State.STARTING, State.RUNNING}


@given(standings)
def test_who_is_well_has_no_reason_and_who_is_not_has_one(known: StatusInputs) -> None:
    status = derive(known)
    if status is not None:
        assert isinstance(status.status, Status)
        well = status.status in LIVE_STATUSES
        assert (status.reason is None) == well
        if well and known.link is not Link.PASSKEY_REQUIRED:  # it is said until when
            assert status.details is None


@given(standings)
def test_while_the_daemon_stops_nothing_is_unknown(known: StatusInputs) -> None:
    status = derive(known)
    if known.daemon_stopping:
        assert status is not None
        assert status.status not in LIVE_STATUSES
