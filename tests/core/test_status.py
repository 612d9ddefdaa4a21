from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.status import (
    LIVE_STATUSES,
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


def standing(state: State, link: Link = Link.UNKNOWN, **more: object) -> StatusInputs:
    return StatusInputs(state=state, link=link, **more)  # type: ignore[arg-type]  # a table's row


TABLE: Final = {
    "logged out, and its worker shows a new code on its way out": (
        standing(State.RUNNING, Link.QR_PENDING, left=True),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "deleted, and the daemon stops": (
        standing(State.STOPPED, left=True, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "stopped by the user": (
        standing(State.STOPPED),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "stopping for the user, still connected": (
        standing(State.STOPPING, Link.CONNECTED),
        DerivedStatus(DOWN, Reason.USER_INITIATED),
    ),
    "the daemon stops while connected": (
        standing(State.RUNNING, Link.CONNECTED, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stops while a QR code waits": (
        standing(State.RUNNING, Link.QR_PENDING, daemon_stopping=True, expects_qr=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stopped it": (
        standing(State.STOPPED, daemon_stopping=True),
        DerivedStatus(DOWN, Reason.INSTANCE_RESTART, "waguard was stopped"),
    ),
    "the daemon stops, but this one waits for a person": (
        standing(State.PARKED, daemon_stopping=True, parked=ParkCause.BLOCKED, details="TOS_BLOCK"),
        DerivedStatus(BAD, Reason.ERROR, "TOS_BLOCK"),
    ),
    "profile missing": (
        standing(State.PARKED, parked=ParkCause.PROFILE_MISSING, details="profile missing: /p"),
        DerivedStatus(DOWN, Reason.ERROR, "profile missing: /p"),
    ),
    "parked by the restart budget": (
        standing(State.PARKED, parked=ParkCause.RESTART_BUDGET, details="5 restarts in 300 s"),
        DerivedStatus(BAD, Reason.ERROR, "5 restarts in 300 s"),
    ),
    "parked by a conflict, still ending": (
        standing(State.PARKING, Link.CONFLICT, parked=ParkCause.CONFLICT),
        DerivedStatus(BAD, Reason.ERROR, "conflict"),
    ),
    "parked by a block": (
        standing(State.PARKED, parked=ParkCause.BLOCKED),
        DerivedStatus(BAD, Reason.ERROR, "blocked"),
    ),
    "parked for an update": (
        standing(State.PARKED, parked=ParkCause.NEEDS_UPDATE),
        DerivedStatus(BAD, Reason.ERROR, "needs_update"),
    ),
    "QR count used up": (
        standing(State.PARKED, parked=ParkCause.QR_EXPIRED),
        DerivedStatus(DOWN, Reason.QR_EXPIRED, NO_ONE),
    ),
    "QR count used up, with more to say": (
        standing(State.PARKING, parked=ParkCause.QR_EXPIRED, details="6 codes"),
        DerivedStatus(DOWN, Reason.QR_EXPIRED, "6 codes"),
    ),
    "starting with credentials": (
        standing(State.STARTING),
        DerivedStatus(DOWN, Reason.ERROR, "the worker is starting"),
    ),
    "starting to be linked": (
        standing(State.STARTING, expects_qr=True),
        DerivedStatus(Status.QR_SCANNING),
    ),
    "backoff": (
        standing(State.BACKOFF, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "backoff before it was linked": (
        standing(State.BACKOFF, expects_qr=True),
        DerivedStatus(DOWN, Reason.ERROR, "the worker is backoff"),
    ),
    "recycling after a crash": (
        standing(State.RECYCLING, Link.CONNECTED),
        DerivedStatus(DOWN, Reason.ERROR, "the worker is recycling"),
    ),
    "offline": (
        standing(State.RUNNING, Link.OFFLINE),
        DerivedStatus(DOWN, Reason.TIMEOUT, AWAY),
    ),
    "qr_pending": (standing(State.RUNNING, Link.QR_PENDING), DerivedStatus(Status.QR_SCANNING)),
    "unlinked on the phone": (
        standing(State.RUNNING, Link.LOGGED_OUT, details="unlinked"),
        DerivedStatus(Status.QR_SCANNING),
    ),
    "pairing": (standing(State.RUNNING, Link.PAIRING), DerivedStatus(Status.AUTHENTICATED)),
    "syncing": (standing(State.RUNNING, Link.SYNCING), DerivedStatus(Status.AUTHENTICATED)),
    "connected": (
        standing(State.RUNNING, Link.CONNECTED, details="of old", expects_qr=True),
        DerivedStatus(Status.CONNECTED),
    ),
    "conflict before it is parked": (
        standing(State.RUNNING, Link.CONFLICT),
        DerivedStatus(BAD, Reason.ERROR, "conflict"),
    ),
    "blocked before it is parked": (
        standing(State.RUNNING, Link.BLOCKED, details="TOS_BLOCK"),
        DerivedStatus(BAD, Reason.ERROR, "TOS_BLOCK"),
    ),
    "being adopted keeps the row": (standing(State.STARTING, adopting=True, expects_qr=True), None),
    "adopted, and it ended": (
        standing(State.BACKOFF, adopting=True, details="Chromium died"),
        DerivedStatus(DOWN, Reason.ERROR, "Chromium died"),
    ),
    "unknown keeps the row": (standing(State.RUNNING, Link.UNKNOWN, details="?"), None),
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


@pytest.mark.parametrize(("known", "verdict"), TABLE.values(), ids=TABLE.keys())
def test_what_the_row_says(known: StatusInputs, verdict: DerivedStatus | None) -> None:
    assert derive(known) == verdict


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("link", Link)
def test_every_standing_has_an_answer(state: State, link: Link) -> None:
    verdict = derive(StatusInputs(state=state, link=link, parked=ParkCause.BLOCKED))
    assert (verdict is None) == (state is State.RUNNING and link is Link.UNKNOWN)


def test_only_five_statuses_and_six_reasons_ever_leave() -> None:
    """The application's columns are enums: any other word would fail there."""
    assert [*Status] == ["qr_scanning", "authenticated", "connected", "disconnected", "failed"]
    assert [*Reason] == [
        *("user_initiated", "instance_restart", "timeout", "error", "qr_expired", "unknown")
    ]


@given(standings)
def test_connected_is_promised_only_by_a_running_worker_whose_link_is(known: StatusInputs) -> None:
    verdict = derive(known)
    if verdict is not None and verdict.status is Status.CONNECTED:
        assert known.state is State.RUNNING
        assert known.link is Link.CONNECTED
        assert not known.daemon_stopping


@given(standings)
def test_a_live_status_needs_a_worker_that_may_be_alive(known: StatusInputs) -> None:
    verdict = derive(known)
    if verdict is not None and verdict.status in LIVE_STATUSES:
        assert known.state in {State.STARTING, State.RUNNING}


@given(standings)
def test_who_is_well_has_no_reason_and_who_is_not_has_one(known: StatusInputs) -> None:
    verdict = derive(known)
    if verdict is not None:
        assert isinstance(verdict.status, Status)
        well = verdict.status in LIVE_STATUSES
        assert (verdict.reason is None) == well
        if well and known.link is not Link.PASSKEY_REQUIRED:  # it is said until when
            assert verdict.details is None


@given(standings)
def test_while_the_daemon_stops_nothing_is_unknown(known: StatusInputs) -> None:
    verdict = derive(known)
    if known.daemon_stopping:
        assert verdict is not None
        assert verdict.status not in LIVE_STATUSES
