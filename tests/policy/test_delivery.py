"""What becomes of a delivery that was not taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.policy.delivery import (
    EVENTS,
    SESSION_EVENTS,
    Delivered,
    DeliveryPolicy,
    Drop,
    Retry,
    judge,
    outdated,
)

POLICY = DeliveryPolicy(attempts=5, base_delay=1.0, max_delay=10.0, longest_retry_after=100.0)


def judged(status: int | None, **changes: Any) -> Delivered | Retry | Drop:
    given: dict[str, Any] = {"attempt": 1, "retry_after": None, "jitter": 0.5}
    return judge(POLICY, status=status, **(given | changes))


STORY: list[tuple[str, int | None, dict[str, Any], Delivered | Retry | Drop]] = [
    ("taken", 200, {}, Delivered()),
    ("taken without a body", 204, {}, Delivered()),
    ("taken at last", 200, {"attempt": 5}, Delivered()),
    ("time-out or nobody there", None, {}, Retry(0.5)),
    ("the second pause may be longer", None, {"attempt": 2}, Retry(1.0)),
    ("the third again", 500, {"attempt": 3}, Retry(2.0)),
    ("up to a limit", 503, {"attempt": 4, "jitter": 0.999}, Retry(7.992)),
    ("jitter may be nothing", 502, {"jitter": 0.0}, Retry(0.0)),
    ("request time-out", 408, {}, Retry(0.5)),
    ("too early", 425, {}, Retry(0.5)),
    ("it says when", 503, {"retry_after": 7.0}, Retry(7.0)),
    ("too long a wish", 503, {"retry_after": 1e9}, Retry(100.0)),
    ("too many a minute: nobody may call for a minute", 429, {}, Retry(60.0, everyone=True)),
    ("too many, and it says when", 429, {"retry_after": 3.0}, Retry(3.0, everyone=True)),
    ("a bad signature stays bad", 401, {}, Drop("the receiver answered 401")),
    ("no such address", 404, {"retry_after": 9.0}, Drop("the receiver answered 404")),
    ("moved: not followed", 302, {}, Drop("the receiver answered 302")),
    ("given up", 500, {"attempt": 5}, Drop("5 attempts failed, the last with 500")),
    ("given up", None, {"attempt": 5}, Drop("5 attempts failed, the last with no answer")),
    ("given up", 429, {"attempt": 6}, Drop("6 attempts failed, the last with 429")),
]


@pytest.mark.parametrize(
    ("status", "changes", "wanted"),
    [case[1:] for case in STORY],
    ids=[f"{case[0]}, {case[1]}" for case in STORY],
)
def test_story(
    status: int | None, changes: dict[str, Any], wanted: Delivered | Retry | Drop
) -> None:
    assert judged(status, **changes) == wanted


@given(
    attempt=st.integers(1, 10_000),
    status=st.none() | st.integers(100, 599),
    retry_after=st.none() | st.floats(-10, 1e12),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_it_always_ends_and_never_waits_too_long(
    attempt: int, status: int | None, retry_after: float | None, jitter: float
) -> None:
    policy = DeliveryPolicy(attempts=9_000)
    verdict = judge(policy, attempt=attempt, status=status, retry_after=retry_after, jitter=jitter)
    if isinstance(verdict, Retry):
        assert attempt < policy.attempts
        assert 0 <= verdict.delay <= policy.longest_retry_after
    assert isinstance(verdict, Delivered) == (status is not None and 200 <= status < 300)


@given(event=st.sampled_from(sorted(EVENTS)), later=st.lists(st.sampled_from(sorted(EVENTS))))
def test_only_a_newer_session_event_makes_a_session_event_outdated(
    event: str, later: list[str]
) -> None:
    assert outdated(event, later) == (event in SESSION_EVENTS and bool(SESSION_EVENTS & {*later}))
