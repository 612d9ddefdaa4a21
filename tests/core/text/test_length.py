"""How much text a value holds."""

import pytest

from waguard.core.text.length import characters


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("ä🙂", 2),
        ({"a": "xyz", "b": {"c": ["x", ("y", "z")]}}, 6),
        ({"long key": 123_456, "b": None, "c": True}, 0),
        ([], 0),
    ],
)
def test_only_texts_count(value: object, count: int) -> None:
    assert characters(value) == count
