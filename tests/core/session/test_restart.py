import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.session.restart import (
    COUNTED,
    LONGEST_PAUSE,
    SESSIONS,
    GiveUp,
    Remembered,
    Restart,
    RestartPolicy,
    credible,
    decide,
    recent,
    retry_delay,
    worth_keeping,
)

POLICY = RestartPolicy(intensity=4, period=60, base_delay=1, max_delay=3)
ALMOST_ONE = 1 - 2**-53

policies = st.builds(
    RestartPolicy,
    intensity=st.integers(1, 1000),
    period=st.floats(0.001, 86_400),
    base_delay=st.floats(0, 86_400),
    max_delay=st.floats(0, 86_400),
)
times = st.floats(0, 1e9)
jitters = st.floats(0, 1, exclude_max=True)


def lives(policy: RestartPolicy, exits: list[float], jitter: float) -> list[Restart | GiveUp]:
    """What is decided when a worker exits at each of these moments."""
    history: list[float] = []
    decisions: list[Restart | GiveUp] = []
    for now in exits:
        decision = decide(policy, history, now=now, jitter=jitter)
        decisions.append(decision)
        if isinstance(decision, Restart):
            history.append(now)
    return decisions


def test_at_once_then_later_and_later_then_never() -> None:
    assert lives(POLICY, [0, 1, 2, 3, 4], jitter=0.5) == [
        Restart(0.0),
        Restart(0.5),
        Restart(1.0),
        Restart(1.5),
        GiveUp(4),
    ]


def test_a_worker_that_crashes_once_a_day_is_always_restarted_at_once() -> None:
    day = 86_400.0
    assert lives(POLICY, [day * n for n in range(30)], jitter=0.9) == [Restart(0.0)] * 30


def test_a_restart_is_forgiven_when_the_period_is_over() -> None:
    crashes = [0.0, 20.0, 40.0, 59.0]
    assert decide(POLICY, crashes, now=59.9, jitter=0.5) == GiveUp(4)
    assert decide(POLICY, crashes, now=60.0, jitter=0.5) == Restart(1.5)
    assert decide(POLICY, crashes, now=119.0, jitter=0.5) == Restart(0.0)


def test_two_that_crash_together_do_not_come_back_together() -> None:
    delays = {decide(POLICY, [0.0], now=1.0, jitter=jitter) for jitter in (0.1, 0.4, 0.7)}
    assert len(delays) == 3


def test_an_intensity_of_one_forgives_a_single_crash() -> None:
    policy = RestartPolicy(intensity=1, period=60)
    assert lives(policy, [0.0, 1.0], jitter=0.5) == [Restart(0.0), GiveUp(1)]


@pytest.mark.parametrize(
    ("at", "counts"), [(40.0, False), (40.001, True), (100.0, True), (100.5, True)]
)
def test_what_counts_happened_less_than_a_period_ago(at: float, counts: bool) -> None:  # noqa: FBT001  # a column of the table
    assert recent([at], now=100.0, period=60.0) == ([at] if counts else [])


@given(policies, st.lists(times, max_size=40), times, jitters)
def test_a_delay_is_bounded_and_the_first_is_none(
    policy: RestartPolicy, restarts: list[float], now: float, jitter: float
) -> None:
    decision = decide(policy, restarts, now=now, jitter=jitter)
    counted = len(recent(restarts, now=now, period=policy.period))
    match decision:
        case GiveUp(number):
            assert number == counted >= policy.intensity
        case Restart(delay):
            assert counted < policy.intensity
            assert 0 <= delay <= policy.max_delay
            assert counted or delay == 0


@given(policies, st.lists(times, max_size=40), times)
def test_more_restarts_never_mean_a_shorter_wait(
    policy: RestartPolicy, restarts: list[float], now: float
) -> None:
    before = decide(policy, restarts, now=now, jitter=ALMOST_ONE)
    after = decide(policy, [*restarts, now], now=now, jitter=ALMOST_ONE)
    match before, after:
        case Restart(first), Restart(second):
            assert second >= first
        case GiveUp(first), GiveUp(second):
            assert second == first + 1
        case _:
            assert isinstance(after, GiveUp)


@given(policies, times, jitters)
def test_a_crash_loop_ends(policy: RestartPolicy, now: float, jitter: float) -> None:
    """However the numbers are set, a worker that exits at once is given up after ``intensity``."""
    decisions = lives(policy, [now] * (policy.intensity + 1), jitter)
    assert decisions[-1] == GiveUp(policy.intensity)
    assert all(isinstance(decision, Restart) for decision in decisions[:-1])


def test_a_parked_session_is_tried_ever_more_rarely() -> None:
    pauses = [retry_delay(tries, first=300.0, jitter=0.0) for tries in range(6)]
    assert pauses == [300.0, 600.0, 1200.0, 2400.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert retry_delay(0, first=300.0, jitter=0.5) == 330.0


@given(st.integers(0, 10_000), st.floats(1, 86_400), jitters)
def test_pauses_of_a_parked_session_are_bounded(tries: int, first: float, jitter: float) -> None:
    pause = retry_delay(tries, first=first, jitter=jitter)
    assert first <= pause <= max(LONGEST_PAUSE, first) * 1.2


def test_only_what_says_something_is_kept_and_of_that_the_newest_restarts() -> None:
    often = Remembered(counted=tuple(float(at) for at in range(COUNTED + 3)), restarts=99)
    kept = worth_keeping({"well": Remembered(), "often": often, "tried": Remembered(tries=1)})
    assert kept.keys() == {"often", "tried"}
    assert kept["often"].counted == often.counted[3:]


def test_of_too_many_sessions_those_that_restarted_last_are_kept() -> None:
    many = {f"{n}": Remembered(counted=(n / 2, float(n))) for n in range(1, SESSIONS)}
    kept = worth_keeping(
        {"never": Remembered(tries=1), "first": Remembered(counted=(0.5,)), **many}
    )
    assert len(kept) == SESSIONS
    assert "never" not in kept
    kept = worth_keeping(
        {"first": Remembered(counted=(0.5,)), **many, "last": Remembered(counted=(1e9,))}
    )
    assert len(kept) == SESSIONS
    assert "first" not in kept


def test_a_restart_that_is_still_to_come_counts_for_nothing() -> None:
    memory = {"a": Remembered(counted=(1.0, 2.0, 3.0), restarts=3)}
    assert credible(memory, now=2.0) == {"a": Remembered(counted=(1.0, 2.0), restarts=3)}


def test_a_session_is_not_unlinked_in_the_future() -> None:
    memory = {"a": Remembered(unlinked_at=3.0, unlinked_said="why"), "b": Remembered()}
    kept = {"a": Remembered(unlinked_at=2.0, unlinked_said="why"), "b": Remembered()}
    assert credible(memory, now=2.0) == kept
