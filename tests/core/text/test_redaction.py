"""Phone numbers are shortened, codes and known secrets never shown; ids stay what they are."""

import pytest

from waguard.core.text.redaction import HIDDEN, Redaction, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("62811222801", "62811…801"),
        ("+62811222801", "+62811…801"),
        ("calls +62 811-2222-801.", "calls +62811…801."),
        ("true_6281234567801@c.us_3EB0ABCDEF12345678", "true_62812…801@c.us_3EB0ABCDEF12345678"),
        ("62811222333-1612345678@g.us", "62811…333-1612345678@g.us"),
        ("123456789012345@lid", "12345…345@lid"),
        ("12345678", "123…78"),
        ("scan 2@abcDEF0123456789+/=,key,identity,secret", f"scan {HIDDEN}"),
        ("https://wa.me/settings#2@abcDEF0123456789,key,x", f"https://wa.me/settings#{HIDDEN}"),
    ],
)
def test_what_is_shortened_or_hidden(text: str, shown: str) -> None:
    assert shorten(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("1234567", "pid 4194303", "0.123456789", "3EB0ABCDEF12345678"),
        *("550e8400-e29b-41d4-a716-446655440000", "12345678-e29b-41d4-a716-446655440000"),
        *("20261126T101500Z", "12036304123456789012@g.us", "2@short", "HTTP 500", "2026-11-26"),
        "WhatsApp Web 1045220589 breaks sessions; all sessions get version 1045219000",
        "unhealthy with versions from 1045220589 on",
    ],
)
def test_a_text_without_numbers_stays_as_it_is(text: str) -> None:
    assert shorten(text) == text


def test_issued_keys_are_hidden_though_nobody_knows_them() -> None:
    secret = "aB-_" * 10 + "xyz"
    key = f"wg_0a1b2c3d_{secret}"
    for text in (f"GET /?api_key={key}&x=1", f"the key {key}.", f"cut off: {key[:30]}"):
        assert "aB-_" not in Redaction().of(text)
        assert f"wg_0a1b2c3d_{HIDDEN}" in Redaction().of(text)
    assert Redaction().of("wg_ is how 1 key begins") == "wg_ is how 1 key begins"


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    redaction = Redaction()
    redaction.hide(["key-0001", "key-0001-and-more", "short", ""])
    assert redaction.of("X-Api-Key: key-0001, key-0001-and-more") == (
        f"X-Api-Key: {HIDDEN}, {HIDDEN}"
    )
    assert redaction.of("a short text") == "a short text"


BODY = "Dear Mr Smith, the parcel is at the door"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"invalid literal: '{BODY}'", f"invalid literal: '{HIDDEN}'"),
        (f'(1062, "Duplicate entry {BODY} for x")', f'(1062, "{HIDDEN}")'),
        (
            f"Incorrect string value: '{BODY}' for column 'body'",
            f"Incorrect string value: '{HIDDEN}' for column 'body'",
        ),
        (f"a constraint\nDETAIL:  Failing row contains (1, {BODY}\n\n).\n[SQL: x]", "a constraint"),
        ("no such table: 'waguard_inbox'", "no such table: 'waguard_inbox'"),
        (
            "it's there, and it's not what's wanted at all",
            "it's there, and it's not what's wanted at all",
        ),
    ],
)
def test_what_an_exception_quotes(text: str, shown: str) -> None:
    assert Redaction().of_exception(text) == shown
