"""What becomes of a delivery that was not taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.delivery import (
    EVENTS,
    SESSION_EVENTS,
    Answer,
    Cause,
    Dead,
    Delivered,
    DeliveryPolicy,
    Retry,
    decide,
    outdated,
    partition_of,
)

POLICY = DeliveryPolicy(
    give_up_after=7_200.0, base_delay=1.0, max_delay=10.0, longest_retry_after=100.0
)


def decided(status: int | None, **changes: Any) -> Delivered | Retry | Dead:
    given: dict[str, Any] = {"attempt": 1, "age": 0.0, "jitter": 0.5}
    named = {k: changes.pop(k) for k in ("retry_after", "error", "refused") if k in changes}
    return decide(POLICY, answer=Answer(status=status, **named), **(given | changes))


EXPIRED = Cause.EXPIRED
STORY: list[tuple[str, int | None, dict[str, Any], Delivered | Retry | Dead]] = [
    ("taken", 200, {}, Delivered()),
    ("taken without a body", 204, {}, Delivered()),
    ("taken at last", 200, {"attempt": 500, "age": 1e9}, Delivered()),
    ("time-out or nobody there", None, {}, Retry(0.5)),
    ("the second pause may be longer", None, {"attempt": 2}, Retry(1.0)),
    ("the third again", 500, {"attempt": 3}, Retry(2.0)),
    ("up to a limit", 503, {"attempt": 9, "jitter": 0.999}, Retry(9.99)),
    ("jitter may be nothing", 502, {"jitter": 0.0}, Retry(0.0)),
    ("request time-out", 408, {}, Retry(0.5)),
    ("too early", 425, {}, Retry(0.5)),
    ("it says when", 503, {"retry_after": 7.0}, Retry(7.0, asked=True)),
    ("too long a wish", 503, {"retry_after": 1e9}, Retry(100.0, asked=True)),
    ("nobody may call for a minute", 429, {}, Retry(65.0, everyone=True, asked=True)),
    (
        "too many, and it says when",
        429,
        {"retry_after": 3.0},
        Retry(3.0, everyone=True, asked=True),
    ),
    ("a bad signature stays bad", 401, {}, Dead("the receiver answered 401")),
    ("no such address", 404, {"retry_after": 9.0}, Dead("the receiver answered 404")),
    ("moved: not followed", 302, {}, Dead("the receiver answered 302")),
    ("not to be called", None, {"refused": True, "error": "refused"}, Dead("refused")),
    (
        "given up",
        500,
        {"age": 7_200.0, "attempt": 5},
        Dead("not accepted within 2 h, 5 attempts, the last: the receiver answered 500", EXPIRED),
    ),
    (
        "given up",
        None,
        {"age": 7_201.0, "error": "no answer in time"},
        Dead("not accepted within 2 h, 1 attempts, the last: no answer in time", EXPIRED),
    ),
]


@pytest.mark.parametrize(
    ("status", "changes", "wanted"),
    [case[1:] for case in STORY],
    ids=[f"{case[0]}, {case[1]}" for case in STORY],
)
def test_story(
    status: int | None, changes: dict[str, Any], wanted: Delivered | Retry | Dead
) -> None:
    assert decided(status, **dict(changes)) == wanted


@given(
    attempt=st.integers(1, 10_000),
    age=st.floats(0, 1e6),
    status=st.none() | st.integers(100, 599),
    retry_after=st.none() | st.floats(-10, 1e12),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_it_always_ends_and_never_waits_too_long(
    attempt: int, age: float, status: int | None, retry_after: float | None, jitter: float
) -> None:
    policy = DeliveryPolicy()
    answer = Answer(status=status, retry_after=retry_after)
    decision = decide(policy, attempt=attempt, age=age, answer=answer, jitter=jitter)
    if isinstance(decision, Retry):
        assert age < policy.give_up_after
        assert 0 <= decision.delay <= max(policy.longest_retry_after, policy.max_delay)
    assert isinstance(decision, Delivered) == (status is not None and 200 <= status < 300)


@given(event=st.sampled_from(sorted(EVENTS)), later=st.lists(st.sampled_from(sorted(EVENTS))))
def test_only_a_newer_session_event_makes_a_session_event_outdated(
    event: str, later: list[str]
) -> None:
    assert outdated(event, later) == (event in SESSION_EVENTS and bool(SESSION_EVENTS & {*later}))


@pytest.mark.parametrize(
    ("event", "data", "wanted"),
    [
        ("message_received", {"message": {"id": "false_49@c.us_3EB0"}}, "49@c.us"),
        ("message_received", {"message": {"id": "false_1-2@g.us_3EB0_49@c.us"}}, "1-2@g.us"),
        ("message_read", {"message_id": "true_49@c.us_3EB0"}, "49@c.us"),
        ("message_sent", {"message_id": "true_49@c.us_3EB0"}, "49@c.us"),
        ("session_ready", {"message_id": "true_49@c.us_3EB0"}, ""),
        ("message_edited", {"message_id": "false_49@c.us_3EB0", "chat_id": "49@c.us"}, "49@c.us"),
        ("call_received", {"call_id": "C", "chat_id": "49@c.us"}, "49@c.us"),
        ("call_received", {"call_id": "C"}, ""),
        ("message_error", {"message_id": None, "chat_id": "49@c.us"}, "49@c.us"),
        ("message_error", {"message_id": "odd", "chat_id": None}, "message_error"),
        ("message_received", {"message": "odd"}, ""),
        ("message_received", {"message": {"id": 7}}, ""),
        ("message_received", {"message": {"id": "odd"}}, ""),
        ("message_received", {}, ""),
    ],
)
def test_a_message_and_its_acks_share_a_partition(
    event: str, data: dict[str, Any], wanted: str
) -> None:
    assert partition_of(event, data) == wanted
