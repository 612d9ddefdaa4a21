"""What the row, the trail and the application hear of a change, and what they do not."""

from typing import Any

import pytest

from tests.core.session.test_views import FAILED, session, worker
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.session.effects import (
    Effect,
    MemberChanged,
    Publish,
    Record,
    ResponsivenessChanged,
    ShowCode,
    WriteStatus,
)
from waguard.core.session.facts import RowRead
from waguard.core.session.show import on_row, show
from waguard.core.session.state import Intent, SessionState, Stage

CONNECTED = DerivedStatus(Status.CONNECTED)
WAITS = DerivedStatus(Status.QR_SCANNING)


def ready(link: Link = Link.CONNECTED, **fields: Any) -> SessionState:
    """Its worker has fields as ``page`` says."""
    page = fields.pop("page", {})
    return session(worker=worker(link=link, phase="ready", **page), **fields)


def shown(before: SessionState, after: SessionState) -> tuple[SessionState, list[Effect]]:
    out: list[Effect] = []
    return show(before, after, "TimerDue", out.append), out


def corrected(state: SessionState, **fields: Any) -> tuple[SessionState, list[Effect]]:
    out: list[Effect] = []
    return on_row(state, RowRead(said="connected", **fields), out.append), out


def test_nothing_is_said_where_nothing_changed() -> None:
    state = ready(status=CONNECTED)
    assert shown(state, state) == (state, [])


def test_a_session_that_comes_up_is_written_recorded_and_announced() -> None:
    starting = session(worker=worker(Stage.STARTING))
    after, out = shown(starting, ready(phone="49"))
    assert after.status == CONNECTED
    before = starting.status
    assert out == [
        Publish("lifecycle", {"from": State.STARTING, "to": State.RUNNING, "because": "timer_due"}),
        Publish("link", {"from": Link.UNKNOWN, "to": Link.CONNECTED}),
        MemberChanged(State.RUNNING, Link.CONNECTED, Link.UNKNOWN),
        WriteStatus(CONNECTED, "49"),
        Record("status", before=str(before.status), after="connected", reason=None),
        Publish("session_ready", {"phone_number": "49", "status": "connected"}),
    ]


def test_a_new_reason_is_recorded_and_new_details_are_only_written() -> None:
    before = ready(
        Link.OFFLINE, status=DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "it failed")
    )
    _, out = shown(before, before)
    away = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "the phone or the network is away")
    assert out == [
        WriteStatus(away, None),
        Record("status", before="disconnected", after="disconnected", reason=away.details),
    ]
    said = ready(
        Link.OFFLINE, status=DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "earlier words")
    )
    assert shown(said, said)[1] == [WriteStatus(away, None)]


def test_a_link_alone_that_moves_is_published() -> None:
    pairing = ready(Link.PAIRING, status=DerivedStatus(Status.AUTHENTICATED))
    syncing = ready(Link.SYNCING, status=DerivedStatus(Status.AUTHENTICATED))
    assert shown(pairing, syncing)[1] == [
        Publish("link", {"from": Link.PAIRING, "to": Link.SYNCING}),
        MemberChanged(State.RUNNING, Link.SYNCING, Link.PAIRING),
    ]


@pytest.mark.parametrize(("link", "published"), [(Link.CONNECTED, False), (Link.OFFLINE, True)])
def test_an_adoption_publishes_only_what_is_not_as_the_row_says(
    link: Link, *, published: bool
) -> None:
    adopting = session(worker=worker(Stage.ADOPTING, adopted=True), status=CONNECTED)
    _, out = shown(adopting, ready(link, page={"adopted": True}, status=CONNECTED))
    kinds = [it.event for it in out if isinstance(it, Publish)]
    assert ("link" in kinds) is published
    assert "lifecycle" not in kinds


def test_a_link_that_comes_back_is_published_where_nobody_is_adopted() -> None:
    unknown = ready(Link.UNKNOWN, status=CONNECTED)
    _, out = shown(unknown, ready(status=CONNECTED))
    assert Publish("link", {"from": Link.UNKNOWN, "to": Link.CONNECTED}) in out


@pytest.mark.parametrize(("link", "written"), [(Link.CONNECTED, True), (Link.UNKNOWN, False)])
def test_a_number_that_comes_late_is_written_while_it_is_connected(
    link: Link, *, written: bool
) -> None:
    before = ready(link, status=CONNECTED)
    _, out = shown(before, ready(link, status=CONNECTED, phone="49"))
    assert out == ([WriteStatus(CONNECTED, "49")] if written else [])


