"""Numbers and LIDs: one person, one message, under whatever ids they appear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.message_ids import (
    MessageKey,
    canonical,
    is_unidentified,
    message_aliases,
    parse,
)
from waguard.core.messages.people import People

ANNA, BEN = "4917000001@c.us", "4917000002@c.us"
OLD, NEW, OTHER = "7000001@lid", "7000002@lid", "7000003@lid"
GROUP = "120363000000000001@g.us"
key = MessageKey


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"true_{ANNA}_3EB0", key(from_me=True, chat=ANNA, stem="3EB0")),
        (f"false_{GROUP}_A_{OLD}", key(from_me=False, chat=GROUP, stem="A", author=OLD)),
        (f"false_{ANNA}_A_B", key(from_me=False, chat=ANNA, stem="A_B")),
        (f"false_{ANNA}_A_\n", key(from_me=False, chat=ANNA, stem="A_\n")),
        ("", None),
        ("odd", None),
        (f"true_{ANNA}", None),
    ],
)
def test_an_id_is_read(text: str, expected: MessageKey | None) -> None:
    assert parse(text) == expected
    assert expected is None or str(expected) == text


def test_the_application_gets_numbers() -> None:
    people = People([(OLD, ANNA)])
    read = [
        (key(from_me=False, chat=OLD, stem="A"), f"false_{ANNA}_A"),
        (key(from_me=False, chat=GROUP, stem="A", author=OLD), f"false_{GROUP}_A_{ANNA}"),
        (key(from_me=False, chat=GROUP, stem="A", author=OTHER), f"false_{GROUP}_A_{OTHER}"),
        (key(from_me=True, chat=GROUP, stem="A", author=OLD), f"true_{GROUP}_A"),
    ]
    for one, expected in read:
        assert str(canonical(one, people)) == expected


def test_a_message_is_the_same_under_each_alias_of_its_chat_and_author() -> None:
    people = People([(OLD, ANNA), (NEW, ANNA)])
    assert set(message_aliases(f"false_{OLD}_A", people)) == {
        f"false_{who}_A" for who in (ANNA, OLD, NEW)
    }
    assert set(message_aliases(f"false_{GROUP}_A_{ANNA}", people)) == {
        f"false_{GROUP}_A_{who}" for who in (ANNA, OLD, NEW)
    }
    assert message_aliases(f"true_{GROUP}_A_{OTHER}", people) == (
        f"true_{GROUP}_A",
        f"true_{GROUP}_A_{OTHER}",
    )
    assert message_aliases("odd", people) == ("odd",)


def test_one_stem_in_two_chats_is_two_messages() -> None:
    people = People([(OLD, ANNA), (OTHER, BEN)])
    anna, ben = (set(message_aliases(f"true_{who}_A", people)) for who in (OLD, OTHER))
    assert not anna & ben
    echoed = set(message_aliases(f"false_{OLD}_A", people))
    assert not anna & echoed


wids = st.sampled_from([ANNA, BEN, OLD, NEW, OTHER, GROUP])


@given(st.lists(st.tuples(wids, wids)), st.booleans(), wids, st.text(min_size=1), wids | st.none())
def test_an_id_is_among_its_aliases_and_all_have_the_same_canonical_one(
    pairs: list[tuple[str, str]],
    from_me: bool,  # noqa: FBT001 - hypothesis names it
    chat: str,
    stem: str,
    author: str | None,
) -> None:
    people = People(pairs)
    text = str(key(from_me=from_me, chat=chat, stem=stem, author=author))
    aliases = message_aliases(text, people)
    assert text in aliases
    parsed = [found for alias in aliases if (found := parse(alias))]
    assert {str(canonical(one, people)) for one in parsed} == {aliases[0]}


def test_only_a_lid_without_a_number_is_nobody_yet() -> None:
    people = People([(OLD, ANNA)])
    assert [who for who in (ANNA, OLD, NEW, GROUP) if is_unidentified(who, people)] == [NEW]
