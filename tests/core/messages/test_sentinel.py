"""A message to the session's own number: its text, who writes it, and when."""

import pytest

from waguard.core.messages import sentinel


def test_a_sentinel_is_known_by_its_text() -> None:
    assert sentinel.is_sentinel(sentinel.text("0123abcd"))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "waguard checks whether this number works",
        sentinel.text("0123ABCD"),
        sentinel.text("0123abcd") + "!",
    ],
)
def test_what_a_person_writes_is_none(body: str) -> None:
    assert not sentinel.is_sentinel(body)


def test_a_sentinel_is_known_by_its_id() -> None:
    own = sentinel.message_id("49170@c.us", "00aabbccdd")
    assert sentinel.has_id_of_sentinel(own)
    assert sentinel.has_id_of_sentinel(own.replace("@c.us", "@lid") + "_out")
    assert not sentinel.has_id_of_sentinel("true_49170@c.us_3EB0AABBCCDD0011223344")
    assert not sentinel.has_id_of_sentinel(own.replace("true", "false"))


def test_sessions_are_chosen_by_name_or_all_at_once() -> None:
    assert not sentinel.is_watched("a", ())
    assert sentinel.is_watched("a", ("b", "a"))
    assert not sentinel.is_watched("a", ("b",))
    assert sentinel.is_watched("a", ("*",))


def test_sessions_do_not_write_together() -> None:
    pauses = [sentinel.pause(f"session-{n}", 3600.0) for n in range(100)]
    assert all(3600.0 <= it <= 3960.0 for it in pauses)
    assert len({round(it) for it in pauses}) > 80
    firsts = [sentinel.first_pause(f"session-{n}", 3600.0) for n in range(100)]
    assert all(sentinel.AFTER_CONNECT <= it <= sentinel.AFTER_CONNECT + 360.0 for it in firsts)
