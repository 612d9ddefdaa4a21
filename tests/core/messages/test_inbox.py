"""What makes two reports the same, and what makes one old news."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.inbox import (
    KEY_LIMIT,
    OVERLAP,
    EventPayload,
    InboxRecord,
    Kind,
    ack_key,
    backfill_since,
    event_id,
    fitting,
    higher_acks,
    left_out,
    sent_key,
)

ACKS = range(-1, 5)


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_key_fits_and_stays_its_own(one: str, other: str) -> None:
    assert len(fitting(one)) <= KEY_LIMIT
    assert (fitting(one) == fitting(other)) == (one == other)


def test_an_ack_is_old_news_where_a_higher_one_is_known() -> None:
    keys = {ack: ack_key("true_c_1", ack) for ack in ACKS}
    assert len({*keys.values()}) == len(keys)
    assert set(higher_acks("true_c_1", 2)) == {keys[3], keys[4]}
    assert higher_acks("true_c_1", 4) == ()
    # an error is news only for a message that the server has not acknowledged
    server = {keys[1], keys[2], keys[3], keys[4], sent_key("true_c_1")}
    assert set(higher_acks("true_c_1", -1)) == server
    assert set(higher_acks("true_c_1", 0)) == server


@given(st.text(), st.text(), st.text())
def test_an_event_keeps_its_id(session: str, key: str, event: str) -> None:
    number = event_id(session, key, event)
    assert number == event_id(session, key, event)
    assert len(number) == 32
    assert int(number, 16) >= 0
    assert number != event_id(session, key, event + "x")


def test_what_is_left_out_is_known_by_its_chat() -> None:
    assert left_out(broadcasts=False, channels=False, groups=True) == ("@broadcast", "@newsletter")
    assert left_out(broadcasts=True, channels=True, groups=False) == ("@g.us",)
    assert left_out(broadcasts=True, channels=True, groups=True) == ()


def received(**data: Any) -> InboxRecord:
    return InboxRecord(
        session_id="a",
        workspace_id=1,
        key="k",
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", data),),
    )


def test_codes_are_not_kept() -> None:
    assert received(qr_code="data:…", raw="2@…", qr_count=3).payload() == {"qr_count": 3}


DAY = 86_400.0
NOW = 100 * DAY


def test_each_chat_is_read_from_a_little_before_its_newest_message() -> None:
    since, floor = backfill_since(
        {"c": NOW - 10.0}, paired_at=NOW - DAY, oldest=NOW - 30 * DAY, now=NOW
    )
    assert since == {"c": int(NOW - 10.0 - OVERLAP)}
    assert floor == int(NOW - DAY)


def test_what_is_older_than_the_pairing_never_was_ours() -> None:
    paired = NOW - 60.0
    since, floor = backfill_since({"c": NOW - 10.0}, paired_at=paired, oldest=NOW - DAY, now=NOW)
    assert (since, floor) == ({"c": int(paired)}, int(paired))


def test_without_a_pairing_nothing_is_read_back() -> None:
    assert backfill_since({}, paired_at=None, oldest=NOW - DAY, now=NOW) == ({}, int(NOW))


@given(
    newest=st.dictionaries(st.sampled_from("abc"), st.floats(0, NOW)),
    paired_at=st.floats(0, NOW),
    oldest=st.floats(0, NOW),
)
def test_nothing_is_read_that_the_inbox_may_have_forgotten(
    newest: dict[str, float], paired_at: float, oldest: float
) -> None:
    since, floor = backfill_since(newest, paired_at=paired_at, oldest=oldest, now=NOW)
    assert all(moment >= int(oldest) for moment in (*since.values(), floor))
