"""An update of Chromium: one canary, then the others one by one; a bad one stops there."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from waguard.core.host.browser_update import (
    PROVEN,
    SCRIPT,
    TRIED_FOR,
    UNPACKED,
    Bad,
    Browser,
    Replacement,
    Seen,
    Step,
    UpdateState,
    advance,
    asks,
    is_bad,
    outdated,
    wanted,
)
from waguard.core.recycle import IDLE
from waguard.core.replace import replace

OLD: Final = Browser(build="old", connected=9_999.0, idle=2 * IDLE)
NEW: Final = Browser(build="new", connected=1.0, idle=1.0)
STARTS: Final = Browser()
LATE: Final = UpdateState(installed="new", since=-UNPACKED)
"""The new one has been installed for long enough."""


def seen(sessions: Mapping[str, Browser], **more: Any) -> Seen:
    return Seen(**{"installed": "new", "sessions": sessions, **more})


def fleet(**sessions: Browser) -> dict[str, Browser]:
    return {"a": OLD, "b": OLD, "c": OLD, **sessions}


def replaced(state: UpdateState = LATE, now: float = 0.0) -> UpdateState:
    """The canary ``b`` is being replaced."""
    step = advance(state, seen(fleet(b=replace(OLD, idle=3 * IDLE))), now)
    assert step.session == "b"
    return step.state


def test_an_update_goes_through_a_canary_and_then_one_by_one() -> None:
    """Simulated second by second: each start takes 20 s."""
    state, sessions, begun, order = UpdateState(installed="old"), fleet(), dict[str, int](), []
    at = dict.fromkeys(sessions, -9_999)
    for now in range(1_000):
        for name, since in list(begun.items()):
            if now - since == 20:
                sessions[name], at[name] = NEW, now
                del begun[name]
        for name, it in sessions.items():
            if it.build:
                sessions[name] = replace(it, connected=float(now - at[name]))
        state, name_, why = advance(state, seen(sessions, busy=bool(begun)), float(now))
        if name_:
            assert why == "another Chromium is installed"
            assert not begun, "one at a time"
            order.append((name_, now))
            begun[name_], sessions[name_] = now, STARTS
    assert [name for name, _ in order] == ["c", "b", "a"]
    first, second, third = (now for _, now in order)
    assert first == UNPACKED
    assert second - first == PROVEN + 20
    assert third - second == 20
    assert (state.good, state.bad, state.replacement) == ("new", None, None)
    assert outdated(state, sessions) == []


NOBODY: Final[dict[str, tuple[UpdateState, Seen]]] = {
    "the executable is missing": (LATE, seen(fleet(), installed=None)),
    "its package is being unpacked": (UpdateState(installed="new"), seen(fleet())),
    "another file took its place": (replace(LATE, installed="newer"), seen(fleet())),
    "all are busy": (LATE, seen(dict.fromkeys("abc", replace(OLD, idle=IDLE - 1)))),
    "calls are under way": (LATE, seen({"a": replace(OLD, idle=None)})),
    "nobody is connected": (LATE, seen({"a": replace(OLD, connected=None)})),
    "what runs is unknown": (LATE, seen({"a": replace(OLD, build=None)})),
    "another one starts": (LATE, seen(fleet(), busy=True)),
    "the network is away": (LATE, seen(fleet(), calm=False)),
    "all have it": (LATE, seen({"a": NEW})),
    "one was started anyway, and is the canary": (LATE, seen(fleet(d=NEW))),
    "it does not run": (LATE, seen(fleet(), refused="no libffmpeg.so")),
    "it starts on no profile": (LATE, seen(fleet(), broken="ends at once")),
    "nobody runs": (LATE, seen({})),
}


@pytest.mark.parametrize("why", NOBODY)
def test_nobody_is_replaced_while(why: str) -> None:
    state, it = NOBODY[why]
    assert advance(state, it, 0.0).session is None


def test_what_is_unknown_changes_nothing() -> None:
    state = replace(replaced(), good="old")
    assert advance(state, seen({}, installed=None, refused="x", broken="y"), 9e9) == Step(state)


def test_a_script_is_compared_with_nothing() -> None:
    """Also where it was set because the one before failed."""
    failed = advance(replaced(), seen(fleet(b=Browser(restarts=2))), 1.0).state
    assert advance(failed, seen(fleet(), installed=SCRIPT, kept="old"), 2.0) == Step(UpdateState())
    assert not asks(UpdateState(), SCRIPT, fleet())


def test_a_proven_one_needs_no_canary_again() -> None:
    state = replace(LATE, good="new")
    step = advance(state, seen(fleet(b=NEW)), 0.0)
    assert step.session == "c"
    step = advance(step.state, seen(fleet(b=NEW, c=NEW)), 30.0)
    assert step.session == "a"


FAILS: Final = {
    "its worker ended": (Browser(restarts=2), 1.0, "session b failed 2 times with it"),
    "it is parked": (Browser(parked=True), 1.0, "session b failed 2 times with it"),
    "it does not connect": (
        Browser(build="new"),
        TRIED_FOR + 1,
        "session b was not connected within 300 s with it",
    ),
    "its page never loads": (
        STARTS,
        TRIED_FOR + 1,
        "session b was not connected within 300 s with it",
    ),
}


@pytest.mark.parametrize("how", FAILS)
def test_a_canary_that_fails_stops_it(how: str) -> None:
    canary, after, why = FAILS[how]
    state, session, _ = advance(replaced(), seen(fleet(b=canary)), after)
    assert (is_bad(state), state.bad and state.bad.why, session) == (True, why, None)
    for later in (after + 1, after + 9_999):
        state, session, _ = advance(state, seen(fleet(b=canary)), later)
        assert (is_bad(state), session) == (True, None), "all others keep what they run"


@pytest.mark.parametrize("how", FAILS)
def test_the_kept_one_takes_its_place(how: str) -> None:
    canary, after, _ = FAILS[how]
    state, session, _ = advance(replaced(), seen(fleet(b=canary), kept="old"), after)
    # one whose worker has ended gets it by itself
    assert (is_bad(state), session) == (True, None if canary.parked else "b")
    assert (wanted(state, "old"), wanted(state, None)) == ("old", "new")
    state, session, _ = advance(state, seen(fleet(), kept="old"), after + 60)
    assert (state.replacement, session) == (None, None)


QR: Final = Browser(build="new", doubtful=True)
"""Its page is loaded, and shows a QR code."""


def test_one_canary_that_is_unlinked_proves_nothing_and_another_one_follows() -> None:
    state, session, _ = advance(replaced(), seen(fleet(b=QR), kept="old"), TRIED_FOR)
    assert (state.bad, session) == (None, None), "it may still connect"
    state, session, _ = advance(state, seen(fleet(b=QR), kept="old"), TRIED_FOR + 1)
    assert (state.bad, session) == (None, "c")
    state, *_ = advance(state, seen(fleet(b=QR, c=NEW)), TRIED_FOR + 30)
    proven = fleet(b=QR, c=replace(NEW, connected=PROVEN))
    state, session, _ = advance(state, seen(proven), 2 * TRIED_FOR + 30)
    assert (state.good, state.bad, state.doubts, session) == ("new", None, (), "a")


@pytest.mark.parametrize("build", ["new", None])
def test_two_in_a_row_that_were_connected_before_end_it(build: str | None) -> None:
    """Going on would cost all of them. ``build`` None: the second one waits for a person."""
    both = fleet(b=QR, c=replace(QR, build=build))
    state, session, _ = advance(replaced(), seen(fleet(b=QR), kept="old"), TRIED_FOR + 1)
    assert session == "c"
    state, session, _ = advance(state, seen(both, kept="old"), 2 * TRIED_FOR + 2)
    assert state.bad == Bad(build="new", why="sessions b and c were not connected with it")
    assert session == ("c" if build else "b")
    assert advance(state, seen(fleet(), installed="newer"), 9e3).state.doubts == ()


def test_the_first_of_two_gets_the_one_before_back_too() -> None:
    both = fleet(b=QR, c=QR)
    state = replace(replaced(), replacement=Replacement("c", 0.0, 0), doubts=("b",))
    state, session, _ = advance(state, seen(both, kept="old"), TRIED_FOR + 1)
    assert session == "c"
    back = fleet(b=QR)
    state, session, _ = advance(state, seen(back, kept="old"), TRIED_FOR + 60)
    assert session == "b"
    state, session, _ = advance(state, seen(back, kept="old"), 3 * TRIED_FOR)
    state, session, _ = advance(state, seen(back, kept="old"), 9 * TRIED_FOR)
    assert session is None, "once"


def test_where_no_other_one_is_left_one_is_enough() -> None:
    """It was connected before; and nobody else could show that another Chromium helps."""
    alone = {"b": QR}
    state, session, _ = advance(replaced(), seen(alone, kept="old"), TRIED_FOR + 1)
    assert (is_bad(state), session) == (True, "b")


def test_one_that_cannot_connect_for_another_reason_never_counts() -> None:
    """Its own proxy fails, or it waits for memory. Each is tried once, and then nobody is left."""
    state, sessions, now, tried = replaced(), fleet(), 0.0, ["b"]
    for _ in range(5):
        sessions[tried[-1]] = Browser(build="new", excused=True)
        now += TRIED_FOR + 1
        state, session, _ = advance(state, seen(sessions), now)
        tried += [session] if session else []
        assert (state.bad, state.doubts) == (None, ())
    assert (tried, state.replacement) == (["b", "c", "a"], None)


def test_what_ends_twice_is_no_excuse() -> None:
    ended = Browser(restarts=2, excused=True)
    assert is_bad(advance(replaced(), seen(fleet(b=ended)), 1.0).state)


def test_doubts_about_one_that_was_proven_are_none() -> None:
    state = replaced(replace(LATE, good="new"))
    state, session, _ = advance(state, seen(fleet(b=QR)), TRIED_FOR + 1)
    assert (state.doubts, session) == ((), "c")


def test_nothing_is_concluded_while_the_network_is_away() -> None:
    state = replaced()
    for now in range(0, 4_000, 100):
        state, *_ = advance(state, seen(fleet(b=STARTS), calm=False), float(now))
        assert state.bad is None
    state, *_ = advance(state, seen(fleet(b=STARTS)), 3_900 + TRIED_FOR)
    assert state.bad is None
    state, *_ = advance(state, seen(fleet(b=STARTS)), 3_901 + TRIED_FOR)
    assert is_bad(state)


def test_one_end_of_its_worker_proves_nothing() -> None:
    worn = replace(OLD, restarts=7, idle=9_999.0)
    state, session, _ = advance(LATE, seen(fleet(b=worn)), 0.0)
    assert session == "b"
    state, *_ = advance(state, seen(fleet(b=Browser(restarts=8))), 30.0)
    assert state.bad is None
    assert is_bad(advance(state, seen(fleet(b=Browser(restarts=9))), 60.0)[0])


def test_a_canary_that_drops_out_has_its_time_again() -> None:
    connected = seen(fleet(b=replace(NEW, connected=PROVEN - 1)))
    state, *_ = advance(replaced(), connected, PROVEN + 10)
    state, *_ = advance(state, seen(fleet(b=Browser(build="new"))), PROVEN + 40)
    assert state.bad is None
    assert is_bad(advance(state, seen(fleet(b=Browser(build="new"))), PROVEN + 11 + TRIED_FOR)[0])


def test_a_canary_that_is_stopped_proves_nothing() -> None:
    sessions = fleet()
    del sessions["b"]
    state, session, _ = advance(replaced(), seen(sessions), 30.0)
    assert (state.bad, session) == (None, "c")


def test_a_canary_that_gets_no_slot_is_let_go() -> None:
    state = replaced()
    state, *_ = advance(state, seen(fleet(), busy=True), TRIED_FOR + 1)
    assert state.replacement
    state, session, _ = advance(state, seen(fleet()), TRIED_FOR + 2)
    assert (state.bad, session) == (None, "c")


def test_one_that_does_not_run_costs_nobody_and_is_asked_again() -> None:
    """Its libraries may be unpacked after it."""
    assert asks(LATE, "new", fleet())
    state, *_ = advance(LATE, seen(fleet(), refused="no libffmpeg.so"), 0.0)
    assert is_bad(state)
    assert asks(state, "new", {})
    state, session, _ = advance(state, seen(fleet()), 30.0)
    assert (state.bad, session) == (None, "c")


@pytest.mark.parametrize(
    ("state", "sessions", "expected"),
    [
        (LATE, fleet(), True),
        (LATE, {"a": NEW}, False),
        (LATE, {}, False),
        (replace(LATE, good="new"), fleet(), False),
        (replaced(), fleet(b=STARTS), True),
    ],
)
def test_only_what_a_session_is_to_depend_on_is_run(
    state: UpdateState, sessions: Mapping[str, Browser], *, expected: bool
) -> None:
    assert asks(state, "new", sessions) is expected


def test_a_host_on_which_no_chromium_starts_says_nothing_of_an_update() -> None:
    state, *_ = advance(LATE, seen({"a": STARTS}, broken="no sandbox"), 0.0)
    assert state.bad is None
    state, *_ = advance(LATE, seen({"a": STARTS}, broken="no sandbox", kept="new"), 0.0)
    assert state.bad is None
    state, *_ = advance(LATE, seen({"a": STARTS}, broken="ends at once", kept="old"), 0.0)
    assert is_bad(state)


def test_a_bad_one_that_works_after_all_is_good() -> None:
    state, *_ = advance(replaced(), seen(fleet(b=Browser(restarts=2))), 1.0)
    state, session, _ = advance(state, seen(fleet(b=replace(NEW, connected=PROVEN))), 400.0)
    assert (state.good, state.bad, session) == ("new", None, "c")


def test_the_next_one_is_tried() -> None:
    state, *_ = advance(replaced(), seen(fleet(b=Browser(restarts=2))), 1.0)
    state, session, _ = advance(state, seen(fleet(), installed="newer"), 10.0)
    assert (is_bad(state), state.bad, session) == (False, None, None)
    assert advance(state, seen(fleet(), installed="newer"), 10.0 + UNPACKED).session == "c"


def test_the_way_back_needs_no_canary() -> None:
    state = UpdateState(installed="new", since=-UNPACKED, good="new")
    state, *_ = advance(state, seen({"a": NEW, "b": NEW}, installed="old"), 0.0)
    back = {"a": replace(NEW, idle=IDLE), "b": replace(NEW, idle=IDLE)}
    state, session, _ = advance(replace(state, good="old"), seen(back, installed="old"), UNPACKED)
    assert session == "b"
    _, session, _ = advance(state, seen(back | {"b": OLD}, installed="old"), UNPACKED + 30)
    assert session == "a"


def test_a_proven_one_is_not_blamed_for_a_later_failure() -> None:
    state = replaced(replace(LATE, good="new"))
    state, session, _ = advance(state, seen(fleet(b=Browser(restarts=2)), broken="x"), 30.0)
    assert (state.bad, session) == (None, "c")
