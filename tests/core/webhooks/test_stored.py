"""What counts as stored, and when the look-up is tried again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.stored import (
    Columns,
    Message,
    Pace,
    Presence,
    Row,
    StoredKey,
    Switch,
    Unknown,
    checked,
    kept_as,
    parse,
    received,
    sent,
)

STORED, MISSING, UNKNOWN = Presence.STORED, Presence.MISSING, Presence.UNKNOWN
ALL = Columns(length=128, has_type=True, has_account=True)
WHY = Unknown("denied")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("chats.whatsapp_message_id", StoredKey("chats", "whatsapp_message_id")),
        ("Chats._id2", StoredKey("Chats", "_id2")),
        (f"{'t' * 63}.c", StoredKey("t" * 63, "c")),
    ],
)
def test_a_key_names_table_and_column(text: str, key: StoredKey) -> None:
    assert parse(text) == key
    assert str(key) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("chats", "no column"),
        ("", "no column"),
        ("chats.", "''"),
        (".id", "''"),
        ("blazz.chats.id", "'chats.id'"),
        ("chats.id; DROP TABLE x", "id; DROP"),
        ("`chats`.id", "`chats`"),
        ("1chats.id", "1chats"),
        ("chäts.id", "chäts"),
        (f"{'t' * 64}.id", "ttt"),
        ("chats.id\n", "id"),
        ("waguard_inbox.key", "of waguard"),
        ("WAGUARD_inbox.key", "of waguard"),
    ],
)
def test_what_is_no_key_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse(text)


A: Message = ("a", "x")
B: Message = ("b", "x")


@pytest.mark.parametrize(
    ("rows", "columns", "found"),
    [
        ((), ALL, {A: MISSING, B: MISSING}),
        ((Row("x", "inbound", "a"),), ALL, {A: STORED, B: MISSING}),
        ((Row("x", "inbound", "a"), Row("x", "inbound", "b")), ALL, {A: STORED, B: STORED}),
        ((Row("x", "outbound", "a"),), ALL, {A: MISSING, B: MISSING}),
        ((Row("x", None, "a"),), ALL, {A: MISSING, B: MISSING}),
        ((Row("x", "inbound", None),), ALL, {A: MISSING, B: MISSING}),
        ((Row("X", "inbound", "a"), Row("x ", "inbound", "a")), ALL, {A: MISSING, B: MISSING}),
        ((Row("x", "inbound", "a"),), Columns(has_type=True), {A: STORED, B: STORED}),
        ((Row("x", None, None),), Columns(), {A: STORED, B: STORED}),
        ((Row("x", None, "b"),), Columns(has_account=True), {A: MISSING, B: STORED}),
    ],
)
def test_a_row_counts_as_far_as_the_table_says(
    rows: tuple[Row, ...], columns: Columns, found: dict[Message, Presence]
) -> None:
    assert received([A, B], rows, columns) == found


def test_of_what_was_sent_each_row_counts() -> None:
    rows = [Row("x", "outbound", None), Row("y", "inbound", "b")]
    assert sent(["x", "y", "z", "é"], rows, ALL) == {
        "x": STORED,
        "y": STORED,
        "z": MISSING,
        "é": UNKNOWN,
    }


@given(st.text(), st.integers(1, 300) | st.none())
def test_the_value_asked_for_is_the_id_or_its_beginning(text: str, length: int | None) -> None:
    value = kept_as(text, Columns(length=length))
    if value is None:
        assert not text or not all(" " <= character <= "~" for character in text)
    else:
        assert value
        assert all(" " <= character <= "~" for character in text)
        assert text.startswith(value)
        assert value == text or len(value) == length


ids = st.sampled_from(["x", "X", "y", "é", "", "long" * 40])
sessions = st.sampled_from(["a", "b", "c"])
rows_found = st.lists(
    st.builds(Row, ids, st.sampled_from(["inbound", "outbound", None]), sessions | st.none())
)


@given(st.lists(st.tuples(sessions, ids)), rows_found)
def test_stored_has_a_row_of_its_own_and_missing_has_none(
    messages: list[Message], rows: list[Row]
) -> None:
    found = received(messages, rows, ALL)
    assert found.keys() == set(messages)
    own = {(row.session, row.message_id) for row in rows if row.type == "inbound"}
    for (session, message_id), presence in found.items():
        cut = message_id[:128]
        assert (presence is UNKNOWN) == (message_id in {"", "é"})
        assert (presence is STORED) == ((session, cut) in own and presence is not UNKNOWN)


# ---- the switch ----

PACE = Pace(every=60.0, least=5.0)


def failing(switch: Switch, times: int, now: float) -> tuple[Switch, list[float]]:
    """Checks that fail, each when it is due; the pauses before the next one."""
    pauses = []
    for _ in range(times):
        switch = checked(PACE, switch, WHY, now=now)
        pauses.append(switch.next_check - now)
        now = switch.next_check
    return switch, pauses


def test_nothing_is_known_before_the_first_check() -> None:
    assert Switch().off is not None
    assert Switch().since is None
    assert Switch().next_check == 0.0


def test_the_lookup_is_tried_again_at_growing_intervals_and_keeps_its_begin() -> None:
    switch, pauses = failing(Switch(), 7, 100.0)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert (switch.off, switch.since) == (WHY, 100.0)


def test_when_it_works_it_is_on_and_checked_as_always() -> None:
    switch = checked(PACE, failing(Switch(), 5, 0.0)[0], None, now=500.0)
    assert switch == Switch(off=None, next_check=560.0)


def test_one_that_worked_until_now_is_switched_off_at_once() -> None:
    worked = checked(PACE, Switch(), None, now=10.0)
    assert checked(PACE, worked, WHY, now=11.0) == Switch(
        off=WHY, since=11.0, failures=1, next_check=16.0
    )


def test_failures_at_the_same_time_are_one() -> None:
    first = checked(PACE, Switch(), WHY, now=10.0)
    assert checked(PACE, first, Unknown("time-out"), now=10.5) == first


@given(st.integers(0, 10_000), st.floats(0, 1e9))
def test_the_pace_is_bounded(failures: int, now: float) -> None:
    switch = checked(PACE, Switch(failures=failures), WHY, now=now)
    assert 0 < switch.next_check - now <= PACE.every + 1e-3
