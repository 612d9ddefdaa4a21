import random
from collections import Counter
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from waguard.policy.lifecycle import State
from waguard.policy.reconcile import (
    Action,
    Add,
    CorrectRow,
    Observed,
    Remove,
    Start,
    Stop,
    Wanted,
    plan,
)
from waguard.policy.status import LIVE_STATUSES

Rows = dict[str, Wanted]
Sessions = dict[str, Observed]

STATUSES: Final = ["qr_scanning", "authenticated", "connected", "disconnected", "failed"]
ids = st.sampled_from("abcde")
rows_like = st.dictionaries(
    ids,
    st.builds(
        Wanted, up=st.booleans(), generation=st.integers(1, 2), status=st.sampled_from(STATUSES)
    ),
)
sessions_like = st.dictionaries(
    ids,
    st.builds(
        Observed,
        state=st.sampled_from(State),
        generation=st.integers(1, 2),
        status=st.sampled_from(STATUSES),
        row_pending=st.booleans(),
    ),
)


def row(*, up: bool = True, status: str = "connected") -> Wanted:
    return Wanted(up=up, generation=1, status=status)


def session(state: State, status: str = "connected", *, row_pending: bool = False) -> Observed:
    return Observed(state=state, generation=1, status=status, row_pending=row_pending)


def settle(actions: list[Action], rows: Rows, sessions: Sessions) -> tuple[Rows, Sessions]:
    """Both sides once everything has been done, and every worker has come to rest."""
    sessions, rows = dict(sessions), dict(rows)
    for action in actions:
        match action:
            case Add(name):
                state = State.RUNNING if rows[name].up else State.STOPPED
                sessions[name] = session(state, rows[name].status)
            case Remove(name):
                del sessions[name]
            case Start(name):
                sessions[name] = session(State.RUNNING)
            case Stop(name):
                sessions[name] = session(State.STOPPED, "disconnected")
            case CorrectRow(name):
                pass
    for name, found in sessions.items():
        if found.state is State.STOPPED and not rows[name].up and found.status in LIVE_STATUSES:
            # taken in as the row was: the next comparison corrects it
            sessions[name] = session(State.STOPPED, "disconnected")
        if found.state is State.STOPPING:
            sessions[name] = session(State.STOPPED, "disconnected")
        rows[name] = row(up=rows[name].up, status=sessions[name].status)
    return rows, sessions


@given(rows_like, sessions_like)
def test_a_plan_that_was_carried_out_leaves_little_and_then_nothing(
    rows: Rows, sessions: Sessions
) -> None:
    for _ in range(2):  # who was still stopping can be started only the second time
        rows, sessions = settle(plan(rows, sessions), rows, sessions)
    assert plan(rows, sessions) == []


@given(rows_like, sessions_like)
def test_no_session_is_acted_on_twice(rows: Rows, sessions: Sessions) -> None:
    actions = plan(rows, sessions)
    on_sessions = Counter(a.session for a in actions if not isinstance(a, CorrectRow))
    on_rows = Counter(a.session for a in actions if isinstance(a, CorrectRow))
    assert all(count == 1 for count in (on_sessions | on_rows).values())


@given(rows_like, sessions_like)
def test_stops_come_first_and_rows_last(rows: Rows, sessions: Sessions) -> None:
    """A stop frees what a start needs, and a row is corrected after what may change it."""
    order = [Remove, Stop, Add, Start, CorrectRow]
    kinds = [order.index(type(action)) for action in plan(rows, sessions)]
    assert kinds == sorted(kinds)


@given(rows_like, sessions_like, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_the_database_listed_them(
    rows: Rows, sessions: Sessions, chance: random.Random
) -> None:
    shuffled_rows, shuffled_sessions = list(rows.items()), list(sessions.items())
    chance.shuffle(shuffled_rows)
    chance.shuffle(shuffled_sessions)
    assert plan(dict(shuffled_rows), dict(shuffled_sessions)) == plan(rows, sessions)


@given(rows_like, sessions_like)
def test_a_session_that_waits_for_a_person_is_not_started_behind_his_back(
    rows: Rows, sessions: Sessions
) -> None:
    waiting = {n for n, s in sessions.items() if s.state in {State.PARKED, State.PARKING}}
    assert not {a.session for a in plan(rows, sessions) if isinstance(a, Start)} & waiting


def test_the_incident() -> None:
    """The row says connected, nothing runs, and nobody wants it to: the row is what is wrong."""
    rows = {"a": row(up=False, status="connected")}
    assert plan(rows, {}) == [Add("a")]
    assert plan(rows, {"a": session(State.STOPPED, "connected")}) == [CorrectRow("a")]
    assert plan(rows, {"a": session(State.STOPPED, "disconnected")}) == [CorrectRow("a")]


def test_a_row_that_is_being_written_is_left_alone() -> None:
    rows = {"a": row(status="connected")}
    assert plan(rows, {"a": session(State.BACKOFF, "disconnected", row_pending=True)}) == []
    assert plan(rows, {"a": session(State.BACKOFF, "disconnected")}) == [CorrectRow("a")]


def test_everything_at_once() -> None:
    rows = {
        "new": row(),
        "unwanted": row(up=False, status="disconnected"),
        "dead": row(status="connected"),
        "well": row(),
        "ending": row(up=False, status="disconnected"),
    }
    sessions = {
        "gone": session(State.RUNNING),
        "dead": session(State.STOPPED, "disconnected"),
        "well": session(State.RUNNING),
        "unwanted": session(State.PARKED, "failed"),
        "ending": session(State.STOPPING, "disconnected"),
    }
    assert plan(rows, sessions) == [
        Remove("gone"),
        Stop("unwanted"),
        Add("new"),
        Start("dead"),
        CorrectRow("dead"),
        CorrectRow("unwanted"),
    ]
