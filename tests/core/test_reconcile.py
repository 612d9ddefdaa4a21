import random
from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.lifecycle import State
from waguard.core.reconcile import (
    Action,
    Add,
    CorrectRow,
    EndRemains,
    EndWorker,
    Finding,
    Host,
    Kind,
    Lose,
    Observed,
    Remove,
    Renew,
    Start,
    Stop,
    Stored,
    Wanted,
    Worker,
    explain,
    findings,
    plan,
)
from waguard.core.replace import replace
from waguard.core.row_status import LIVE_STATUSES

Rows = dict[str, Wanted]
Sessions = dict[str, Observed]

STATUSES: Final = ["qr_scanning", "authenticated", "connected", "disconnected", "failed"]
ids = st.sampled_from("abcde")
rows_like = st.dictionaries(
    ids,
    st.builds(
        Wanted,
        up=st.booleans(),
        status=st.sampled_from([*STATUSES, "error"]),
        phone=st.sampled_from([None, "62811", "62812"]),
        paired=st.booleans(),
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
        worker=st.none() | st.integers(1, 4),
    ),
)
hosts = st.builds(
    Host,
    profiles=st.none()
    | st.dictionaries(
        st.tuples(st.just(1), ids), st.builds(Stored, profile=st.booleans(), copies=st.booleans())
    ),
    workers=st.none()
    | st.dictionaries(
        st.integers(1, 6), st.builds(Worker, session=st.sampled_from("abcdef"), ours=st.booleans())
    ),
    remains=st.dictionaries(st.integers(7, 9), st.sampled_from("abcdef")),
)
UNKNOWN: Final = Host()


def row(
    *,
    up: bool = True,
    status: str = "connected",
    phone: str | None = None,
    workspace: int = 1,
    paired: bool | None = None,
) -> Wanted:
    known = status != "qr_scanning" if paired is None else paired
    return Wanted(up=up, status=status, phone=phone, workspace=workspace, paired=known)


def session(
    state: State, status: str = "connected", *, row_pending: bool = False, worker: int | None = None
) -> Observed:
    return Observed(
        state=state, generation=1, status=status, row_pending=row_pending, worker=worker
    )


def converge(
    actions: list[Action], rows: Rows, sessions: Sessions, host: Host
) -> tuple[Rows, Sessions, Host]:
    """All sides once everything has been done, and every worker has come to rest."""
    sessions, rows, remains = dict(sessions), dict(rows), dict(host.remains)
    stored, workers = dict(host.profiles or {}), dict(host.workers or {})
    for action in actions:
        match action:
            case Add(name):
                state = State.RUNNING if rows[name].up else State.STOPPED
                sessions[name] = session(state, rows[name].status)
                stored[1, name] = Stored(profile=True, copies=False)
            case Remove(name) | Lose(name):
                del sessions[name]
            case Start(name) | Renew(name):
                sessions[name] = session(State.RUNNING)
                stored[1, name] = Stored(profile=True, copies=False)
            case Stop(name):
                sessions[name] = session(State.STOPPED, "disconnected")
            case EndWorker(_, pid):
                del workers[pid]
            case EndRemains(_, pid):
                del remains[pid]
            case CorrectRow(name):
                pass
    _come_to_rest(rows, sessions)
    return rows, sessions, _with(host, stored, workers, remains)


def _come_to_rest(rows: Rows, sessions: Sessions) -> None:
    for name, found in sessions.items():
        if found.state is State.STOPPED and not rows[name].up and found.status in LIVE_STATUSES:
            # taken in as the row was: the next comparison corrects it
            sessions[name] = session(State.STOPPED, "disconnected")
        if found.state is State.STOPPING:
            sessions[name] = session(State.STOPPED, "disconnected")
        rows[name] = replace(rows[name], status=sessions[name].status)


def _with(
    host: Host,
    stored: dict[tuple[int, str], Stored],
    workers: dict[int, Worker],
    remains: dict[int, str],
) -> Host:
    """What could not be read before cannot be read now."""
    return Host(
        profiles=None if host.profiles is None else stored,
        workers=None if host.workers is None else workers,
        remains=remains,
    )


