"""What makes two reports the same, and what makes one old news."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waguard.policy.inbox import (
    KEY_LIMIT,
    Kind,
    Received,
    Told,
    ack_key,
    event_id,
    fitting,
    higher_acks,
    without_file,
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
    assert set(higher_acks("true_c_1", -1)) == {keys[1], keys[2], keys[3], keys[4]}


@given(st.text(), st.text(), st.text())
def test_an_event_keeps_its_id(session: str, key: str, event: str) -> None:
    number = event_id(session, key, event)
    assert number == event_id(session, key, event)
    assert len(number) == 32
    assert int(number, 16) >= 0
    assert number != event_id(session, key, event + "x")


def received(**data: Any) -> Received:
    return Received(
        session_id="a",
        workspace_id=1,
        key="k",
        kind=Kind.MESSAGE,
        at=1.0,
        told=(Told("message_received", data),),
    )


def test_neither_files_nor_codes_are_kept() -> None:
    media = {"filename": "a.pdf", "size": 3, "data": "AAAA", "error": None}
    kept = received(message={"id": "m", "media": media}).payload()
    assert kept["message"]["media"] == {
        "filename": "a.pdf",
        "size": 3,
        "data": None,
        "error": "no longer kept",
    }
    assert received(qr_code="data:…", raw="2@…", qr_count=3).payload() == {"qr_count": 3}
    assert without_file({"message": {"media": None}}) == {"message": {"media": None}}
