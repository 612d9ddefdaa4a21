"""Incidents name who changed what."""

from typing import Any

import pytest

from tests.core.incidents.test_folding import PAIRED, Line, status
from waguard.core.incidents.changes import CHANGE, merged, outcome
from waguard.core.incidents.folding import fold, fold_fleet, needed_since
from waguard.core.incidents.sentences import sentences
from waguard.core.row_status import Status

ONE = "/api/sessions/{session_id}"


def change(at: float, route: str, by: str = 'key "ani"', after: str = "done", **more: Any) -> Line:
    return Line(at, CHANGE, before=route, after=after, reason=by, evidence=more)


DOWN = status(10, Status.CONNECTED, Status.DISCONNECTED)


def test_who_stopped_it_is_named() -> None:
    (incident,) = fold([*PAIRED, change(9.9, f"POST {ONE}/stop"), DOWN])
    assert sentences(incident) == [
        "Cause: it became disconnected.",
        'Done: it was stopped by key "ani".',
        "Result: stopped on purpose after 0.0 s.",
    ]


def test_who_ends_an_open_incident_is_named() -> None:
    (incident,) = fold(
        [
            *PAIRED,
            status(10, Status.CONNECTED, Status.DISCONNECTED, "Chromium died"),
            change(500, f"POST {ONE}/reconnect", "root by the socket"),
            change(501, f"POST {ONE}/stop", after="failed"),
            change(502, "PUT /api/sessions/{session_id}/metadata"),
            status(503, Status.DISCONNECTED, Status.CONNECTED),
            change(504, f"POST {ONE}/stop"),
        ]
    )
    assert sentences(incident) == [
        "Cause: Chromium died.",
        "Done: it was restarted by root by the socket.",
        "Result: connected again after 493.0 s.",
    ]


def test_a_start_names_who_asked_where_that_is_known() -> None:
    down = status(10, Status.CONNECTED, Status.FAILED, "Chromium died")
    asked, start = change(20, f"POST {ONE}/start"), Line(20.1, "start_requested")
    (incident,) = fold([*PAIRED, down, asked, start])
    assert incident.actions == ['it was started by key "ani"']
    (incident,) = fold([*PAIRED, down, change(20, f"POST {ONE}/stop"), start])
    assert incident.actions[1:] == ["a person or the application started it"]


@pytest.mark.parametrize(("seconds", "named"), [(0.0, False), (60.0, True), ("x", False)])
def test_only_what_is_recent_explains_what_follows(seconds: Any, *, named: bool) -> None:
    logout = change(10, f"POST {ONE}/logout", seconds=seconds)
    (incident,) = fold(
        [*PAIRED, logout, status(70, Status.CONNECTED, Status.DISCONNECTED, "the network is down")]
    )
    assert incident.actions == (['it was logged out by key "ani"'] if named else [])


def test_changes_alone_are_no_incident_and_keep_nothing_open() -> None:
    changes = [change(at, f"POST {ONE}/stop") for at in range(3)]
    assert fold(changes) == fold_fleet(changes) == []
    assert needed_since(changes) is None


def test_what_was_done_to_all_is_part_of_what_it_ends() -> None:
    accept = change(4, "POST /api/database/accept")
    (unknown,) = fold_fleet(
        [
            change(0, "POST /api/database/accept"),
            Line(1, "database_unknown", reason="it is another one"),
            change(2, "POST /api/database/accept", after="refused"),
            change(3, "POST /api/reconcile"),
            accept,
            Line(5, "database_known"),
        ]
    )
    assert unknown.actions[1:] == ['the database was accepted by key "ani"']


def test_a_change_comes_before_what_it_brought_about_and_each_keeps_its_order() -> None:
    """Also where the clock was set back between two entries."""
    entries = [Line(5, "a"), Line(3, "b"), Line(7, "c")]
    changes = [Line(4, CHANGE), Line(7, CHANGE), Line(8, CHANGE)]
    found = [(it.at, it.kind) for it in merged(entries, changes)]
    assert [it for it in found if it[1] != CHANGE] == [(5, "a"), (3, "b"), (7, "c")]
    assert found.index((4, CHANGE)) < found.index((5, "a"))
    assert found.index((7, CHANGE)) < found.index((7, "c")) < found.index((8, CHANGE))


@pytest.mark.parametrize(
    ("code", "said"),
    [(200, "done"), (202, "done"), (409, "refused"), (500, "failed"), (None, "unknown")],
)
def test_the_outcome_is_that_of_the_answer(code: int | None, said: str) -> None:
    assert outcome(code) == said
