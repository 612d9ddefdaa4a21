"""When first contacts pause, and until when."""

import pytest

from waguard.core.messages.first_contact_pauses import (
    FIRST_GUESS,
    FORGOTTEN,
    LONGEST_GUESS,
    LOOKUPS_REST,
    NO_DATE,
    Cause,
    ChatHistory,
    Pause,
    Result,
    Streak,
    after,
    bounded,
    by_word,
    is_active,
    is_disproved,
    is_locked,
    is_on_trial,
    lock,
    refused_after_all,
    rest,
)

NOW = 1_795_000_000.0
FIRST, OTHER, ANSWERED = ChatHistory.FIRST, ChatHistory.OTHER, ChatHistory.ANSWERED
SENT, REFUSED, SILENT = Result.SENT, Result.REFUSED, Result.SILENT


def streak_of(*happened: tuple[ChatHistory, Result]) -> Streak:
    streak = Streak()
    for one in happened:
        streak = after(streak, *one)
    return streak


@pytest.mark.parametrize(
    ("happened", "locked"),
    [
        ([(FIRST, REFUSED)] * 2, False),
        ([(FIRST, REFUSED)] * 3, True),
        # known chats that go on are no contradiction
        ([(FIRST, REFUSED), (ANSWERED, SENT)] * 3, True),
        # the count begins again after one that was sent, and after a refusal in a known chat
        ([*[(FIRST, REFUSED)] * 2, (FIRST, SENT), (FIRST, REFUSED)], False),
        ([*[(FIRST, REFUSED)] * 2, (ANSWERED, REFUSED), (FIRST, REFUSED)], False),
        # nobody has answered there: WhatsApp may refuse it for the same reason
        ([*[(FIRST, REFUSED)] * 2, (OTHER, REFUSED), (FIRST, REFUSED)], True),
        # without an answer the connection is the cause, until another chat proves the contrary
        ([(FIRST, SILENT)] * 9, False),
        ([*[(FIRST, SILENT)] * 9, (OTHER, SENT)], False),
        ([(FIRST, SILENT), (OTHER, SENT)] * 3, True),
        ([(FIRST, SILENT), (ANSWERED, SENT)] * 3, True),
        ([(FIRST, SILENT), (ANSWERED, SILENT), (ANSWERED, SENT)] * 3, False),
        ([*[(FIRST, SILENT), (ANSWERED, SENT)] * 2, (FIRST, REFUSED)], True),
    ],
    ids=[
        "two",
        "three",
        "known chats go on",
        "one was sent",
        "a known chat is refused",
        "an unanswered chat is refused",
        "no answer",
        "an outage",
        "no answer, and a group",
        "no answer, and a known chat",
        "no answer anywhere",
        "both",
    ],
)
def test_three_in_a_row_while_other_chats_go_on(
    *, happened: list[tuple[ChatHistory, Result]], locked: bool
) -> None:
    assert is_locked(streak_of(*happened), None, now=NOW) is locked


def test_a_late_refusal_counts_once() -> None:
    assert refused_after_all(streak_of((FIRST, SILENT))) == Streak(refused=1)
    assert refused_after_all(streak_of((FIRST, SILENT), (OTHER, SENT))) == Streak(refused=1)
    assert refused_after_all(streak_of((FIRST, REFUSED))) == Streak(refused=2)


def test_without_a_date_each_pause_is_longer() -> None:
    pause, now, lengths = None, NOW, []
    for _ in range(7):
        pause = lock(pause, now=now)
        lengths.append(pause.until - now)
        assert is_active(pause, now=now)
        now = pause.until
        assert is_on_trial(pause, now=now)
        assert is_locked(streak_of((FIRST, REFUSED)), pause, now=now), "one that is tried is enough"
    hours = [1, 2, 4, 8, 16, 24, 24]
    assert lengths == [hour * 3_600.0 for hour in hours]
    assert (lengths[0], lengths[-1]) == (FIRST_GUESS, LONGEST_GUESS)
    assert pause
    assert pause.since == NOW


def test_a_pause_of_long_ago_is_forgotten() -> None:
    pause = lock(lock(None, now=NOW), now=NOW)
    later = pause.until + FORGOTTEN
    assert not is_on_trial(pause, now=later)
    assert not is_locked(streak_of((FIRST, REFUSED)), pause, now=later)
    again = lock(pause, now=later)
    assert (again.since, again.times, again.until) == (later, 1, later + FIRST_GUESS)


def test_until_the_date_that_whatsapp_names() -> None:
    named = NOW + 5 * 86_400
    pause = lock(None, now=NOW, named=named)
    assert (pause.until, pause.said) == (named, True)
    assert is_active(pause, now=named - 1)
    assert not is_active(pause, now=named)
    assert str(pause).endswith("until 2026-11-23 11:06 UTC")


def test_a_minute_is_no_date() -> None:
    assert lock(None, now=NOW, named=NOW + 60).until == NOW + FIRST_GUESS


