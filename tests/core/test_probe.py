from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.lifecycle import State
from waguard.core.probe import (
    STALL,
    Hearing,
    Limits,
    Silence,
    diagnose,
    listen,
    notice,
    should_end_script,
)

LIMITS: Final = Limits(start=60, worker=10, page=30, hopeless_page=10)


def silence(
    state: State,
    *,
    in_state: float = 1000.0,
    worker: float | None = 0.0,
    page: float | None = 0.0,
    **more: bool,
) -> Silence:
    return Silence(state=state, in_state=in_state, worker=worker, page=page, **more)


STORY: Final = {
    "all layers are heard": (silence(State.RUNNING), None),
    "the worker hangs, and with it the page": (
        silence(State.RUNNING, worker=10.6, page=31.0),
        "the worker has been silent for 11 s",
    ),
    "only the page hangs": (
        silence(State.RUNNING, page=30.4),
        "the page has not answered for 30 s",
    ),
    "nothing more can be done for it": (
        silence(State.RUNNING, page=10.4, hopeless=True),
        "the page has not answered for 10 s",
    ),
    "on a crowded machine it may wait for its turn": (
        silence(State.RUNNING, page=30.0, hopeless=True, crowded=True),
        None,
    ),
    "but not for ever": (
        silence(State.RUNNING, page=30.4, hopeless=True, crowded=True),
        "the page has not answered for 30 s",
    ),
    "at the limit is not over it": (silence(State.RUNNING, worker=10.0, page=30.0), None),
    "never heard is not silent": (silence(State.RUNNING, worker=None, page=None), None),
    "it starts slowly": (silence(State.STARTING, in_state=60.0, page=59.0), None),
    "a slow start hides silent layers": (
        silence(State.STARTING, in_state=59.0, worker=40.0, page=50.0),
        None,
    ),
    "it does not start": (
        silence(State.STARTING, in_state=60.1),
        "not ready 60 s after its start",
    ),
}


@pytest.mark.parametrize(("heard", "diagnosis"), STORY.values(), ids=STORY.keys())
def test_what_silence_means(heard: Silence, diagnosis: str | None) -> None:
    assert diagnose(LIMITS, heard) == diagnosis


@pytest.mark.parametrize("state", sorted(set(State) - {State.STARTING, State.RUNNING}))
def test_who_is_not_wanted_to_speak_is_never_too_silent(state: State) -> None:
    assert diagnose(LIMITS, silence(state, in_state=1e9, worker=1e9, page=1e9)) is None


seconds = st.floats(0, 1e9)


@given(st.sampled_from(State), seconds, st.none() | seconds, st.none() | seconds, seconds)
def test_more_silence_never_cures(
    state: State, in_state: float, worker: float | None, page: float | None, more: float
) -> None:
    now = Silence(state=state, in_state=in_state, worker=worker, page=page)
    later = Silence(
        state=state,
        in_state=in_state + more,
        worker=None if worker is None else worker + more,
        page=None if page is None else page + more,
    )
    assert diagnose(LIMITS, now) is None or diagnose(LIMITS, later) is not None


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (silence(State.RUNNING, worker=2.0, page=2.0), None),
        (silence(State.RUNNING, worker=2.1, page=2.1), "the worker is silent"),
        (silence(State.RUNNING, page=2.1), "the page does not answer"),
        (silence(State.RUNNING, worker=None, page=None), None),
        (silence(State.STARTING, worker=9.0, page=9.0), None),
    ],
)
def test_what_is_told_before_anything_is_done(heard: Silence, told: str | None) -> None:
    assert notice(LIMITS, heard) == told


@given(
    worker=st.none() | seconds,
    page=st.none() | seconds,
    hopeless=st.booleans(),
    crowded=st.booleans(),
)
def test_nobody_is_replaced_for_a_silence_that_was_not_told(
    worker: float | None, page: float | None, *, hopeless: bool, crowded: bool
) -> None:
    heard = silence(State.RUNNING, worker=worker, page=page, hopeless=hopeless, crowded=crowded)
    if diagnose(LIMITS, heard):
        assert notice(LIMITS, heard)


# ---- the worker's ear at its page ----


def heard_for(looks: list[float], *, answers: int = 0) -> Hearing:
    """Looks at these times; the first ``answers`` of them are answered."""
    hearing = Hearing(heard_at=0.0, looked_at=0.0)
    for number, now in enumerate(looks):
        hearing = listen(hearing, now=now, answered=number < answers)
    return hearing


def test_silence_grows_from_the_last_answer() -> None:
    assert heard_for([1, 2, 3, 4], answers=2).silent == 2
    assert heard_for([1, 2, 3, 4], answers=4).silent == 0


def test_a_worker_that_stood_still_has_heard_no_silence() -> None:
    assert heard_for([1, 2, 3600, 3601], answers=1).silent == 2
    assert heard_for([1, 1 + STALL], answers=1).silent == STALL


def test_an_answer_is_a_new_beginning_for_help_too() -> None:
    helped = Hearing(heard_at=0, looked_at=3, helped=True)
    assert listen(helped, now=4, answered=False).helped
    assert not listen(helped, now=4, answered=True).helped


@pytest.mark.parametrize(
    ("silent", "devtools", "crowded", "ends"),
    [
        (2.9, 0.01, False, False),
        (3.0, 0.01, False, True),
        (3.0, None, False, False),
        (14.9, 0.01, True, False),
        (15.0, 0.01, True, True),
        (14.9, 0.6, False, False),
        (15.0, 0.6, False, True),
    ],
)
def test_when_the_pages_script_is_ended(
    *, silent: float, devtools: float | None, crowded: bool, ends: bool
) -> None:
    """Only where the browser answers at once and there are cores to spare: else it may only wait."""
    hearing = Hearing(heard_at=0, looked_at=silent)
    assert should_end_script(hearing, devtools=devtools, crowded=crowded) is ends
    helped = Hearing(heard_at=0, looked_at=silent, helped=True)
    assert not should_end_script(helped, devtools=devtools, crowded=crowded)
