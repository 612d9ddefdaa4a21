import pytest

from waguard.core.session.probe import STALL, PageLiveness, observe, should_end_script


def heard_for(samples: list[float], *, answers: int = 0) -> PageLiveness:
    """Samples at these times; the first ``answers`` of them are answered."""
    liveness = PageLiveness(heard_at=0.0, sampled_at=0.0)
    for number, now in enumerate(samples):
        liveness = observe(liveness, now=now, answered=number < answers)
    return liveness


def test_the_time_without_an_answer_counts_from_the_last_one() -> None:
    assert heard_for([1, 2, 3, 4], answers=2).silent == 2
    assert heard_for([1, 2, 3, 4], answers=4).silent == 0


def test_time_in_which_the_worker_stood_still_does_not_count() -> None:
    assert heard_for([1, 2, 3600, 3601], answers=1).silent == 2
    assert heard_for([1, 1 + STALL], answers=1).silent == STALL


def test_an_answer_is_a_new_beginning_for_help_too() -> None:
    helped = PageLiveness(heard_at=0, sampled_at=3, helped=True)
    assert observe(helped, now=4, answered=False).helped
    assert not observe(helped, now=4, answered=True).helped


@pytest.mark.parametrize(
    ("silent", "devtools", "cpu_saturated", "ends"),
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
    *, silent: float, devtools: float | None, cpu_saturated: bool, ends: bool
) -> None:
    """Only where the browser answers at once and there are cores to spare: else it may only wait."""
    liveness = PageLiveness(heard_at=0, sampled_at=silent)
    assert should_end_script(liveness, devtools=devtools, cpu_saturated=cpu_saturated) is ends
    helped = PageLiveness(heard_at=0, sampled_at=silent, helped=True)
    assert not should_end_script(helped, devtools=devtools, cpu_saturated=cpu_saturated)
