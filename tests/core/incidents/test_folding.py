from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core import remedies
from waguard.core.conditions import stored_unknown
from waguard.core.incidents.folding import fold, fold_fleet, incident_event, needed_since
from waguard.core.incidents.kinds import (
    BEGUN,
    DIED,
    FLEET_ENDS,
    OWN_ENDS,
    RESTORED,
    SESSION_ENDS,
    STARTED,
)
from waguard.core.incidents.sentences import sentences
from waguard.core.page_care import Kind
from waguard.core.row_status import Status


@dataclass
class Line:
    at: float | None
    kind: str
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


def status(at: float, before: Status, after: Status, reason: str | None = None) -> Line:
    return Line(at, "status", before, after, reason)


PAIRED = [
    status(0, Status.QR_SCANNING, Status.AUTHENTICATED),
    status(1, Status.AUTHENTICATED, Status.CONNECTED),
]


def test_the_way_to_the_first_connection_is_no_incident() -> None:
    assert fold(PAIRED) == []


def test_a_crash_has_cause_action_and_result() -> None:
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium is gone"),
            Line(10, "restart", reason="Chromium is gone"),
            status(11.5, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident) == [
        "Cause: Chromium is gone.",
        "Done: its worker was started again.",
        "Result: connected again after 1.5 s.",
    ]


def test_a_planned_replacement_has_its_reason() -> None:
    why = "it used 500 MB, worker.memory_limit is 400 MB"
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, why),
            Line(10, "recycled", reason=why),
            status(12, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident) == [
        f"Cause: {why}.",
        "Done: its worker was replaced, as planned.",
        "Result: connected again after 2.0 s.",
    ]


def test_a_parked_session_says_what_a_person_has_to_do() -> None:
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium died"),
            *(Line(10 + n, "restart", reason="Chromium died") for n in range(5)),
            Line(20, "parked", reason="restart_budget"),
            status(20, Status.DISCONNECTED, Status.FAILED, "5 restarts did not help"),
        ]
    )
    lines = sentences(incident)
    assert lines[1] == "Done: its worker was started again (5 times)."
    assert lines[-1].startswith("It is still open. waguard tries it again at growing intervals")


def test_an_orphan_that_was_ended_is_reported() -> None:
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium is gone"),
            Line(11, "stray_ended", reason="chromium --headless"),
        ]
    )
    assert sentences(incident)[1] == "Done: an orphan was ended: chromium --headless."


def test_two_crashes_are_two_incidents() -> None:
    crash = [
        status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium is gone"),
        status(12, Status.DISCONNECTED, Status.CONNECTED),
    ]
    assert len(fold([*PAIRED, *crash, *crash])) == 2


def test_an_unlink_goes_on_until_somebody_scans() -> None:
    trail = [
        *PAIRED,
        Line(5, "logged_out", reason="unknown_companion"),
        status(5, Status.CONNECTED, Status.QR_SCANNING),
    ]
    (incident,) = fold(trail)
    assert incident.ended is None
    assert "`waguard qr NAME`" in sentences(incident)[-1]
    (incident,) = fold([*trail, *PAIRED[1:]])
    assert incident.result == "connected again"


def test_a_session_that_was_stopped_on_purpose_is_no_open_incident() -> None:
    (incident,) = fold([*PAIRED, status(5, Status.CONNECTED, Status.DISCONNECTED)])
    assert incident.result == "stopped on purpose"


def test_what_an_unlink_on_purpose_brings_about_is_no_open_incident() -> None:
    (_, incident) = fold(
        [
            *PAIRED,
            status(5, Status.CONNECTED, Status.DISCONNECTED),
            Line(6, "logged_out", reason="it was unlinked"),
            Line(7, "left", reason="deleted by the API"),
        ]
    )
    assert (incident.cause, incident.result) == ("it was unlinked", "unlinked on purpose")


lines = st.builds(
    Line,
    st.floats(0, 1e9),
    st.sampled_from(["status", "restart", "parked", "logged_out", "left", "other"]),
    st.none() | st.sampled_from([str(s) for s in Status]),
    st.none() | st.sampled_from([str(s) for s in Status]),
    st.none() | st.text(max_size=10),
)


@given(st.lists(lines, max_size=30))
def test_at_most_the_last_incident_is_open_and_each_has_sentences(trail: list[Line]) -> None:
    incidents = fold(trail)
    assert all(incident.ended is not None for incident in incidents[:-1])
    for incident in incidents:
        assert sentences(incident)[0].startswith("Cause: ")


