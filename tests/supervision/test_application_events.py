"""What the application gets of what a worker reports."""

from typing import Any

import msgspec
import pytest

from tests.supervision.reports import message
from waguard.core.messages import sent_events
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.naming import named
from waguard.core.messages.people import People
from waguard.ports.store import SessionRow
from waguard.supervision.session import application_events as translate

ROW = SessionRow(session_id="s", workspace_id=1, status="connected", desired_up=True, generation=1)
OWN, ANNA, LID, GROUP = "49151@c.us", "49170@c.us", "7000001@lid", "120363000000000001@g.us"


def on_phone(chat: str, at: float = 1.0, **fields: Any) -> InboxRecord:
    mine: dict[str, Any] = {
        "id": f"true_{chat}_A",
        "chat": chat,
        "to": chat,
        "sender": OWN,
        "from_me": True,
    }
    [record] = translate.received(ROW, message(**(mine | fields)), at)
    return record


@pytest.mark.parametrize("chat", [ANNA, GROUP])
@pytest.mark.parametrize("backfilled", [False, True])
def test_what_was_written_on_the_phone_is_from_its_chat(chat: str, *, backfilled: bool) -> None:
    event = on_phone(chat, backfilled=backfilled).events[0]
    assert event.event == "message_sent"
    assert (event.data["message"]["from"], event.data["to"]) == (chat, chat)


def in_group(**fields: Any) -> InboxRecord:
    [record] = translate.received(ROW, message(**({"chat": GROUP} | fields)), 1.0)
    return record


def test_a_message_of_a_group_names_it_and_its_participants() -> None:
    record = in_group(group_name="Friends", participants=(ANNA, LID), sender=LID)
    shown = record.events[0].data["message"]
    assert (shown["group_name"], shown["participants"]) == ("Friends", [ANNA, LID])
    known = named(record, People([(LID, OWN)]), "false_1", None)
    assert known.events[0].data["message"]["participants"] == [ANNA, OWN]
    kept = known.payload()["message"]
    assert "participants" not in kept  # of each message of a large group
    assert kept["group_name"] == "Friends"


@pytest.mark.parametrize("record", [in_group(), translate.received(ROW, message(), 1.0)[0]])
def test_what_is_unknown_of_a_group_is_no_null(record: InboxRecord) -> None:
    assert not {"group_name", "participants"} & set(record.events[0].data["message"])


@pytest.mark.parametrize(
    ("stem", "age", "backfilled", "phone"),
    [
        ("3A" + "F" * 18, 60, False, "ios"),
        ("A" * 32, 0, True, "android"),  # read back a moment later: it was in use
        ("A" * 32, 61, False, None),
        ("3EB0" + "A" * 18, 0, False, None),
    ],
)
def test_a_phone_that_is_in_use_is_reported_behind_its_message(
    stem: str, age: int, *, backfilled: bool, phone: str | None
) -> None:
    message_id = f"true_{ANNA}_{stem}"
    fields = {"id": message_id, "timestamp": 1_000, "backfilled": backfilled}
    record = on_phone(ANNA, at=1_000.0 + age, **fields)
    first, *others = sent_events.notices(record)
    assert first.event == "message_sent"
    assert [(one.event, one.partition) for one in others] == (
        [("mobile_activity_detected", ANNA)] if phone else []
    )
    body = {"device_type": phone, "message_id": message_id, "timestamp": 1_000}
    for one in others:
        given = msgspec.json.decode(one.body)
        assert given["session_id"] == "s"  # where the application reads it
        assert given["data"] == body | {"workspace_id": 1, "session_id": "s"} | (
            {"backfilled": True} if backfilled else {}
        )


def test_and_from_the_number_of_a_lid() -> None:
    record = named(on_phone(LID), People([(LID, ANNA)]), f"true_{ANNA}_A", None)
    assert record.events[0].data["message"]["from"] == ANNA
