"""Which request is a repetition, and how long."""

from typing import Any

import pytest

from waguard.core.messages.repetitions import (
    KEY_LASTS,
    REPEATED_FOR,
    Earlier,
    Relation,
    relation,
)


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ({}, Relation.REPETITION),
        ({"fingerprint": "b"}, Relation.KEY_REUSED),
        ({"fingerprint": None}, Relation.KEY_REUSED),
        ({"age": KEY_LASTS}, Relation.REPETITION),
        ({"age": KEY_LASTS + 1}, Relation.NEW),
        ({"age": KEY_LASTS + 1, "fingerprint": "b"}, Relation.NEW),
        ({"age": REPEATED_FOR, "lasts": REPEATED_FOR}, Relation.REPETITION),
        ({"age": REPEATED_FOR + 1, "lasts": REPEATED_FOR}, Relation.NEW),
        ({"age": -1.0}, Relation.REPETITION),
        ({"may_have_happened": False}, Relation.NEW),
        ({"may_have_happened": False, "fingerprint": "b"}, Relation.NEW),
    ],
)
def test_a_request_is_related_to_what_counts(earlier: dict[str, Any], expected: Relation) -> None:
    assert relation("a", Earlier(**{"fingerprint": "a", **earlier})) is expected