def test_a_row_that_lied_is_an_incident_that_ends_at_once() -> None:
    (incident,) = fold(
        [*PAIRED, Line(10, "row_corrected", "error", "connected", "the row said something else")]
    )
    assert sentences(incident) == [
        "Cause: the row said something else.",
        "Done: its row was corrected from error to connected.",
        "Result: the row is right again after 0.0 s.",
    ]


def test_a_row_that_is_corrected_meanwhile_ends_nothing() -> None:
    (incident,) = fold(
        [
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium is gone"),
            Line(10, "row_corrected", "connected", "disconnected", "it lied"),
            status(12, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident)[-1] == "Result: connected again after 2.0 s."


def test_one_that_ended_by_a_clock_that_was_set_back_meanwhile_has_no_duration() -> None:
    (incident,) = fold(
        [
            status(18_000, Status.CONNECTED, Status.DISCONNECTED, "Chromium is gone"),
            status(2, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident)[-1] == "Result: connected again."


def test_what_the_reconciler_did_is_reported() -> None:
    (incident,) = fold(
        [
            Line(10, "reconciled", "not in memory", "added and started", "memory had none"),
            status(12, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident) == [
        "Cause: memory had none.",
        "Done: it was added and started.",
        "Result: connected again after 2.0 s.",
    ]


@given(st.sampled_from(["status", "restart", "row_corrected", "reconciled", "taken_in"]))
def test_the_stream_hears_of_trouble_only(kind: str) -> None:
    lines = incident_event(Line(1, kind, "a", "b", "why"))
    if kind in {"status", "taken_in"}:
        assert lines is None
    else:
        assert lines == {"kind": kind, "before": "a", "after": "b", "reason": "why"}


def test_missing_acks_are_an_incident_that_ends_with_the_next_ack() -> None:
    why = "it is connected, but 1 message waits for WhatsApp's ack, the first for 61 s"
    entries = [*PAIRED, Line(10, "acks_missing", reason=why)]
    (open_one,) = fold(entries)
    assert open_one.ended is None
    (incident,) = fold([*entries, Line(15, "acks_back"), Line(16, "acks_back")])
    assert sentences(incident) == [
        f"Cause: {why}.",
        "Result: WhatsApp acknowledges again after 5.0 s.",
    ]


def test_missing_acks_that_an_earlier_daemon_reported_end() -> None:
    """The new one does not know which sends waited, and no change of the status will come."""
    entries = [*PAIRED, Line(10, "acks_missing", reason="why")]
    (incident,) = fold([*entries, Line(15, "adopted", before="connected")])
    assert (incident.result, incident.ended) == ("waguard was started again", 15)
    (goes_on,) = fold([*entries, Line(15, "adopted", before="disconnected")])
    assert goes_on.ended is None
    assert fold([*PAIRED, Line(15, "adopted", before="connected")]) == []


def test_what_concerns_all_can_go_on_at_once() -> None:
    network, breaker = fold_fleet(
        [
            Line(1, "network_down", reason="the host has no default route"),
            Line(2, "network_down", reason="again"),
            Line(3, "fleet_breaker_opened", reason="Chromium did not start"),
            Line(4, "stray_ended", reason="chromium"),
            Line(5, "network_up"),
            Line(6, "network_up"),
        ]
    )
    assert sentences(network) == [
        "Cause: the host has no default route.",
        "Done: no session was restarted for it.",
        "Result: the network was back, and the sessions reconnected by themselves after 4.0 s.",
    ]
    assert sentences(breaker)[-1] == f"It is still open. {remedies.FLEET['fleet_breaker_opened']}"


@pytest.mark.parametrize("passes", [True, False])
def test_a_lookup_that_fails_is_not_contradicted_by_what_was_done(*, passes: bool) -> None:
    """One sentence for both: what gets a 2xx waits, or counts as delivered."""
    found = stored_unknown("TimeoutError", passes=passes, since=1.0)
    (incident,) = fold_fleet([Line(1, "stored_unknown", reason=found.message)])
    cause, done, _ = sentences(incident)
    assert ("waits for it" in cause) is passes
    assert "waited for it" in done
    assert "only where that lasted" in done


def test_messages_that_may_be_missing_are_an_incident_that_is_over_at_once() -> None:
    gap = Line(10, "backfill_gap", reason="messages of 62812@c.us may be missing: it is damaged")
    (incident,) = fold([*PAIRED, gap])
    assert sentences(incident) == [
        "Cause: messages of 62812@c.us may be missing: it is damaged.",
        "Done: the other messages were reported; the phone has the missing ones.",
        "Result: the session goes on after 0.0 s.",
    ]
    assert needed_since([*PAIRED, gap]) is None
    assert incident_event(gap)


def test_a_daemon_that_is_started_again_knows_of_no_outage() -> None:
    (old, new) = fold_fleet(
        [
            Line(1, "disk_low", reason="full"),
            Line(2, STARTED),
            Line(3, "disk_low", reason="full"),
        ]
    )
    assert (old.result, old.ended) == ("waguard was started again", 2)
    assert new.ended is None


DEATH = "waguard (pid 4) was killed or crashed"


def death(at: float, seen: object, pid: int = 4, reason: str = DEATH) -> Line:
    return Line(at, DIED, reason=reason, evidence={"pid": pid, "last_seen": seen})


def test_the_death_of_the_daemon_lasts_until_the_next_one_has_restored() -> None:
    trail = [Line(1, STARTED), Line(2, RESTORED), Line(12, STARTED), death(12, 9.5)]
    (open_one,) = fold_fleet(trail)
    assert (open_one.began, open_one.ended) == (9.5, None)
    assert sentences(open_one)[-1] == "It is still open."
    (incident,) = fold_fleet([*trail, Line(13, RESTORED, reason="3 workers were adopted")])
    assert sentences(incident) == [
        f"Cause: {DEATH}.",
        "Done: the next daemon searched for the workers that were still running.",
        "Done: 3 workers were adopted.",
        "Result: the sessions were supervised again after 3.5 s.",
    ]


def test_a_restore_after_an_orderly_stop_is_no_incident() -> None:
    assert fold_fleet([Line(1, STARTED), Line(2, RESTORED, reason="1 worker was adopted")]) == []


def test_a_daemon_that_dies_before_it_has_restored_is_an_incident_of_its_own() -> None:
    first, second = fold_fleet(
        [Line(1, STARTED), death(1, 0.5), Line(5, STARTED), death(5, 4, 5), Line(6, RESTORED)]
    )
    assert (first.result, first.ended) == ("waguard was started again", 5)
    assert (second.began, second.ended) == (4, 6)


def test_deaths_that_no_daemon_could_report_in_between_are_one_incident() -> None:
    again = "waguard (pid 5) was killed or crashed"
    (incident,) = fold_fleet(
        [Line(9, STARTED), death(9, 1), death(9, 5, 5, reason=again), Line(10, RESTORED)]
    )
    assert (incident.began, incident.ended) == (1, 10)
    assert f"the next daemon died as well: {again}" in incident.actions


def test_a_death_that_is_reported_twice_is_one() -> None:
    (incident,) = fold_fleet(
        [Line(1, STARTED), death(1, 0.5), Line(2, RESTORED), Line(3, STARTED), death(3, 0.5)]
    )
    assert incident.ended == 2


@pytest.mark.parametrize("seen", [None, "yesterday", 99, [1]])
def test_a_death_whose_moment_is_not_known_began_when_it_was_reported(seen: object) -> None:
    (incident,) = fold_fleet([death(12, seen)])
    assert incident.began == 12


@given(
    st.lists(
        st.builds(
            Line, st.floats(0, 1e9), st.sampled_from([*FLEET_ENDS, *FLEET_ENDS.values(), STARTED])
        )
    )
)
def test_each_kind_of_the_fleet_is_open_at_most_once(entries: list[Line]) -> None:
    lines = fold_fleet(entries)
    assert sum(incident.ended is None for incident in lines) <= len(FLEET_ENDS)
    assert all(sentences(incident) for incident in lines)


def test_what_is_needed_is_what_still_goes_on() -> None:
    assert needed_since(PAIRED) is None
    entries = [
        status(10, Status.CONNECTED, Status.DISCONNECTED, "it died"),
        status(11, Status.DISCONNECTED, Status.CONNECTED),
        Line(20, "profile_mended", reason="quarantined"),
        Line(30, "parked", reason="conflict"),
    ]
    assert needed_since(entries) == 20
    assert needed_since([*entries, status(40, Status.FAILED, Status.CONNECTED)]) is None
    fleet = [Line(1, "disk_low"), Line(2, "network_down"), Line(3, "disk_free")]
    assert needed_since(fleet, fleet=True) == 2


def test_a_condition_is_an_incident_of_its_own_with_its_advice() -> None:
    begun = Line(10, "memory_in_vain", reason="recycling does not help")
    (incident,) = fold([*PAIRED, begun])
    assert sentences(incident) == [
        "Cause: recycling does not help.",
        f"It is still open. {remedies.PAGE[Kind.MEMORY_IN_VAIN]}",
    ]
    (incident,) = fold([*PAIRED, begun, Line(70, "memory_in_vain_over")])
    assert sentences(incident)[-1] == "Result: it is over after 60.0 s."


def test_a_condition_within_another_incident_adds_its_report() -> None:
    trail = [
        *PAIRED,
        status(10, Status.CONNECTED, Status.DISCONNECTED, "the phone or the network is away"),
        Line(200, "reloaded", reason="no connection"),
        Line(400, "recycled", reason="no connection"),
        Line(600, "link_stuck", reason="a reload and a replacement did not help"),
        Line(700, "memory_in_vain_over"),
    ]
    (incident,) = fold(trail, session="alpha")
    assert incident.ended is None
    lines = sentences(incident)
    assert lines[1:3] == [
        "Done: its page was loaded again.",
        "Done: its worker was replaced, as planned.",
    ]
    assert (
        lines[-1] == f"It is still open. {remedies.text(remedies.PAGE[Kind.LINK_STUCK], 'alpha')}"
    )


def test_a_reload_alone_is_no_incident() -> None:
    assert fold([*PAIRED, Line(10, "reloaded", reason="a newer version")]) == []


def test_why_says_why_a_restart_was_delayed_and_what_a_person_did() -> None:
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium died"),
            *(
                Line(10 + n, "restart", reason="x", evidence={"delay": n, "blame": "session"})
                for n in (1.5, 12.0, 4.0)
            ),
            Line(40, "start_waited", reason="memory: 3 MB available"),
            Line(45, "passkey_failed", reason="the linking failed, its time ran out"),
            Line(50, "start_requested", reason="a person or the application requested a start"),
            status(60, Status.DISCONNECTED, Status.CONNECTED),
        ]
    )
    assert sentences(incident) == [
        "Cause: Chromium died.",
        "Done: its worker was started again (3 times).",
        "Done: its start waited: memory: 3 MB available.",
        "Done: the linking failed, its time ran out.",
        "Done: a person or the application started it.",
        "Delayed: a restart by up to 12 s, because the pauses after its own failures grow.",
        "Result: connected again after 50.0 s.",
    ]


@pytest.mark.parametrize("evidence", [{}, {"delay": None}, {"delay": "long"}, {"delay": 1.0}])
def test_a_short_or_unknown_pause_explains_nothing(evidence: dict[str, Any]) -> None:
    (incident,) = fold(
        [
            status(10, Status.CONNECTED, Status.DISCONNECTED, "x"),
            Line(10, "restart", reason="x", evidence=evidence),
        ]
    )
    assert not any(line.startswith("Delayed") for line in sentences(incident))


UNLINKED = [
    *PAIRED,
    status(5, Status.CONNECTED, Status.DISCONNECTED, "unlinked on the phone"),
    Line(5, "unlinked", reason="unlinked on the phone"),
]
PARKED = [Line(5, "restart", reason="Chromium died"), Line(6, "parked", reason="restart_budget")]
temporary = pytest.mark.parametrize(("begin", "end"), OWN_ENDS.items())


@temporary
@pytest.mark.parametrize("trail", [UNLINKED, PARKED], ids=["unlinked", "parked"])
def test_a_condition_that_ends_meanwhile_does_not_end_an_unlink_or_a_parking(
    trail: list[Line], begin: str, end: str
) -> None:
    (before,) = fold(trail, session="alpha")
    (incident,) = fold([*trail, Line(7, begin, reason="500"), Line(9, end)], session="alpha")
    assert incident.ended is None
    assert needed_since([*trail, Line(7, begin), Line(9, end)]) == 5
    (incident,) = fold([*trail, Line(9, end)], session="alpha")
    assert sentences(incident) == sentences(before)


@pytest.mark.parametrize("begin", SESSION_ENDS)
@pytest.mark.parametrize("trail", [UNLINKED, PARKED], ids=["unlinked", "parked"])
def test_what_an_unlink_or_a_parking_needs_is_still_advised_during_and_after_a_condition(
    trail: list[Line], begin: str
) -> None:
    (before,) = fold(trail, session="alpha")
    meanwhile = [*trail, Line(7, begin, reason="500")]
    for entries in (meanwhile, [*meanwhile, Line(9, SESSION_ENDS[begin])]):
        (incident,) = fold(entries, session="alpha")
        assert incident.advice == before.advice


@temporary
@pytest.mark.parametrize(
    "trail",
    [UNLINKED[2:], UNLINKED[3:], [Line(5, "logged_out")], PARKED],
    ids=["unlinked", "without a status", "logged out", "parked"],
)
def test_a_condition_that_began_before_an_unlink_or_a_parking_does_not_end_it(
    trail: list[Line], begin: str, end: str
) -> None:
    entries = [*PAIRED, Line(3, begin, reason="500"), *trail, Line(9, end)]
    (incident,) = fold(entries, session="alpha")
    assert incident.ended is None
    back = status(12, Status.DISCONNECTED, Status.CONNECTED)
    (incident,) = fold([*entries, back])
    assert (incident.result, incident.ended) == ("connected again", 12)


@temporary
def test_a_condition_ends_the_incident_that_it_began(begin: str, end: str) -> None:
    (incident,) = fold([*PAIRED, Line(3, begin, reason="500"), Line(9, end)])
    assert (incident.ended, incident.advice) == (9, None)


def test_the_advice_of_a_condition_goes_with_it() -> None:
    lost = status(5, Status.CONNECTED, Status.DISCONNECTED, "the phone is away")
    trail = [*PAIRED, lost, Line(7, "webhooks_down", reason="500")]
    (incident,) = fold(trail)
    assert incident.advice == remedies.FLEET["webhooks_down"]
    (incident,) = fold([*trail, Line(9, "webhooks_up")])
    assert sentences(incident)[-1] == "It is still open."
    both = [Line(5, "webhooks_down"), Line(6, "acks_missing"), Line(7, "acks_back")]
    (incident,) = fold([*PAIRED, *both])
    assert incident.advice == remedies.FLEET["webhooks_down"]


LOST = status(5, Status.CONNECTED, Status.DISCONNECTED, "the phone is away")
BACK_AGAIN = status(9, Status.DISCONNECTED, Status.CONNECTED)
outages = pytest.mark.parametrize(("begin", "end"), SESSION_ENDS.items())


@outages
@pytest.mark.parametrize("before", [True, False])
def test_a_new_connection_does_not_end_an_outage_of_another_part(
    begin: str, end: str, *, before: bool
) -> None:
    down = Line(4 if before else 6, begin, reason="500")
    trail = [*PAIRED, *([down, LOST] if before else [LOST, down]), BACK_AGAIN]
    (incident,) = fold(trail, session="alpha")
    assert (incident.ended, incident.kind) == (None, begin)
    assert "it was connected again" in incident.actions
    assert incident.advice == remedies.text(remedies.FLEET[begin], "alpha")
    assert needed_since(trail) == incident.began
    (incident,) = fold([*trail, Line(20, end)])
    assert incident.ended == 20
    (incident,) = fold([*PAIRED, down, LOST, Line(7, end), BACK_AGAIN])
    assert (incident.result, incident.ended) == ("connected again", 9)


@outages
def test_an_outage_whose_daemon_died_does_not_stay_open(begin: str, end: str) -> None:
    """The next one has not seen it, and so will not report its end."""
    killed = [*PAIRED, Line(4, begin, reason="500"), Line(5, BEGUN)]
    (old, lost) = fold([*killed, LOST, BACK_AGAIN])
    assert (old.ended, lost.result) == (5, "connected again")
    (_, _, found) = fold([*killed, LOST, BACK_AGAIN, Line(30, begin, reason="500")])
    assert found.ended is None
    trail = [*PAIRED, Line(3, begin), LOST, Line(6, BEGUN), BACK_AGAIN]
    assert fold(trail)[0].ended == 9
    adopted = [*PAIRED, Line(3, begin), LOST, Line(6, "adopted", before="disconnected")]
    assert fold([*adopted, BACK_AGAIN])[0].ended == 9


@pytest.mark.parametrize("trail", [UNLINKED, PARKED], ids=["unlinked", "parked"])
def test_a_new_daemon_does_not_end_an_unlink_or_a_parking(trail: list[Line]) -> None:
    (incident,) = fold([*trail, Line(8, BEGUN)])
    assert incident.ended is None