@pytest.mark.parametrize("named", [None, 0.0, NOW - 1.0])
def test_without_a_word_nothing_changes(named: float | None) -> None:
    guessed = lock(None, now=NOW - 10)
    assert by_word(None, named, now=NOW) is None
    assert by_word(guessed, named, now=NOW) == guessed  # refused, and no date: waha#2219


def test_the_word_of_the_page_pauses_and_ends_at_once() -> None:
    named = NOW + 86_400
    pause = by_word(None, named, now=NOW)
    assert pause
    assert (pause.since, pause.until, pause.said) == (NOW, named, True)
    assert by_word(pause, named, now=NOW + 5) is pause
    longer = by_word(pause, named + 600, now=NOW + 5)
    assert longer
    assert (longer.since, longer.until) == (NOW, named + 600)
    assert by_word(longer, None, now=NOW + 6) is longer
    assert by_word(longer, 0.0, now=NOW + 6) is None


def test_a_word_without_a_date_does_not_grow_while_it_is_said() -> None:
    pause = by_word(None, NOW + 60, now=NOW)
    assert pause
    assert pause.until == NOW + FIRST_GUESS
    assert by_word(pause, NOW + 120, now=NOW + 60) is pause
    ended = pause.until
    again = by_word(pause, ended + 60, now=ended)
    assert again
    assert again.until == ended + 2 * FIRST_GUESS


def test_a_429_pauses_for_a_quarter_of_an_hour_and_shortens_nothing() -> None:
    pause = rest(None, now=NOW)
    assert (pause.cause, pause.since, pause.until) == (Cause.LOOKUPS, NOW, NOW + LOOKUPS_REST)
    assert not is_on_trial(pause, now=pause.until), "it is simply over"
    assert not is_locked(streak_of((FIRST, REFUSED)), pause, now=pause.until)
    assert rest(pause, now=NOW + 60).since == NOW
    locked = lock(None, now=NOW)
    assert rest(locked, now=NOW) is locked


@pytest.mark.parametrize("after_its_end", [-60.0, 0.0, 60.0])
def test_a_429_keeps_the_memory_of_a_lock(after_its_end: float) -> None:
    before = Pause(cause=Cause.LOCKED, since=NOW - 8 * FIRST_GUESS, until=NOW, times=4)
    now = NOW + after_its_end
    pause = rest(before, now=now)
    assert pause.until == now + LOOKUPS_REST
    assert is_on_trial(pause, now=pause.until)
    again = lock(pause, now=pause.until)
    assert (again.since, again.times) == (before.since, 5)


def test_a_429_ends_later_than_the_date_that_whatsapp_names() -> None:
    named = NOW + NO_DATE + 1
    pause = rest(lock(None, now=NOW, named=named), now=NOW)
    assert by_word(pause, 0.0, now=named) is pause
    assert is_active(pause, now=named)


def test_a_lock_of_long_ago_is_no_cause_of_a_pause_after_a_429() -> None:
    before = lock(None, now=NOW)
    assert rest(before, now=before.until + FORGOTTEN).cause is Cause.LOOKUPS


def test_the_words_name_cause_and_date() -> None:
    paused = Pause(cause=Cause.LOOKUPS, since=NOW, until=NOW + 60)
    assert "too many new numbers" in str(paused)
    assert "until 2026-11-18 11:07 UTC" in str(paused)
    assert "names no date" in str(lock(None, now=NOW))
    assert "names no date" not in str(lock(None, now=NOW, named=NOW + NO_DATE + 1))


def test_a_first_contact_that_is_sent_ends_a_guess_and_no_word_of_whatsapps() -> None:
    guessed, named = lock(None, now=NOW), lock(None, now=NOW, named=NOW + 86_400)
    assert is_disproved(guessed, now=NOW)
    assert not is_disproved(named, now=NOW)
    assert is_disproved(named, now=named.until)
    assert not is_disproved(rest(None, now=NOW), now=NOW)


def test_no_number_of_pauses_is_too_large() -> None:
    many = Pause(cause=Cause.LOCKED, since=NOW, until=NOW, times=1_000_000)
    assert lock(many, now=NOW).until == NOW + LONGEST_GUESS


@pytest.mark.parametrize(
    ("ahead", "longest"),
    [
        (lock(None, now=NOW + 365 * 86_400), LONGEST_GUESS),
        (rest(None, now=NOW + 365 * 86_400), LOOKUPS_REST),
    ],
    ids=["lock", "rest"],
)
def test_a_pause_that_began_while_the_clock_was_ahead_is_no_longer_than_any(
    ahead: Pause, longest: float
) -> None:
    pause = bounded(ahead, now=NOW)
    assert (pause.since, pause.until) == (NOW, NOW + longest)
    assert bounded(pause, now=NOW + 1) is pause
    assert not is_active(bounded(pause, now=NOW + longest), now=NOW + longest)


def test_a_date_that_whatsapp_named_is_its_own() -> None:
    named = lock(None, now=NOW, named=NOW + 30 * 86_400)
    assert bounded(named, now=NOW) is named
