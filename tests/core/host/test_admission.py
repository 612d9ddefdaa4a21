"""Who may start now, and why the others wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.blame import Blame, Failure
from waguard.core.host.admission import (
    JUST_ENDED,
    PIDS,
    Candidate,
    Cause,
    Limits,
    Reading,
    Trial,
    admit,
    order,
)
from waguard.core.replace import replace

MB = 1 << 20
LIMITS = Limits(places=2, session_memory=200 * MB, memory_reserve=300 * MB, memory_pressure=20.0)
AMPLE = Reading(memory=8_000 * MB, pressure=0.0, pids=10_000)
A, B, C = (Candidate(session=name) for name in "abc")

candidates = st.builds(
    Candidate,
    session=st.text("abcdefgh", min_size=1, max_size=3),
    priority=st.integers(-3, 3),
    active=st.floats(0, 1e9),
    asked=st.booleans(),
    ended=st.none() | st.floats(0, 100),
)
fleets = st.lists(candidates, max_size=12, unique_by=lambda one: one.session)
readings = st.builds(
    Reading,
    memory=st.none() | st.integers(0, 4_000 * MB),
    pressure=st.none() | st.floats(0, 100),
    pids=st.none() | st.integers(0, 1_000),
    executable=st.none() | st.just("no Chromium"),
    empty=st.none() | st.just("no profile"),
    unreadable=st.none() | st.just("no disk"),
)


def test_so_many_as_there_are_places() -> None:
    decision = admit(LIMITS, AMPLE, [A, B, C], starting=0)
    assert decision.admitted == ("a", "b")
    assert decision.waiting["c"].words == "2 sessions are starting, the limit is 2"
    assert admit(LIMITS, AMPLE, [A], starting=1).admitted == ("a",)
    assert admit(LIMITS, AMPLE, [A], starting=2).admitted == ()


def test_priority_first_then_who_was_active_last() -> None:
    important = replace(C, priority=5)
    recent = replace(B, active=9.0)
    assert admit(LIMITS, AMPLE, [A, recent, important], starting=0).admitted == ("c", "b")


@pytest.mark.parametrize(
    ("host", "cause", "words"),
    [
        (
            Reading(memory=310 * MB),
            Cause.MEMORY,
            "memory: 310 MB available; a session needs about 200 MB, and 300 MB stay free",
        ),
        (Reading(memory=499 * MB), Cause.MEMORY, "499 MB available"),
        (Reading(pressure=23.4), Cause.PRESSURE, "memory pressure is 23 %"),
        (Reading(pids=PIDS - 1), Cause.PIDS, f"the host has {PIDS - 1} pids left"),
    ],
)
def test_a_short_host_starts_none_even_where_nothing_runs(
    host: Reading, cause: Cause, words: str
) -> None:
    decision = admit(LIMITS, host, [A], starting=0)
    assert decision.admitted == ()
    assert decision.waiting["a"].cause is cause
    assert words in decision.waiting["a"].words


@pytest.mark.parametrize(
    "host", [Reading(), Reading(memory=500 * MB), Reading(pressure=20.0), Reading(pids=PIDS)]
)
def test_enough_or_unknown_holds_nobody_back(host: Reading) -> None:
    assert admit(LIMITS, host, [A], starting=0).admitted == ("a",)


def test_those_that_are_starting_have_not_yet_taken_what_they_will() -> None:
    decision = admit(LIMITS, Reading(memory=600 * MB), [A, B], starting=0)
    assert decision.admitted == ("a",)
    assert "1 that are starting as much each" in decision.waiting["b"].words


def test_one_that_is_replaced_takes_what_it_had_but_needs_a_place() -> None:
    short = Reading(memory=210 * MB, pressure=80.0, pids=10)
    again = replace(A, ended=1.0)
    assert admit(LIMITS, short, [again], starting=0).admitted == ("a",)
    assert admit(LIMITS, short, [again], starting=2).waiting["a"].cause is Cause.PLACE
    late = replace(A, ended=JUST_ENDED + 1)
    assert admit(LIMITS, short, [late], starting=0).waiting["a"].cause is Cause.MEMORY


def test_an_open_breaker_lets_only_start_what_was_asked_for() -> None:
    tried = replace(A, asked=False)
    decision = admit(LIMITS, AMPLE, [tried, B], starting=0, fleet="the fleet breaker is open")
    assert decision.admitted == ("b",)
    assert decision.waiting["a"].words == "the fleet breaker is open"


@pytest.mark.parametrize(
    ("host", "paired", "cause"),
    [
        (Reading(executable="no Chromium"), False, Cause.EXECUTABLE),
        (Reading(disk=Failure(Blame.HOST, "disk_full", "full", place="/x")), False, Cause.DISK),
        (Reading(unreadable="no disk"), False, Cause.SESSIONS_FOLDER),
        (Reading(empty="no profile"), True, Cause.SESSIONS_FOLDER),
        (Reading(empty="no profile", executable="no Chromium"), True, Cause.SESSIONS_FOLDER),
        (Reading(empty="no profile"), False, None),
    ],
)
def test_what_nobody_can_start_without_is_waited_for_by_all(
    *, host: Reading, paired: bool, cause: Cause | None
) -> None:
    """Also by one that ended a moment ago, and by one that a person asked for."""
    decision = admit(LIMITS, host, [replace(A, ended=1.0), B], starting=0, paired=paired)
    waits = {wait.cause for wait in decision.waiting.values()}
    assert waits == (set() if cause is None else {cause})
    assert len(decision.waiting) in {0, 2}


@pytest.mark.parametrize(
    ("host", "starts"),
    [
        (Reading(empty="no profile"), True),
        (Reading(empty="no profile", executable="no Chromium"), False),
        (Reading(empty="no folder", missing=True), False),
        (Reading(unreadable="no disk"), False),
    ],
)
def test_a_new_session_that_somebody_asks_for_starts_in_an_empty_folder(
    *, host: Reading, starts: bool
) -> None:
    new, held = replace(A, new=True), replace(B, new=True, asked=False)
    decision = admit(LIMITS, host, [new, held, C], starting=0, paired=True)
    assert decision.admitted == (("a",) if starts else ())
    assert {"b", "c"} <= set(decision.waiting)


def test_a_chromium_that_starts_for_nobody_is_tried_by_one() -> None:
    why = Failure(Blame.HOST, "browser_unusable", "it ends at once")
    due = admit(LIMITS, AMPLE, [A, B, C], starting=0, trial=Trial(why, due=True))
    assert due.admitted == ("a",)
    later = admit(LIMITS, AMPLE, [A, B, C], starting=0, trial=Trial(why, due=False))
    assert later.admitted == ()
    assert later.waiting["b"].words == "it ends at once"


@given(fleet=fleets, host=readings, starting=st.integers(0, 4), breaker=st.none() | st.just("open"))
def test_each_candidate_is_admitted_or_gets_a_reason(
    fleet: list[Candidate], host: Reading, starting: int, breaker: str | None
) -> None:
    decision = admit(LIMITS, host, fleet, starting=starting, fleet=breaker)
    # each is either admitted or gets a reason
    assert sorted([*decision.admitted, *decision.waiting]) == sorted(c.session for c in fleet)
    # never more than the limit
    assert not decision.admitted or starting + len(decision.admitted) <= LIMITS.places
    # in order of priority, and no one is passed by one after it that is no different from it
    known = {c.session: c for c in fleet}
    keys = [order(known[name]) for name in decision.admitted]
    assert keys == sorted(keys)
    for name in decision.admitted:
        for other in decision.waiting:
            if order(known[other]) < order(known[name]):
                assert decision.waiting[other].cause is not Cause.PLACE
    # the order in which they are given does not matter
    assert decision == admit(LIMITS, host, fleet[::-1], starting=starting, fleet=breaker)


def test_none_starts_while_the_lease_runs_out() -> None:
    decision = admit(LIMITS, replace(AMPLE, lease="not renewed"), [A, B], starting=0)
    assert decision.admitted == ()
    assert {it.cause for it in decision.waiting.values()} == {Cause.LEASE}
