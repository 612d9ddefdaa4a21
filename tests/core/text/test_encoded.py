"""Values as JSON, which never fails."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from waguard.core.text.encoded import encoded

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": "xyz", "b": [1, None, True]}, {"a": "xyz", "b": [1, None, True]}),
        ({"a": "\ud800🙂"}, {"a": "?🙂"}),
        ({"a": "\ud800", "b": (WHEN,)}, {"a": "?", "b": [str(WHEN)]}),
    ],
    ids=["ordinary", "half a pair", "a bug"],
)
def test_a_value_is_encoded_whatever_it_has_in_it(value: object, read: Any) -> None:
    assert json.loads(encoded(value)) == read


def test_a_text_has_its_bytes() -> None:
    assert len(encoded("aä🙂")) == 1 + 2 + 4 + len('""')
