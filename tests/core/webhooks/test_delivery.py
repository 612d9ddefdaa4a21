"""Names of events: what outdates what, and which partition an event belongs to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.delivery import EVENTS, SESSION_EVENTS, outdated, partition_of


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
