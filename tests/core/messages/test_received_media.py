"""What a message says of its file."""

from typing import Any

import msgspec
import pytest

from waguard.core.messages.received_media import (
    UNKNOWN,
    content_type,
    handles_in,
    names_in,
    with_media,
)


def test_the_names_in_a_body() -> None:
    name = "ab" * 32
    reported = msgspec.json.encode(
        {"media": {"sha256": name, "url": None}, "body": f'"sha256":"{name}'}
    )
    assert names_in(reported) == {name}
    assert names_in(b'{"sha256":null}') == set()


@pytest.mark.parametrize("base", ["http://h", "https://h:1/x", ""])
def test_the_handles_in_a_body(base: str) -> None:
    url = f"{base}/api/media/{'ab' * 32}"
    reported = {
        "media": {"sha256": None, "url": url},
        "body": f'"url":"{base}/api/media/{"c" * 64}',
    }
    assert handles_in(msgspec.json.encode(reported)) == {"ab" * 32}
    for other in (None, f"{url}0", f"{url}?", f'{url}\\"', "/api/media/AB", "ab" * 32):
        assert handles_in(msgspec.json.encode({"url": other})) == set()


@pytest.mark.parametrize(
    "reported", ["image/png", "audio/ogg; codecs=opus", "application/vnd.ms-excel", "a/b;c=d; e=f"]
)
def test_a_type_that_can_be_a_header(reported: str) -> None:
    assert content_type(reported) == reported


@pytest.mark.parametrize(
    "reported",
    [None, 7, "", "image", "a/b\r\nSet-Cookie: x=y", "a/b\n", "a/ü", "a/b; c", f"a/{'b' * 200}"],
)
def test_a_type_that_cannot(reported: Any) -> None:
    assert content_type(reported) == UNKNOWN


def test_a_message_says_what_became_of_its_file() -> None:
    data = {"message": {"id": "m", "media": {"filename": "a.pdf", "data": None}}, "more": 1}
    assert with_media(data, data="AAAA") == {
        "message": {"id": "m", "media": {"filename": "a.pdf", "data": "AAAA"}},
        "more": 1,
    }
    assert data["message"]["media"]["data"] is None  # type: ignore[index]
    for other in ({"message": {"media": None}}, {"message": "odd"}, {"qr_count": 1}):
        assert with_media(other, data="AAAA") == other
