from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.policy.lifecycle import State
from waguard.policy.probe import Limits, Silence, diagnose

LIMITS: Final = Limits(start=60, worker=10, page=30)


def silence(
    state: State,
    *,
    in_state: float = 1000.0,
    worker: float | None = 0.0,
    page: float | None = 0.0,
) -> Silence:
    return Silence(state=state, in_state=in_state, worker=worker, page=page)


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
