"""The text of a message that has none of its own, and what a receiver gets beside it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.content import LEVELS, chosen, decoded, for_application, text_of

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


whatever = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["contacts", "options", "name", "latitude"]), inner)
    ),
    max_leaves=9,
)


@given(
    kind=st.sampled_from(["location", "multi_vcard", "poll_creation", "poll_update", "order"]),
    it=whatever,
)
def test_a_broken_worker_says_anything_and_there_is_a_text(kind: str, it: Any) -> None:
    content = {kind: it}
    assert text_of(kind, content)
    assert all(isinstance(one, str) for one in chosen(content))


def test_what_was_chosen() -> None:
    assert chosen({"poll_update": {"options": ["red", 7, "green"]}}) == ["red", "green"]


@pytest.mark.parametrize("depth", [LEVELS, 1_000, 100_000])
def test_what_is_nested_without_an_end_is_nothing(depth: int) -> None:
    assert decoded('{"raw":' + "[" * depth + "]" * depth + "}") == {}


def test_what_is_nested_as_deeply_as_may_be_is_read() -> None:
    depth = LEVELS - 1
    assert decoded('{"raw":' + "[" * depth + "]" * depth + "}")


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
