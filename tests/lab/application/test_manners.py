"""How the application behaves, without any of it running."""

from typing import Any

import pytest

from waguard.lab.application.manners import (
    Window,
    body_of,
    contact_of,
    is_usable_sent,
    json_encode,
    metadata,
    why_not,
)


def test_php_writes_json_in_its_own_way() -> None:
    assert json_encode({}) == b"[]"
    assert json_encode({"options": {}, "api_key": "k"}) == b'{"options":[],"api_key":"k"}'
    assert json_encode({"url": "http://a/é"}) == b'{"url":"http:\\/\\/a\\/\\u00e9"}'


def test_a_body_is_escaped_twice() -> None:
    assert metadata({"body": "\u0639"}).count("\\\\u0639") == 1
    assert body_of(metadata({"body": "a/\u0639"})) == "a/\u0639"
    assert body_of('{"body":"its own"}') == "its own"


@pytest.mark.parametrize(
    ("chat", "phone"),
    [
        ("62@c.us", "62"),
        ("62", "62"),
        ("120363-1@g.us", "120363-1"),
        ("777@lid", None),
        ("status@broadcast", None),
    ],
)
def test_a_contact_is_a_phone_or_a_group(chat: str, phone: str | None) -> None:
    assert contact_of(chat) == phone


def test_every_request_renews_the_limiters_window() -> None:
    window = Window(limit=2, seconds=60.0)
    assert [window.admit(now) for now in (0.0, 50.0, 100.0)] == [True, True, False]
    assert not window.admit(159.9)  # a refused one renews it too
    assert window.admit(219.9)
    assert window.count == 1


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((200, 1, "connected"), None),
        ((204, 1, "connected"), None),
        ((None, None, None), "GET /health failed"),
        ((503, 1, "connected"), "GET /health answered 503"),
        ((200, 0, "connected"), "no session is connected"),
        ((200, None, "connected"), "no session is connected"),
        ((200, 1, None), None),  # it believes the count
        ((200, 1, "qr_scanning"), "the session is qr_scanning"),
    ],
)
def test_an_account_is_available_where_all_is_connected(
    answers: tuple[int | None, int | None, str | None], why: str | None
) -> None:
    assert why_not(*answers) == why


@pytest.mark.parametrize(
    ("data", "usable"),
    [
        ({"message": {"id": "true_a_B", "chat_type": "private", "to": "a"}}, True),
        ({"message": {"id": "true_a_B", "chat_type": "private", "from": "a"}}, True),
        ({"message": {"id": "true_a_B", "chat_type": "private"}}, False),
        ({"message": {"id": "true_a_B", "to": "a"}}, False),
        ({"message": {"chat_type": "private", "to": "a"}}, False),
        ({"message_id": "true_a_B", "to": "a"}, False),
    ],
)
def test_a_flat_message_sent_is_of_no_use(data: dict[str, Any], usable: bool) -> None:  # noqa: FBT001 - a case of the table
    assert is_usable_sent(data) is usable