@given(rows_like, sessions_like, hosts)
def test_a_plan_that_was_carried_out_leaves_little_and_then_nothing(
    rows: Rows, sessions: Sessions, host: Host
) -> None:
    for _ in range(3):  # who was still stopping can be started only the second time
        rows, sessions, host = converge(plan(rows, sessions, host), rows, sessions, host)
    assert plan(rows, sessions, host) == []


def test_what_a_dead_chromium_left_is_ended_whatever_the_session_does() -> None:
    host = Host(remains={7: "a", 8: "gone"})
    rows, sessions = {"a": row()}, {"a": session(State.RUNNING)}
    assert plan(rows, sessions, host) == [EndRemains("a", 7), EndRemains("gone", 8)]


@given(rows_like, sessions_like, hosts)
def test_what_could_not_be_read_freezes_what_depends_on_it(
    rows: Rows, sessions: Sessions, host: Host
) -> None:
    on_host = Renew | EndWorker | EndRemains
    assert not any(isinstance(action, on_host) for action in plan(rows, sessions, UNKNOWN))
    blind = plan(rows, sessions, UNKNOWN)
    assert blind == [a for a in plan(rows, sessions, host) if not isinstance(a, on_host)]
    assert {f.kind for f in findings(rows, sessions, UNKNOWN)} <= {Kind.SAME_PHONE}


@given(rows_like, sessions_like, hosts)
def test_every_action_is_explained(rows: Rows, sessions: Sessions, host: Host) -> None:
    for action in plan(rows, sessions, host):
        correction = explain(action, rows, sessions)
        assert correction.session == action.session
        assert all((correction.action, correction.before, correction.after, correction.reason))
        assert correction.before != correction.after or isinstance(action, CorrectRow)


@given(rows_like, sessions_like, hosts)
def test_no_session_is_acted_on_twice(rows: Rows, sessions: Sessions, host: Host) -> None:
    actions = plan(rows, sessions, host)
    on_sessions = Counter(
        a.session for a in actions if not isinstance(a, CorrectRow | EndWorker | EndRemains)
    )
    on_rows = Counter(a.session for a in actions if isinstance(a, CorrectRow))
    assert all(count == 1 for count in (on_sessions | on_rows).values())


@given(rows_like, sessions_like, hosts)
def test_stops_come_first_and_rows_last(rows: Rows, sessions: Sessions, host: Host) -> None:
    """A stop frees what a start needs, and a row is corrected after what may change it."""
    order = [EndWorker, EndRemains, Remove, Stop, Add, Start, Renew, CorrectRow]
    kinds = [order.index(type(action)) for action in plan(rows, sessions, host)]
    assert kinds == sorted(kinds)


