"""What is written as logfmt is read back as it was."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.text import logfmt

KEYS: Final = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
# half a pair of surrogates, too: a page's texts may hold one
TEXTS: Final = st.text(st.characters(codec=None))


@given(st.dictionaries(KEYS, TEXTS, min_size=1))
def test_what_was_written_is_read_and_moves_no_terminal(fields: dict[str, str]) -> None:
    line = logfmt.encode(fields)
    assert line.isprintable()
    assert logfmt.parse(line) == fields


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("https://a.b/c?d#e", "https://a.b/c?d#e"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("a\\b", "a\\b"),
        ("a\\b c", r'"a\\b c"'),
        ("a\nb", r'"a\nb"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\x9b\u202e", r'"\u009b\u202e"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        ("é 👋", '"é 👋"'),
        ("", '""'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.5, "1.5"),
        (["a", "b c"], '"a, b c"'),
        ([], '""'),
    ],
)
def test_how_a_value_is_written(value: object, written: str) -> None:
    assert logfmt.value_of(value) == written


@pytest.mark.parametrize(
    "line",
    [
        *("", "Traceback (most recent call last):", "a", "a=b c", "a=b  c=d", 'a="b', 'a="b"c=d'),
        *('a="\\x"', "=b", "2026-11-26 10:00:00.000 INFO    up"),
    ],
)
def test_what_is_no_logfmt(line: str) -> None:
    assert logfmt.parse(line) is None
