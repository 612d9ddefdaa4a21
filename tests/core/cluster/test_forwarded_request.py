"""What a host says of a request that it forwards, sealed and opened."""

import base64

import pytest

from waguard.core.cluster import forwarded_request
from waguard.core.cluster.forwarded_request import (
    MARK,
    MOST_OFF,
    ForwardedRequest,
    concerning,
    is_in_time,
    opened,
    sealed,
)
from waguard.core.keys import Caller, Right

KEY = b"shared"
SAID = ForwardedRequest(
    method="GET",
    target="/api/sessions/a/status?x=%2F",
    to="http://h2:3001",
    at=1_000.0,
    nonce="n",
    caller=Caller(name="ü", right=Right.READ, workspaces=frozenset({1}), sessions=None),
)


def test_what_was_sealed_is_opened() -> None:
    text = sealed(SAID, KEY)
    assert opened(text, KEY) == SAID
    assert text.isascii()
    assert not set(text) & set(" \r\n,;")


@pytest.mark.parametrize("place", range(len(MARK), len(sealed(SAID, KEY)), 7))
def test_each_character_counts(place: int) -> None:
    text = sealed(SAID, KEY)
    other = "b" if text[place] == "a" else "a"
    assert opened(f"{text[:place]}{other}{text[place + 1 :]}", KEY) is None


@pytest.mark.parametrize("text", ["", MARK, f"{MARK}.", f"{MARK}a", "key", f"{MARK}é.é", "é" * 9])
def test_what_is_none(text: str) -> None:
    assert opened(text, KEY) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"method": 7}'])
def test_what_a_later_version_says_is_not_understood(content: bytes) -> None:
    """Its seal is good, for it has the key."""
    text = sealed(SAID, KEY)
    said = base64.urlsafe_b64encode(content).decode()
    assert opened(f"{MARK}{said}.{forwarded_request._seal(said, KEY)}", KEY) is None
    assert opened(text, KEY) is not None


@pytest.mark.parametrize(
    ("now", "good"),
    [
        (1_000.0, True),
        (1_000.0 + MOST_OFF, True),
        (1_000.0 - MOST_OFF, True),
        (1_000.1 + MOST_OFF, False),
        (999.9 - MOST_OFF, False),
    ],
)
def test_it_is_good_for_a_while(now: float, good: bool) -> None:  # noqa: FBT001
    assert is_in_time(SAID, now=now) is good


def test_a_caller_of_many_sessions_is_one_of_this_one() -> None:
    many = Caller(name="k", right=Right.SEND, sessions=frozenset({"a", "b"}))
    assert concerning(many, "a").sessions == frozenset({"a"})
    assert not concerning(many, "c").sees("b", None)
    assert not concerning(many, "c").sees_all
    everything = Caller(name="k", right=Right.SEND)
    assert concerning(everything, "a") is everything
