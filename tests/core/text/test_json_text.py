"""What shows of a JSON text that is not decoded."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.text.json_text import CANDIDATES, DEPTH, VALUES, excess, keys

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inside), default=0) if isinstance(value, dict | list) else 0


@given(VALUE, st.booleans())
def test_what_is_usual_may_be_decoded(value: Any, escaped: bool) -> None:  # noqa: FBT001 - a strategy
    assert (excess(json.dumps(value, ensure_ascii=escaped).encode()) is None) == (
        depth(value) <= DEPTH
    )


@pytest.mark.parametrize("inner", [b"[%s]", b'{"a":%s}', b'["]}",%s]', b'{"[\\"[":%s,"b":{}}'])
@pytest.mark.parametrize("more", [0, 1])
def test_json_that_is_too_deep_is_refused(inner: bytes, more: int) -> None:
    text = b"[]"
    for _ in range(DEPTH + more - 1):
        text = inner % text
    assert depth(json.loads(text)) == DEPTH + more
    assert (excess(text) is None) == (more == 0)


@pytest.mark.parametrize("one", [b"[]", b"{}", b"1", b'""', b'{"a":[1]}'])
def test_json_with_too_many_values_is_refused(one: bytes) -> None:
    few = b"[" + b",".join([one] * 1_000) + b"]"
    many = b"[" + b",".join([one] * (VALUES + 1)) + b"]"
    assert excess(few) is None
    assert excess(many) == ("holds too many values", f"send at most {VALUES}")


def test_what_a_string_holds_is_no_value() -> None:
    text = json.dumps({"message": '[{,"\\' * VALUES, "caption": "[" * VALUES}).encode()
    assert excess(text) is None


def test_more_strings_than_values_are_too_many_values() -> None:
    """Also in a text that is not JSON: the rest of it is not checked."""
    assert excess(b'"",' + b'""' * (2 * VALUES + 1) + b"[" * DEPTH)


HOSTILE = [
    b"[",
    b"[]",
    b"[],",
    b'"',
    b'""',
    b"\\",
    b'\\"',
    b'"\\',
    b"]",
    b"{",
    b'{"":',
    b'"api_key"',
]
HOSTILE += [b'"api_key":"', b'"api_key": ', b'"api_key":"x",', b'"\\u0061pi_key":"', b" ", b"\x00"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_check_costs_as_much_as_its_text_is_long(piece: bytes) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        began = time.process_time()
        excess(text)
        keys(text)
        return time.process_time() - began

    assert seconds(4 << 20) < 2.0


@given(st.text(min_size=1, max_size=200), VALUE, VALUE, st.booleans())
def test_a_key_is_found_before_and_behind_everything(
    key: str,
    before: Any,
    behind: Any,
    escaped: bool,  # noqa: FBT001 - a strategy
) -> None:
    body = {"before": before, "api_key": key, "behind": behind}
    found = keys(json.dumps(body, ensure_ascii=escaped, indent=1).encode(errors="surrogatepass"))
    assert key in found or len(found) == CANDIDATES


@given(st.text(max_size=20))
def test_a_key_is_found_however_it_is_escaped(key: str) -> None:
    def every(text: str) -> str:
        units = text.encode("utf-16-be", errors="surrogatepass")
        return "".join(f"\\u{units[i]:02X}{units[i + 1]:02x}" for i in range(0, len(units), 2))

    text = f'{{"{every("api_key")}" :\t"{every(key)}"}}'.encode()
    assert json.loads(text) == {"api_key": key}
    assert keys(text) == ([key] if key else [])


@pytest.mark.parametrize(
    "body",
    [
        {"message": '"api_key":"secret"'},
        {"message": '\\"api_key\\":\\"secret\\"'},
        {"message": "api_key", "b": "secret"},
        {"xapi_key": "secret"},
        {"api_keyx": "secret"},
        {"api_key": ["secret"]},
        {"api_key": {"a": "secret"}},
        {"api_key\n": "secret"},
    ],
)
def test_what_only_resembles_it(body: Any) -> None:
    assert keys(json.dumps(body).encode()) == []


def test_many_places_are_not_all_checked() -> None:
    text = b"{" + b'"api_key":"x",' * 10_000
    assert keys(text) == ["x"] * CANDIDATES
