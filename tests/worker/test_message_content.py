"""What the page says that a message has beside its text: bounded, and what is odd left out."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.content import CONTENT_LIMIT
from waguard.worker.page.message_content import ENTRIES, RAW_FIELDS, TEXT_LIMIT, read_content

KINDS = ["location", "poll_creation", "poll_update", "vcard", "multi_vcard", "list_response", "raw"]
KINDS += ["order", "product", "event_creation", "sticker", "view_once", "seconds", "ad", "preview"]
NAMES = ["latitude", "contacts", "options", "name", "vcard", "id", "text", "starts_at", "live"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=9)
    | st.sampled_from(["\ud83d", "\0" * 9_000, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=30) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from(KINDS), values) | values)
def test_whatever_is_reported_becomes_bounded_json(reported: Any) -> None:
    found = read_content(reported)
    if found is not None:
        assert len(found) <= CONTENT_LIMIT
        assert set(json.loads(found)) <= set(KINDS)


def content(reported: dict[str, Any]) -> Any:
    return json.loads(read_content(reported) or "{}")


def test_an_odd_value_costs_no_other_one() -> None:
    place = {"latitude": "north", "longitude": 106.8, "name": 7, "address": "x" * 9_000, "live": 1}
    assert content({"location": place, "hologram": 1, "view_once": "yes"}) == {
        "location": {"longitude": 106.8, "address": "x" * TEXT_LIMIT}
    }


def test_lists_and_raw_fields_end() -> None:
    raw = {f"n{number}": number for number in range(999)}
    found = content({"poll_creation": {"options": ["a"] * 999}, "raw": raw})
    assert len(found["poll_creation"]["options"]) == ENTRIES
    assert len(found["raw"]) == RAW_FIELDS


def test_what_is_too_large_loses_what_says_least() -> None:
    many = [{"name": "n", "vcard": "\0" * 2_000}] * ENTRIES
    assert content({"location": {"latitude": 1}, "multi_vcard": {"contacts": many}}) == {
        "location": {"latitude": 1}
    }
