"""Which webhooks the application gets about messages that it sends."""

from typing import Any

import msgspec
import pytest

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import AT_SERVER, State
from waguard.core.messages.sent_events import (
    Message,
    may_be_reported,
    notices,
    of_ack,
    of_outcome,
    of_stored_ack,
    whence,
)
from waguard.core.phone_number import number_of


def message(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "session_id": "s",
        "workspace_id": 1,
        "message_id": "true_49170@c.us_3EB0",
        "chat": "49170@c.us",
        "kind": "text",
        "text": "hi",
        "state": State.SENT,
        "error": None,
        "key": None,
        "answered": True,
        "bulk_id": None,
        "sent_at": 5,
        "created_at": 100.0,
    }
    return Message(**(usual | changes))


@pytest.mark.parametrize("ack", [-1, 0, 1, 2, 3, 4, 7])
def test_what_is_kept_of_an_ack_says_the_same(ack: int) -> None:
    payload = of_ack("true_c_1", ack, 5.5)
    assert of_stored_ack(payload[0].data) == payload
    assert all(one.data["ack_level"] == ack + 1 for one in payload)


def test_no_status_is_above_read() -> None:
    assert [one.event for one in of_ack("m", 4, 1.0)] == ["message_played"]
    assert [one.event for one in of_ack("m", 3, 1.0)] == ["message_status_updated", "message_read"]


@pytest.mark.parametrize(
    ("changes", "age", "expected"),
    [
        ({"answered": True}, 0, True),
        ({"bulk_id": "b"}, 0, True),
        ({}, REPEATED_FOR - 1, False),
        ({}, REPEATED_FOR, True),
    ],
)
def test_nothing_is_reported_before_the_reply(
    changes: dict[str, Any],
    age: float,
    expected: bool,  # noqa: FBT001
) -> None:
    given = message(**({"answered": False} | changes))
    assert may_be_reported(given, given.created_at + age) is expected
    assert (of_outcome(given, given.created_at + age) is not None) is expected
    assert of_outcome(given, given.created_at + age, due=True)


@pytest.mark.parametrize("chat", ["49170@c.us", "120363000000000001@g.us"])
@pytest.mark.parametrize("bulk", [None, "b"])
def test_the_application_files_what_was_sent_under_from(chat: str, bulk: str | None) -> None:
    reported = of_outcome(message(chat=chat, bulk_id=bulk), 200.0)
    assert reported
    assert reported.events[0].data["message"]["from"] == chat


@pytest.mark.parametrize("state", State)
def test_what_is_reported_of_each_state(state: State) -> None:
    payload = of_outcome(message(state=state), 200.0)
    if state in AT_SERVER:
        assert payload
        assert (payload.kind, payload.events[0].event) == (Kind.SENT, "message_sent")
    elif state in {State.FAILED, State.REFUSED}:
        assert payload
        assert (payload.kind, payload.events[0].data["status"]) == (Kind.FAILED, str(state))
    else:
        assert payload is None


def test_groups_are_groups() -> None:
    assert whence("1203@g.us") == {
        "chat_id": "1203@g.us",
        "chat_type": "group",
        "group_id": "1203@g.us",
    }
    assert whence("49@c.us")["chat_type"] == "private"


def test_a_body_that_is_no_json_is_said_badly_and_not_lost() -> None:
    received = InboxRecord(
        session_id="s",
        workspace_id=1,
        key="k",
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", {"message": {"body": "cut \ud83d"}}),),
    )
    [notice] = notices(received)
    assert msgspec.json.decode(notice.body)["data"]["message"]["body"] == "cut ?"


@pytest.mark.parametrize(
    ("phone", "expected"),
    [("+62 811-80001", "6281180001"), ("49", "49"), ("", None), (None, None), ("x", None)],
)
def test_a_number_is_its_digits(phone: str | None, expected: str | None) -> None:
    assert number_of(phone) == expected
