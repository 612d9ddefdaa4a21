"""Whose fault it is that a page was not loaded, and when it is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.replace import replace
from waguard.core.session.page_load import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST,
    Answers,
    Refusal,
    is_gone,
    is_unrecoverable,
    pause,
    refusal,
    spent,
)

SERVED = Answers(asked=True, status=200, scripts=9)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Answers(), None),  # nothing was asked: Chromium itself is unhealthy
        (SERVED, None),
        (
            Answers(asked=True, status=500),
            Refusal("WhatsApp answers with HTTP status 500"),
        ),
        (
            Answers(asked=True, status=429, retry_after=120.0),
            Refusal("WhatsApp answers with HTTP status 429", 120.0),
        ),
        (Answers(asked=True), Refusal("WhatsApp does not answer: no page arrives")),
        (
            Answers(
                asked=True,
                status=200,
                scripts=9,
                failed=9,
                host="static.whatsapp.net",
                error="ERR_NAME_NOT_RESOLVED",
            ),
            Refusal(
                "WhatsApp's scripts cannot be loaded"
                " (static.whatsapp.net: 9 of 9, ERR_NAME_NOT_RESOLVED)"
            ),
        ),
        (
            Answers(asked=True, status=200, scripts=9, waiting=2),
            Refusal("WhatsApp's scripts are not served (2 of 9 without an answer)"),
        ),
    ],
)
def test_whose_fault_it_is(answers: Answers, expected: Refusal | None) -> None:
    assert refusal(answers) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Answers(loaded=True), False),
        (Answers(asked=True, status=200, scripts=9, failed=9), False),  # more may be asked for
        (Answers(asked=True, status=200, scripts=9, failed=8, loaded=True), False),
        (Answers(asked=True, status=200, scripts=9, failed=9, loaded=True), True),
        (Answers(asked=True, status=200, scripts=9, failed=8, waiting=1, loaded=True), False),
        (Answers(asked=True, status=200, loaded=True), False),  # all of it is in the document
        (SERVED, False),
    ],
)
def test_without_any_of_its_scripts_nothing_is_waited_for(
    answers: Answers,
    expected: bool,  # noqa: FBT001
) -> None:
    assert is_unrecoverable(answers) is expected


GONE = Answers(
    asked=True,
    status=200,
    scripts=9,
    failed=2,
    gone=2,
    host="static.whatsapp.net",
    error="HTTP 404",
)


def test_a_document_whose_scripts_their_server_has_not_got_is_spent() -> None:
    assert spent(GONE) == (
        "WhatsApp's scripts cannot be loaded (static.whatsapp.net: 2 of 9, HTTP 404)"
    )
    not_spent = [
        SERVED,
        replace(GONE, gone=0),  # the server does not answer
        replace(GONE, gone=1),
        replace(GONE, waiting=1),
    ]
    assert [answers for answers in not_spent if spent(answers)] == []


def test_what_a_server_has_not_got_it_says() -> None:
    asked = (200, 304, 399, 400, 403, 404, 408, 410, 425, 429, 499, 500, 503)
    assert [status for status in asked if is_gone(status)] == [400, 403, 404, 410, 499]


def test_a_refused_page_is_tried_ever_more_rarely() -> None:
    pauses = [pause(refusals, retry_after=None, jitter=0.0) for refusals in range(6)]
    assert pauses == [FIRST_PAUSE, 120.0, 240.0, 480.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert pause(0, retry_after=600.0, jitter=0.0) == 600.0
    assert pause(0, retry_after=1e9, jitter=0.0) == MOST
    assert pause(0, retry_after=None, jitter=0.5) == 75.0


@given(st.integers(0, 10_000), st.none() | st.floats(0, 1e12), st.floats(0, 1, exclude_max=True))
def test_pauses_of_a_refused_page_are_bounded(
    refusals: int, after: float | None, jitter: float
) -> None:
    assert FIRST_PAUSE <= pause(refusals, retry_after=after, jitter=jitter) <= 1.5 * MOST
