"""Which states only a person ends."""

import pytest

from waguard.core.lifecycle import State, stays_down


@pytest.mark.parametrize(
    ("state", "wanted", "unwanted"),
    [
        (State.STARTING, False, False),
        (State.RUNNING, False, False),
        (State.RECYCLING, False, False),
        (State.BACKOFF, False, False),
        (State.STOPPED, False, True),  # its restore is still to come, or nobody wants it
        (State.STOPPING, False, True),
        (State.PARKING, True, True),
        (State.PARKED, True, True),
    ],
)
def test_what_only_a_person_brings_up_again(state: State, *, wanted: bool, unwanted: bool) -> None:
    assert stays_down(state, wanted=True) is wanted
    assert stays_down(state, wanted=False) is unwanted
