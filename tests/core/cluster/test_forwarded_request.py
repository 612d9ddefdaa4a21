"""What a host says of a request that it forwards, sealed and opened."""

import base64

import msgspec
import pytest

from waguard.core.cluster import forwarded_request
from waguard.core.cluster.forwarded_request import (
    MARK,
    MOST_OFF,
    ForwardedRequest,
    concerning,
    corrected,
    correction,
    digest,
    is_in_time,
    opened,
    sealed,
)
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace

KEY = b"shared"
SAID = ForwardedRequest(
    method="GET",
    target="/api/sessions/a/status?x=%2F",
    to="http://h2:3001",
    at=1_000.0,
    nonce="n",
    caller=Caller(name="ü", right=Right.READ, workspaces=frozenset({1}), sessions=None),
    start="s1",
    content="0f" * 32,
)
FORM_1 = replace(SAID, start="", content="")


@pytest.mark.parametrize("it", [SAID, FORM_1])
def test_what_was_sealed_is_opened(it: ForwardedRequest) -> None:
    text = sealed(it, KEY)
    assert opened(text, KEY) == it
    assert text.isascii()
    assert not set(text) & set(" \r\n,;")


@pytest.mark.parametrize("place", range(len(MARK), len(sealed(SAID, KEY)), 7))
def test_each_character_counts(place: int) -> None:
    text = sealed(SAID, KEY)
    other = "b" if text[place] == "a" else "a"
    assert opened(f"{text[:place]}{other}{text[place + 1 :]}", KEY) is None


@pytest.mark.parametrize(
    "text",
    ["", MARK, f"{MARK}.", f"{MARK}a", f"{MARK}2.", f"{MARK}2.a", "key", f"{MARK}2.é.é", "é" * 9],
)
def test_what_is_none(text: str) -> None:
    assert opened(text, KEY) is None


def resealed(mark: str, content: bytes) -> str:
    said = base64.urlsafe_b64encode(content).decode()
    return f"{mark}{said}.{forwarded_request._seal(mark, said, KEY)}"


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"method": 7}'])
def test_what_a_later_version_says_is_not_understood(content: bytes) -> None:
    """Its seal is good, for it has the key."""
    assert opened(resealed(f"{MARK}2.", content), KEY) is None
    assert opened(sealed(SAID, KEY), KEY) is not None


def test_one_form_is_not_taken_for_another() -> None:
    assert opened(resealed(f"{MARK}1.", msgspec.json.encode(SAID)), KEY) is None
    assert opened(resealed(f"{MARK}2.", msgspec.json.encode(FORM_1)), KEY) is None
    as_1 = sealed(SAID, KEY).replace(f"{MARK}2.", f"{MARK}1.")
    assert opened(as_1, KEY) is None


def test_content_is_body_and_what_names_it() -> None:
    kinds = [("a", ""), ("", "a"), ("", ""), ("a\n", ""), ("é\udcff", "")]
    contents = {
        digest(body, content_type=kind, idempotency_key=name)
        for body in (b"", b"a", b"a\n")
        for kind, name in kinds
    }
    assert len(contents) == 3 * len(kinds)
    assert digest(bytearray(b"a"), content_type="", idempotency_key="") in contents


def test_a_host_that_was_started_again_says_for_which_start() -> None:
    said = correction(SAID.nonce, "s2", KEY)
    again = corrected(said, SAID, KEY)
    assert again == replace(SAID, start="s2")
    assert corrected(said, replace(SAID, nonce="m"), KEY) is None, "of another request"
    assert corrected(said, SAID, b"another") is None
    for text in ("", ".", "s2", "s2.", said[:-1], f"s3{said[2:]}", "é.é", "\udcff", f".{said}"):
        assert corrected(text, SAID, KEY) is None, text
    form_1 = corrected(said, replace(SAID, start=""), KEY)
    assert form_1 == again, "of form 1 it is of form 2 then"


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
