"""Messages that cannot be decrypted yet: when they are read again, reported, and given up."""

import pytest

from waguard.core.messages.people import People
from waguard.core.messages.undecryptable import (
    ADVISE_AFTER,
    KEPT_FOR,
    KNOWN_FOR,
    Waiting,
    advice_is_due,
    chats_of,
    expired,
    next_due,
    stem_of,
    words,
)
from waguard.core.webhooks.delivery import Cause, DeadLetterState, dead_letter_state

HOUR, DAY = 3_600.0, 86_400.0
OLD = Waiting(message_id="old", since=1_000.0)
NEW = Waiting(message_id="new", since=1_000.0 + DAY)


@pytest.mark.parametrize(
    ("last", "connected", "due"),
    [
        (None, 50.0, 50.0),
        (40.0, 50.0, 50.0),  # it connected again since
        (50.0, 50.0, 50.0 + HOUR),
        (60.0, 50.0, 60.0 + HOUR),
    ],
)
def test_they_are_read_again_at_each_connect_and_hourly(
    last: float | None, connected: float, due: float
) -> None:
    assert next_due(last, connected_at=connected, interval=HOUR) == due


def test_they_are_kept_for_fourteen_days_and_known_for_longer() -> None:
    assert KEPT_FOR == 14 * DAY
    assert KNOWN_FOR > KEPT_FOR
    assert not expired(0.0)
    assert not expired(KEPT_FOR - 1)
    assert expired(KEPT_FOR)


def test_a_person_is_advised_after_a_day() -> None:
    assert not advice_is_due(0.0)
    assert not advice_is_due(ADVISE_AFTER - 1)
    assert advice_is_due(ADVISE_AFTER)
    assert words(1).startswith("1 message cannot")
    assert words(7).startswith("7 messages cannot")


def test_a_chat_has_every_name_that_it_ever_had() -> None:
    people = People([("7@lid", "49@c.us"), ("8@lid", "49@c.us"), ("7@lid", "50@c.us")])
    assert chats_of("false_49@c.us_A", people) == ("8@lid", "7@lid")
    assert chats_of("false_8@lid_A", people) == ("49@c.us", "7@lid")
    assert chats_of("false_1@g.us_A_8@lid", people) == ()
    assert chats_of("nonsense", people) == ()


def test_a_message_is_recognised_by_what_its_names_share() -> None:
    assert stem_of("false_49@c.us_A") == stem_of("false_8@lid_A") == "A"
    assert stem_of("nonsense") == "nonsense"


def test_one_that_was_given_up_is_a_dead_letter_of_its_own_kind() -> None:
    assert dead_letter_state(Cause.UNDECRYPTABLE) is DeadLetterState.UNDECRYPTABLE
    assert dead_letter_state(Cause.EXPIRED) is dead_letter_state(None) is DeadLetterState.DEAD
