"""The text of a message that has none of its own, and what a receiver gets beside it."""

import json
from typing import Any

import pytest

from waguard.core.messages.content import decoded, for_application, text_of

PLACE = {"latitude": -6.2, "longitude": 106.8}


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("location", PLACE, "https://maps.google.com/?q=-6.2,106.8"),
        (
            "location",
            {**PLACE, "name": "Monas", "comment": "here"},
            "here\nMonas\nhttps://maps.google.com/?q=-6.2,106.8",
        ),
        ("location", {"latitude": 1}, "[location]"),
        ("vcard", {"contacts": [{"name": "Ani"}]}, "Ani"),
        (
            "multi_vcard",
            {"contacts": [{"name": "Ani"}, {"vcard": "V"}, {"name": "Budi"}]},
            "Ani\nBudi",
        ),
        (
            "poll_creation",
            {"question": "Which?", "options": ["red", "green"]},
            "Which?\nred\ngreen",
        ),
        ("poll_update", {"options": ["red"]}, "red"),
        ("order", {"title": "Rice", "id": "7"}, "Rice\n7"),
        ("list_response", {"text": "Red", "id": "r1"}, "Red\nr1"),
        ("hologram", None, "[hologram]"),
        ("chat", None, ""),
        ("image", None, ""),
    ],
)
def test_text_of_what_has_none(kind: str, content: Any, text: str) -> None:
    assert text_of(kind, {kind: content}) == text


@pytest.mark.parametrize("said", [None, "", "[1]", "{", "null"])
def test_what_is_no_json_object_is_nothing(said: str | None) -> None:
    assert decoded(said) == {}


def test_the_application_gets_the_message_without_its_content() -> None:
    event = {
        "data": {"message": {"id": "m", "body": '"content":{', "content": {"ad": {"title": "x"}}}}
    }
    body = json.dumps(event, separators=(",", ":")).encode()
    assert json.loads(for_application(body)) == {
        "data": {"message": {"id": "m", "body": '"content":{'}}
    }


@pytest.mark.parametrize(
    "data", [{"message": {"id": "m", "body": '"content":{'}}, {"message_id": "m", "content": {}}]
)
def test_whatever_has_no_content_stays_as_it_is(data: Any) -> None:
    body = json.dumps({"data": data}, separators=(",", ":")).encode()
    assert json.loads(for_application(body)) == {"data": data}