@given(rows_like, sessions_like, hosts, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_the_database_listed_them(
    rows: Rows, sessions: Sessions, host: Host, chance: random.Random
) -> None:
    shuffled_rows, shuffled_sessions = list(rows.items()), list(sessions.items())
    chance.shuffle(shuffled_rows)
    chance.shuffle(shuffled_sessions)
    assert plan(dict(shuffled_rows), dict(shuffled_sessions), host) == plan(rows, sessions, host)


@given(rows_like, sessions_like, hosts)
def test_a_session_that_waits_for_a_person_is_not_started_behind_his_back(
    rows: Rows, sessions: Sessions, host: Host
) -> None:
    waiting = {n for n, s in sessions.items() if s.state in {State.PARKED, State.PARKING}}
    assert not {a.session for a in plan(rows, sessions, host) if isinstance(a, Start)} & waiting


def test_a_row_that_says_connected_while_nothing_runs_is_corrected() -> None:
    """The row says connected, nothing runs, and nobody wants it to: the row is what is wrong."""
    rows = {"a": row(up=False, status="connected")}
    assert plan(rows, {}, UNKNOWN) == [Add("a")]
    assert plan(rows, {"a": session(State.STOPPED, "connected")}, UNKNOWN) == [CorrectRow("a")]
    assert plan(rows, {"a": session(State.STOPPED, "disconnected")}, UNKNOWN) == [CorrectRow("a")]


def test_a_row_that_is_being_written_is_left_alone() -> None:
    rows = {"a": row(status="connected")}
    assert (
        plan(rows, {"a": session(State.BACKOFF, "disconnected", row_pending=True)}, UNKNOWN) == []
    )
    assert plan(rows, {"a": session(State.BACKOFF, "disconnected")}, UNKNOWN) == [CorrectRow("a")]


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
    assert plan(rows, sessions, UNKNOWN) == [
        Remove("gone"),
        Stop("unwanted"),
        Add("new"),
        Start("dead"),
        CorrectRow("dead"),
        CorrectRow("unwanted"),
    ]


# ---- the host ----


def profiles(**stored: Stored) -> Host:
    return Host(profiles={(1, name): one for name, one in stored.items()})


THERE: Final = Stored(profile=True, copies=True)
ONLY_COPIES: Final = Stored(profile=False, copies=True)


def test_a_worker_of_nobody_is_ended_and_one_that_was_just_started_is_not() -> None:
    rows = {"a": row(), "b": row(), "c": row(up=False, status="disconnected")}
    sessions = {
        "a": session(State.RUNNING, worker=10),
        "b": session(State.STARTING),
        "c": session(State.STOPPED, "disconnected"),
    }
    seen = {
        10: Worker(session="a", ours=False),  # adopted
        11: Worker(session="a", ours=False),  # of an unknown instance
        12: Worker(session="b", ours=True),  # known to the host a moment earlier
        13: Worker(session="c", ours=True),
        14: Worker(session="gone", ours=True),
    }
    ended = [EndWorker("a", 11), EndWorker("c", 13), EndWorker("gone", 14)]
    assert plan(rows, sessions, Host(workers=seen)) == ended


def test_a_profile_that_was_removed_from_under_its_browser_comes_back_from_the_copy() -> None:
    rows, sessions = {"a": row()}, {"a": session(State.RUNNING)}
    assert plan(rows, sessions, profiles(a=THERE)) == []
    assert plan(rows, sessions, profiles(a=ONLY_COPIES)) == [Renew("a")]


def test_without_a_copy_it_goes_on_as_long_as_it_lives_and_is_a_finding() -> None:
    rows, sessions = {"a": row()}, {"a": session(State.RUNNING)}
    assert plan(rows, sessions, profiles()) == []
    [found] = findings(rows, sessions, profiles())
    assert (found.session, found.kind) == ("a", Kind.RUNS_WITHOUT_PROFILE)


def test_one_that_waits_for_a_scan_has_nothing_to_lose() -> None:
    rows = {"a": row(status="qr_scanning")}
    sessions = {"a": session(State.RUNNING, "qr_scanning")}
    assert plan(rows, sessions, profiles()) == [Renew("a")]
    assert findings(rows, sessions, profiles()) == []


@pytest.mark.parametrize("status", ["disconnected", "failed"])
def test_a_paired_one_that_is_offline_has_its_pairing_to_lose(status: str) -> None:
    rows, sessions = {"a": row(status=status)}, {"a": session(State.RUNNING, status)}
    assert plan(rows, sessions, profiles()) == []
    assert [it.kind for it in findings(rows, sessions, profiles())] == [Kind.RUNS_WITHOUT_PROFILE]
    assert plan(rows, sessions, profiles(a=ONLY_COPIES)) == [Renew("a")]


def test_one_that_is_being_paired_loses_that() -> None:
    rows = {"a": row(status="authenticated", paired=False)}
    sessions = {"a": session(State.RUNNING, "authenticated")}
    assert plan(rows, sessions, profiles()) == []


@pytest.mark.parametrize("status", ["disconnected", "failed", "connected", "authenticated"])
@pytest.mark.parametrize("state", [State.RUNNING, State.BACKOFF, State.PARKED, State.STOPPED])
def test_the_profile_of_a_paired_session_that_was_moved_is_no_finding(
    state: State, status: str
) -> None:
    """It follows at the next start: whoever quarantines it loses the only credentials."""
    rows = {"a": row(status=status, workspace=2)}
    sessions, host = {"a": session(state, status)}, Host(profiles={(1, "a"): THERE})
    assert findings(rows, sessions, host) == []
    assert not any(isinstance(it, Renew) for it in plan(rows, sessions, host))


def test_no_finding_claims_another_profile_of_a_session_that_has_none() -> None:
    """Neither of two follows it, nor one of the name of a session that was never paired."""
    several = Host(profiles={(1, "a"): THERE, (3, "a"): THERE})
    moved = row(up=False, status="disconnected", workspace=2)
    never = row(up=False, status="disconnected", workspace=2, paired=False)
    stopped = {"a": session(State.STOPPED, "disconnected")}
    found = [
        *findings({"a": moved}, stopped, several),
        *findings({"a": never}, stopped, Host(profiles={(1, "a"): THERE})),
    ]
    assert [it.kind for it in found] == [Kind.PROFILE_WITHOUT_ROW] * 3
    assert not [it for it in found if "has another profile" in it.remedy]
    assert all("see whose it is" in it.remedy.lower() for it in found)


def test_a_profile_without_a_row_is_a_finding_and_stays() -> None:
    host = Host(profiles={(1, "a"): THERE, (2, "a"): THERE, (1, "old"): ONLY_COPIES})
    assert plan({"a": row()}, {"a": session(State.RUNNING)}, host) == []
    [found] = findings({"a": row()}, {"a": session(State.RUNNING)}, host)
    assert (found.session, found.kind) == ("a", Kind.PROFILE_WITHOUT_ROW)
    assert "workspace 2" in found.about
    assert "has another profile" in found.remedy


def test_a_profile_whose_name_is_no_text_is_shown_by_one_that_is() -> None:
    [found] = findings({}, {}, Host(profiles={(1, "jos\udce9"): THERE}))
    assert found.session == "jos\\udce9"
    assert "jos\\udce9" in found.remedy
    assert f"{found.session}{found.about}{found.remedy}".isprintable()


def test_two_rows_with_one_phone_are_a_finding_on_both() -> None:
    rows = {
        "a": row(phone="62811"),
        "b": row(phone="+62 811"),
        "c": row(phone="62812"),
        "d": row(phone="62811", up=False, status="disconnected"),
    }
    found = findings(rows, {}, UNKNOWN)
    assert [(f.session, f.kind) for f in found] == [("a", Kind.SAME_PHONE), ("b", Kind.SAME_PHONE)]
    assert all("2 sessions have" in f.about for f in found), "none names the other"


def test_the_order_of_findings_is_stable() -> None:
    rows = {"b": row(phone="1"), "a": row(phone="1")}
    assert findings(rows, {}, UNKNOWN) == sorted(findings(rows, {}, UNKNOWN))
    assert isinstance(findings(rows, {}, UNKNOWN)[0], Finding)


def test_a_status_outside_the_enum_is_corrected() -> None:
    rows = {"a": row(status="error")}
    sessions = {"a": session(State.RUNNING)}
    assert plan(rows, sessions, UNKNOWN) == [CorrectRow("a")]
    correction = explain(CorrectRow("a"), rows, sessions)
    assert (correction.before, correction.after) == ("error", "connected")


@given(rows_like, sessions_like, hosts, st.frozensets(ids))
def test_nothing_is_done_to_a_session_of_another_host_but_that_it_is_lost(
    rows: Rows, sessions: Sessions, host: Host, mine: frozenset[str]
) -> None:
    actions = plan(rows, sessions, host, mine.__contains__)
    others = [it for it in actions if it.session not in mine]
    assert [it for it in others if isinstance(it, Lose)] == [
        Lose(name) for name in sorted(sessions.keys() - mine)
    ]
    assert all(isinstance(it, Lose | EndWorker | EndRemains) for it in others)
    ours = [it for it in actions if it.session in mine]
    assert ours == [it for it in plan(rows, sessions, host) if it.session in mine]


def test_what_other_hosts_have_is_not_this_ones_to_report() -> None:
    rows = {
        "a": row(phone="1"),
        "b": row(phone="1"),
        "c": row(),
    }
    kept = {(1, name): Stored(profile=True, copies=False) for name in "abcx"}
    kept[2, "c"] = kept[1, "c"]
    found = findings(rows, {"a": session(State.RUNNING)}, Host(profiles=kept), "a".__eq__)
    assert [(it.session, it.kind) for it in found] == [
        ("a", Kind.SAME_PHONE),
        ("x", Kind.PROFILE_WITHOUT_ROW),
    ]
    (action,) = plan({}, {"a": session(State.RUNNING)}, UNKNOWN, lambda _: False)
    said = explain(action, {}, {"a": session(State.RUNNING)})
    assert (said.action, said.after) == ("lose", "ended and forgotten")