def test_until_something_is_wanted_of_it_the_row_keeps_its_word() -> None:
    state = session(begun=False, intent=Intent.DOWN, status=CONNECTED)
    corrected_meanwhile = session(begun=False, intent=Intent.DOWN, status=WAITS)
    assert shown(state, corrected_meanwhile) == (corrected_meanwhile, [])


# ---- QR codes ----


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (ready(Link.QR_PENDING), ready(Link.QR_PENDING, page={"code": "a"}), "a"),
        (
            ready(Link.QR_PENDING, page={"code": "a"}),
            ready(Link.QR_PENDING, page={"code": "b"}),
            "b",
        ),
        (
            ready(Link.QR_PENDING, page={"code": "a"}),
            ready(Link.QR_PENDING, page={"code": "a", "loads": 2}),
            None,
        ),
        (ready(Link.QR_PENDING, page={"code": "a"}), ready(Link.QR_PENDING), None),
        # the same code after something else is news: the first one was withdrawn
        (ready(Link.PAIRING, page={"code": "a"}), ready(Link.QR_PENDING, page={"code": "a"}), "a"),
        (session(), ready(Link.QR_PENDING, page={"code": "a"}), "a"),
        (ready(Link.QR_PENDING), ready(Link.PAIRING, page={"code": "a"}), None),
        (ready(Link.QR_PENDING), ready(Link.QR_PENDING, page={"code": "a"}, left=True), None),
        (ready(Link.QR_PENDING, page={"code": "a"}), session(), None),
    ],
)
def test_a_code_is_shown_when_it_is_a_new_one_to_scan(
    before: SessionState, after: SessionState, code: str | None
) -> None:
    codes = [it.code for it in shown(before, after)[1] if isinstance(it, ShowCode)]
    assert codes == ([code] if code else [])


# ---- unresponsive ----


def test_an_unresponsive_layer_is_reported_with_its_evidence_and_so_is_its_end() -> None:
    well = ready(status=CONNECTED)
    silent = ready(
        status=CONNECTED, page={"unresponsive": "the page is silent", "evidence": "pid 7"}
    )
    assert shown(well, silent)[1] == [ResponsivenessChanged("the page is silent", "pid 7")]
    assert shown(silent, silent)[1] == []
    assert shown(silent, well)[1] == [ResponsivenessChanged(None, None)]
    gone = shown(silent, session(status=CONNECTED, failure=FAILED))[1]
    assert ResponsivenessChanged(None, None) in gone


# ---- a row that says something else ----


def test_a_row_that_somebody_changed_is_written_again_and_the_application_hears_what_is_so() -> (
    None
):
    state = ready(status=CONNECTED, phone="49")
    after, out = corrected(state)
    assert after is state
    assert out == [
        Record(
            "row_corrected",
            before="connected",
            after="connected",
            reason="the row was wrong",
            evidence={"lifecycle": "running", "link": "connected"},
        ),
        Publish("session_ready", {"phone_number": "49", "status": "connected"}),
        WriteStatus(CONNECTED, "49"),
    ]


def test_an_application_that_knows_the_number_hears_nothing_again() -> None:
    """It would delete other rows of that number."""
    _, out = corrected(ready(status=CONNECTED, phone="49"), knows_number=True)
    assert [type(it) for it in out] == [Record, WriteStatus]


def test_only_connected_is_said_again() -> None:
    down = DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "Chromium died")
    _, out = corrected(session(status=down, failure=FAILED))
    assert [type(it) for it in out] == [Record, WriteStatus]
    assert out[0].reason == "Chromium died"  # type: ignore[union-attr]  # the Record
    assert out[1] == WriteStatus(down, None)


@pytest.mark.parametrize("status", [Status.CONNECTED, Status.AUTHENTICATED, Status.QR_SCANNING])
def test_a_row_that_promises_a_session_without_a_worker_is_corrected(status: Status) -> None:
    after, out = corrected(session(intent=Intent.DOWN, status=DerivedStatus(status)))
    assert after.status == DerivedStatus(Status.DISCONNECTED, Reason.UNKNOWN, "no worker runs")
    assert out[-1] == WriteStatus(after.status, None)


def test_a_stopped_session_keeps_the_reason_for_which_it_is_down() -> None:
    down = DerivedStatus(Status.DISCONNECTED, Reason.USER_INITIATED, "stopped")
    state = session(intent=Intent.DOWN, status=down)
    assert corrected(state)[0] is state


def test_a_number_that_was_cleared_is_written_and_nothing_is_announced() -> None:
    state = ready(status=CONNECTED, phone="49")
    after, out = corrected(state, number_only=True)
    assert after is state
    assert out == [
        Record(
            "row_corrected",
            before="connected",
            after="connected",
            reason="its phone number was missing",
        ),
        WriteStatus(CONNECTED, "49"),
    ]
