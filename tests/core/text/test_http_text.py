"""Which bytes are a whole request."""

import pytest

from waguard.core.text.http_text import is_whole

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
def test_whole(data: bytes) -> None:
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
def test_not_whole(data: bytes) -> None:
    assert not is_whole(data)
