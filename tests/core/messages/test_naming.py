"""Which ids the application gets for what the page reports under other ids."""

from collections.abc import Mapping
from typing import Any

import pytest

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, higher_acks, sent_key
from waguard.core.messages.naming import (
    chosen,
    keys_of,
    named,
    phone_of,
    target_keys,
    waits_for_its_number,
)
from waguard.core.messages.people import People
from waguard.core.messages.sent_events import of_ack
from waguard.core.replace import replace

ANNA, LID, GROUP = "4917000001@c.us", "7000001@lid", "120363000000000001@g.us"
PEOPLE = People([(LID, ANNA)])


def received(message_id: str, data: Mapping[str, Any], **more: Any) -> InboxRecord:
    return InboxRecord(
        session_id="a",
        workspace_id=7,
        key=message_id,
        kind=more.pop("kind", Kind.MESSAGE),
        at=1.0,
        chat=LID,
        ref=(more.pop("word", ""), message_id),
        events=(EventPayload("an_event", data),),
        **more,
    )


def test_ids_and_people_are_named_by_numbers_and_the_pages_own_id_is_kept() -> None:
    message = {"id": f"false_{LID}_A", "from": LID, "to": "me@c.us", "chat_id": LID, "body": LID}
    it = received(message["id"], {"message": message | {"sender_phone": None}}, sender=LID)
    event = named(it, PEOPLE, f"false_{ANNA}_A", None)
    assert event.key == f"false_{ANNA}_A"
    assert event.events[0].data["message"] == {
        "id": f"false_{ANNA}_A",
        "from": ANNA,
        "to": "me@c.us",
        "chat_id": ANNA,
        "body": LID,  # what somebody wrote is nobody's id
        "sender_phone": "4917000001",
    }
    assert event.payload()["raw_id"] == f"false_{LID}_A"
    assert "raw_id" not in it.payload()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("@7000001, ask @7000002", "@4917000001, ask @7000002"),
        ("7000001 @70000010 @x7000001 a@7000001.", "7000001 @70000010 @x7000001 a@4917000001."),
        ("@7000001ü @7000001_", "@4917000001ü @7000001_"),  # as wa-js sees the end of digits
        ("", ""),
    ],
)
def test_a_text_shows_those_whom_it_mentions_by_numbers(body: str, shown: str) -> None:
    mentioned = (LID, "7000002@lid", "49170@c.us", "odd")
    message = received("false_g_A", {"message": {"body": body, "from": GROUP}}, mentioned=mentioned)
    edit = received("false_g_E", {"body": body, "message_id": "x"}, mentioned=mentioned)
    plain = received("false_g_P", {"message": {"body": body, "from": GROUP}})
    event = [named(it, PEOPLE, "id", None).events[0].data for it in (message, edit, plain)]
    assert event[0]["message"]["body"] == event[1]["body"] == shown
    assert event[2]["message"]["body"] == body


def test_what_is_about_a_message_names_that_one() -> None:
    data = {"message_id": f"false_{LID}_A", "chat_id": LID, "from": LID, "sender_phone": None}
    it = received(f"false_{LID}_E", data, kind=Kind.EDIT, word="edit:", target=f"false_{LID}_A")
    event = named(it, PEOPLE, f"false_{ANNA}_E", f"false_{ANNA}_A")
    assert event.key == f"edit:false_{ANNA}_E"
    assert event.events[0].data["message_id"] == f"false_{ANNA}_A"


def test_an_ack_is_old_news_by_its_messages_id() -> None:
    it = received(f"true_{LID}_A", {}, kind=Kind.ACK, word="ack:2:")
    it = replace(it, events=of_ack("x", 2, 1.0))
    event = named(it, PEOPLE, f"true_{ANNA}_A", None)
    assert event.unless == higher_acks(f"true_{ANNA}_A", 2)
    assert event.events[0].data["message_id"] == f"true_{ANNA}_A"


def test_the_id_that_the_application_knows_is_chosen() -> None:
    it = received(f"true_{LID}_A", {}, kind=Kind.ACK, word="ack:2:")
    keys = keys_of(it, PEOPLE)
    by_number, by_lid = f"true_{ANNA}_A", f"true_{LID}_A"
    assert list(keys) == [by_number, by_lid]
    assert chosen(keys, (), ()) == by_number
    assert chosen(keys, (), {sent_key(by_lid)}) == by_lid
    assert chosen(keys, (), {f"ack:2:{by_lid}"}) == by_lid
    assert chosen(keys, {by_lid}, {sent_key(by_number)}) == by_lid
    about = target_keys(replace(it, target=by_lid), PEOPLE)
    assert chosen(about, (), {by_lid}) == by_lid
    assert chosen({}, (), ()) is None


@pytest.mark.parametrize(
    ("wid", "phone"),
    [(ANNA, "4917000001"), ("4917000001:12@c.us", "4917000001"), (LID, None), (GROUP, None)],
)
def test_only_a_number_is_a_phone_number(wid: str, phone: str | None) -> None:
    assert phone_of(wid) == phone


@pytest.mark.parametrize(
    ("message_id", "target", "waits"),
    [
        (f"false_{LID}_A", None, False),
        ("false_7000009@lid_A", None, True),
        (f"false_{GROUP}_A_7000009@lid", None, False),
        (f"false_{GROUP}_E", f"true_{GROUP}_A", False),
        ("false_7000009@lid_E", "true_7000009@lid_A", True),
        ("a call", None, False),
    ],
)
def test_only_a_private_chat_of_nobody_waits(
    message_id: str,
    target: str | None,
    waits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    it = received(message_id, {}, target=target)
    assert waits_for_its_number(it, PEOPLE) is waits
