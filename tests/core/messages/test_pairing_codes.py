"""How many pairing codes WhatsApp is asked for."""

import pytest

from waguard.core.messages.pairing_codes import AT_MOST, PERIOD, paused_for, recent

NOW = 1_795_000_000.0


def test_the_eighth_waits_until_the_first_is_old() -> None:
    asked = [NOW + minute * 60.0 for minute in range(AT_MOST)]
    assert paused_for(asked[:-1], None, now=asked[-1]) == 0.0
    now = asked[-1] + 1
    assert paused_for(asked, None, now=now) == PERIOD - (now - NOW)
    assert paused_for(asked, None, now=NOW + PERIOD) == 0.0


@pytest.mark.parametrize(("ago", "left"), [(0.0, PERIOD), (60.0, PERIOD - 60.0), (PERIOD, 0.0)])
def test_a_429_counts_alone(ago: float, left: float) -> None:
    assert paused_for((), NOW - ago, now=NOW) == left


def test_a_clock_that_was_set_back_makes_no_pause_longer() -> None:
    future = [NOW + 1e9] * AT_MOST
    assert paused_for(future, NOW + 1e9, now=NOW) == PERIOD


def test_only_those_that_count_are_kept() -> None:
    asked = [NOW - PERIOD, *(NOW - 100 + n for n in range(20))]
    assert recent(asked, now=NOW) == tuple(NOW - 100 + n for n in range(13, 20))
