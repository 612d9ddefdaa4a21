"""What is written beside plain texts."""

import random

import pytest

from waguard.core.messages.content import text_of
from waguard.lab.chaos import kinds
from waguard.lab.chaos.kinds import ACTING, COMING, GOING, INLINE_LIMIT, LARGE, coming, going


def chance() -> random.Random:
    return random.Random(1)


@pytest.mark.parametrize("kind", COMING)
def test_each_kind_that_comes_says_what_is_owed(kind: str) -> None:
    one = coming(kind, "in 1.2", chance())
    assert ("in 1.2" in one.text) == (kind not in {"sticker", "voice"})
    assert bool(one.file) == ("media" in one.fields)
    assert one == coming(kind, "in 1.2", chance())  # a seed repeats it
    type_ = (one.fields.get("attributes") or {}).get("type")
    if type_ in {"location", "poll_creation", "order", "multi_vcard"}:  # it has no text of its own
        assert one.text == text_of(type_, one.content)


@pytest.mark.parametrize("kind", GOING)
def test_each_kind_that_goes_names_its_text(kind: str) -> None:
    one = going(kind, "62811", "out 1.2", chance())
    assert "out 1.2" in str(one.fields)
    assert one.at_server["type"]
    assert bool(one.upload) == ("media_sha256" in one.fields)


def test_a_large_file_comes_after_its_message() -> None:
    assert LARGE > INLINE_LIMIT


def test_only_what_is_named_is_drawn() -> None:
    assert {
        kinds.drawn(chance(), table) for table in (COMING, GOING)
    } <= COMING.keys() | GOING.keys()
    assert {kind for several in ACTING for kind in several} == {"reaction", "edit", "revoke"}
