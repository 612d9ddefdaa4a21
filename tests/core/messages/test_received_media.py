"""Which received files are kept, and what a message says of its own."""

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.received_media import (
    UNKNOWN,
    Held,
    content_type,
    expired,
    handles_in,
    names_in,
    with_media,
)

NOW = 1_000.0


def held(name: str, *, age: float, size: int = 10) -> Held:
    return Held(name=name, size=size, at=NOW - age)


def gone(*files: Held, size_limit: int = 1_000, spared: Collection[str] = ()) -> list[str]:
    doomed = expired(files, now=NOW, keep_for=100.0, size_limit=size_limit, spared=spared)
    return [file.name for file in doomed]


def test_what_is_too_old_goes() -> None:
    assert gone(held("new", age=99), held("edge", age=100), held("old", age=101)) == ["old"]
    assert gone() == []


def test_the_oldest_go_first_until_the_rest_fits() -> None:
    files = [held(f"{age}", age=age) for age in (3, 1, 4, 2)]
    assert gone(*files, size_limit=40) == []
    assert gone(*files, size_limit=39) == ["4"]
    assert gone(*files, size_limit=10) == ["4", "3", "2"]
    assert gone(*files, size_limit=0) == ["4", "3", "2", "1"]


def test_what_a_webhook_waits_for_stays_and_newer_ones_go_instead() -> None:
    files = [held(f"{age}", age=age) for age in (3, 1, 4, 2)]
    assert gone(*files, size_limit=20, spared={"4"}) == ["3", "2"]
    assert gone(*files, size_limit=0, spared={"4", "3", "2", "1"}) == []
    assert gone(held("old", age=200), spared={"old"}) == []


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


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=20),
    st.integers(0, 500),
)
def test_what_is_left_is_the_newest_and_fits(
    reported: list[tuple[int, int]], size_limit: int
) -> None:
    files = [held(str(n), age=age, size=size) for n, (age, size) in enumerate(reported)]
    doomed = expired(files, now=NOW, keep_for=100.0, size_limit=size_limit)
    left = [file for file in files if file not in doomed]
    assert sum(file.size for file in left) <= size_limit
    assert all(NOW - file.at <= 100.0 for file in left)
    assert all(older.at <= newer.at for older, newer in pairwise(doomed))
    assert all(file.at >= doomed[-1].at for file in left if doomed)


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
