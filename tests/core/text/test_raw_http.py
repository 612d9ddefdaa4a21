"""Which bytes are a whole request."""

import pytest

from waguard.core.text.raw_http import is_in_shreds, is_whole, shown_keys

GET, POST = b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nContent-Type: a/b\r\n"


@pytest.mark.parametrize(
    "data",
    [
        GET + b"\r\n",
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"content-LENGTH:  2 \r\nA: b\r\n\r\n{}",
        POST + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_a_whole_request_is_recognized(data: bytes) -> None:
    assert is_whole(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GET,
        GET + b"\r\n" + GET + b"\r\n",
        POST + b"Content-Length: 2\r\n\r\n{",
        POST + b"Content-Length: 2\r\n\r\n{}G",
        POST + b"Content-Length: x\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        POST + b"X-Content-Length: 2\r\n\r\n{}",
    ],
)
def test_a_part_of_a_request_is_not_whole(data: bytes) -> None:
    assert not is_whole(data)


@pytest.mark.parametrize(
    ("data", "shreds"),
    [
        (b"1\r\nx\r\n" * 600, True),
        (b"5\r\nxxxxx\r\n" * 500, True),
        (b"1\r\nx\r\n" * 100, False),
        (b"1b\r\n" + b"x" * 27 + b"\r\n" + b"1b\r\n" + b"x" * 27 + b"\r\n", False),
        (b"40\r\n" + b"x" * 64 + b"\r\n" * 60, False),
        (GET + b"Accept: a/b\r\n" * 30 + b"\r\n", False),
    ],
)
def test_chunks_of_some_bytes_are_shreds(data: bytes, *, shreds: bool) -> None:
    assert is_in_shreds(data, chunked=True) is shreds
    assert not is_in_shreds(data, chunked=False)


def test_shreds_behind_a_head() -> None:
    shreds = b"1\r\nx\r\n" * 600
    assert is_in_shreds(POST + b"Transfer-Encoding: Chunked\r\n\r\n" + shreds, chunked=None)
    assert not is_in_shreds(POST + b"Content-Length: 7\r\n\r\n" + shreds, chunked=None)
    assert not is_in_shreds(POST + b"A: b\r\n" * 800, chunked=None)


def test_what_may_be_a_key() -> None:
    assert shown_keys(GET + b"x-API-key: a\r\n") == ["a"]
    assert shown_keys(GET + b"Authorization: Bearer b") == ["b"]
    assert shown_keys(GET.replace(b"/ ", b"/?a=1&api_key=c ")) == ["c"]
    assert shown_keys(GET) == []
    assert shown_keys(GET + b"\r\n\nX-Api-Key: in-the-body") == []
