"""How a linking that needs the account's passkey moves: by what the page reports, by its screen, by the clock."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.passkey_link import (
    OPTIONS_LIFETIME,
    RETRY,
    TIMEOUT,
    UNATTENDED,
    UNKNOWN,
    WAIT,
    WAITING,
    PasskeyEvent,
    PasskeyLink,
    PasskeyStage,
    PasskeyStep,
    advance,
    is_over,
    left,
    observe,
    words,
)
from waguard.core.replace import replace

NOW = 1_000.0
OFFERED, ASKED, ANSWERED, CONFIRM, FAILED = PasskeyStage
CODE = "ABCD-EFGH"


def step(event: str, **fields: Any) -> PasskeyStep:
    return PasskeyStep(event=PasskeyEvent(event), **fields)


def after(*steps: PasskeyStep) -> PasskeyLink:
    """The linking after these, one a second."""
    link = None
    for number, it in enumerate(steps):
        link = advance(link, it, now=NOW + number)
    assert link
    return link


STEPS = {
    OFFERED: (step("offered"),),
    ASKED: (step("offered"), step("asked", request="r1")),
    ANSWERED: (step("offered"), step("asked", request="r1"), step("sent")),
    CONFIRM: (step("offered"), step("asked"), step("sent"), step("code", code=CODE)),
    FAILED: (step("offered"), step("asked"), step("error", error="server_error")),
}


@pytest.mark.parametrize(
    ("stage", "lasts"),
    [
        (OFFERED, OPTIONS_LIFETIME),
        (ASKED, OPTIONS_LIFETIME - 1),  # the offer's options
        (ANSWERED, WAIT),
        (CONFIRM, WAIT),
        (FAILED, RETRY),
    ],
)
def test_each_stage_has_its_time(stage: PasskeyStage, lasts: float) -> None:
    steps = STEPS[stage]
    link = after(*steps)
    assert (link.stage, link.until) == (stage, NOW + len(steps) - 1 + lasts)
    assert advance(link, steps[-1], now=NOW + 60) is link, "the same again grants no more time"


def test_what_is_known_of_each_stage() -> None:
    assert after(*STEPS[OFFERED]).unattended_until == NOW + UNATTENDED
    asked = after(*STEPS[ASKED])
    assert (asked.request, asked.unattended_until) == ("r1", NOW + UNATTENDED)
    assert (after(*STEPS[ANSWERED]).request, after(*STEPS[ANSWERED]).unattended_until) == (
        None,
        None,
    )
    assert after(*STEPS[CONFIRM]).code == CODE
    failed = after(*STEPS[FAILED])
    assert (failed.error, failed.unattended_until) == ("server_error", None)


def test_another_request_takes_the_place_of_the_one_that_is_held() -> None:
    link = advance(after(*STEPS[ASKED]), step("asked", request="r2"), now=NOW + 30)
    assert link
    assert (link.request, link.until) == ("r2", NOW + 30 + OPTIONS_LIFETIME)
    assert advance(link, step("asked"), now=NOW + 40) is link


def test_after_a_failure_it_is_started_again_and_its_code_will_be_compared() -> None:
    link = advance(after(*STEPS[FAILED]), step("asked", request="r2"), now=NOW + 30)
    assert link
    assert (link.stage, link.request, link.unattended_until) == (ASKED, "r2", None)


def test_a_code_that_the_page_confirms_itself_asks_nobody() -> None:
    link = after(*STEPS[ANSWERED], step("code", code=CODE, unattended=True))
    assert (link.stage, link.code, link.until) == (ANSWERED, CODE, NOW + 3 + WAIT)


def test_a_code_of_which_a_person_is_asked_later_becomes_one_to_confirm() -> None:
    """The screen shows the code before its button can be pressed."""
    alone = after(*STEPS[ANSWERED], step("code", code=CODE, unattended=True))
    for moved in (advance, observe):
        link = moved(alone, step("code", code=CODE), now=NOW + 50)
        assert link
        assert (link.stage, link.code, link.until) == (CONFIRM, CODE, NOW + 50 + WAIT)
        assert advance(alone, step("code", code=CODE, unattended=True), now=NOW + 50) is alone


def test_the_screen_shows_another_code_than_the_one_to_confirm() -> None:
    link = after(*STEPS[CONFIRM])
    for unattended in (False, True):
        shown = step("code", code="WXYZ-9876", unattended=unattended)
        other = observe(link, shown, now=NOW + 50)
        assert other
        assert (other.stage, other.code, other.until) == (CONFIRM, "WXYZ-9876", link.until)
    unread = observe(link, step("code"), now=NOW + 50)
    assert unread
    assert unread.code == CODE


def test_what_is_asked_late_ends_with_the_offer_and_after_it_the_page_has_new_options() -> None:
    offered = after(*STEPS[OFFERED])
    late = advance(offered, step("asked", request="r1"), now=NOW + 550)
    assert late
    assert (late.stage, late.until) == (ASKED, NOW + 600)
    assert left(offered, 600.0, now=NOW + 550) == left(late, 600.0, now=NOW + 550) == 50
    by_screen = observe(offered, step("asked"), now=NOW + 550)
    assert advance(by_screen, step("asked", request="r1"), now=NOW + 551) == replace(
        late, shown=True
    ), "whichever comes first"
    assert left(offered, 20.0, now=NOW + 550) == 20
    after_it = advance(offered, step("asked", request="r1"), now=NOW + 700)
    assert after_it
    assert after_it.until == NOW + 700 + OPTIONS_LIFETIME
    assert left(offered, 600.0, now=NOW + 700) == 600
    assert left(late, 600.0, now=NOW + 700) == 0
    assert left(after(*STEPS[FAILED]), 600.0, now=NOW + 590) == 600


@pytest.mark.parametrize("stage", [ANSWERED, CONFIRM, FAILED])
def test_another_scan_is_another_offer(stage: PasskeyStage) -> None:
    link = advance(after(*STEPS[stage]), step("offered"), now=NOW + 50)
    assert link
    assert (link.stage, link.unattended_until) == (OFFERED, NOW + 50 + UNATTENDED)


@pytest.mark.parametrize("stage", list(PasskeyStage))
@pytest.mark.parametrize("event", ["paired", "gone"])
def test_it_ends(stage: PasskeyStage, event: str) -> None:
    assert advance(after(*STEPS[stage]), step(event), now=NOW) is None


def test_an_error_without_a_word() -> None:
    assert after(step("error")).error == UNKNOWN


@pytest.mark.parametrize("stage", list(PasskeyStage))
def test_time_fails_only_what_somebody_waits_for(stage: PasskeyStage) -> None:
    link = after(*STEPS[stage])
    assert observe(link, None, now=link.until - 1) is link
    late = observe(link, None, now=link.until)
    assert late
    if stage in WAITING:
        assert (late.stage, late.error, late.until) == (FAILED, TIMEOUT, link.until + RETRY)
    else:
        assert late is link
    assert is_over(link, now=link.until + 1) is (stage not in WAITING)
    assert not is_over(link, now=link.until)


def test_the_screen_shows_it_where_there_is_no_event() -> None:
    link = None
    for shown, stage in (
        (step("offered"), OFFERED),
        (step("asked"), ASKED),
        (step("sent"), ANSWERED),
        (step("code", code=CODE), CONFIRM),
        (step("error"), FAILED),
    ):
        link = observe(link, shown, now=NOW)
        assert link
        assert (link.stage, link.shown) == (stage, True)
    assert observe(link, None, now=NOW) is None


@pytest.mark.parametrize("shown", ["offered", "asked", "sent"])
def test_the_screen_follows_later_and_takes_nothing_back(shown: str) -> None:
    link = observe(after(*STEPS[CONFIRM]), step(shown), now=NOW)
    assert link
    assert (link.stage, link.code) == (CONFIRM, CODE)


def test_a_failure_that_waguard_found_is_not_taken_back_by_a_screen_that_stands_still() -> None:
    link = observe(after(*STEPS[ANSWERED]), step("sent"), now=NOW + 500)
    assert link
    assert link.stage is FAILED
    again = observe(link, step("sent"), now=NOW + 501)
    assert again == link


def test_a_code_that_is_being_confirmed_stays_one_to_confirm() -> None:
    """Its button is disabled after the click, too."""
    link = after(*STEPS[CONFIRM])
    shown = observe(link, step("code", code=CODE, unattended=True), now=NOW + 5)
    assert shown
    assert (shown.stage, shown.until) == (CONFIRM, link.until)


def test_words_name_the_moment_and_the_stage() -> None:
    found = {words(after(*steps)) for steps in STEPS.values()}
    assert len(found) == len(STEPS)
    assert "until 00:10:00 UTC" in words(PasskeyLink(stage=OFFERED, until=600.0))
    odd = words(PasskeyLink(stage=FAILED, until=600.0, error="odd_word"))
    assert "WhatsApp Web says: odd_word" in odd


EVENTS = st.builds(
    PasskeyStep,
    event=st.sampled_from(PasskeyEvent),
    request=st.sampled_from([None, "r1", "r2"]),
    code=st.sampled_from([None, CODE]),
    unattended=st.booleans(),
    error=st.sampled_from([None, "timeout"]),
)


@given(st.lists(st.tuples(EVENTS, st.booleans(), st.floats(0, 700))))
def test_whatever_the_page_says_each_stage_ends(steps: list[tuple[Any, bool, float]]) -> None:
    """No stage lasts longer than its own time, and nobody waits for longer than a stage."""
    link, now = None, NOW
    for it, is_screen, seconds in steps:
        now += seconds
        before = link
        link = (observe if is_screen else advance)(link, it, now=now)
        if link is not None and link is not before:
            assert link.until <= now + OPTIONS_LIFETIME or (before and link.until == before.until)
    link = observe(link, None, now=now + OPTIONS_LIFETIME)
    assert link is None or link.stage not in WAITING
