"""Numbers and LIDs: one person, one message, under whatever ids they appear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.identity import (
    NO_FOR,
    YES_FOR,
    MessageKey,
    People,
    canonical,
    is_unidentified,
    message_aliases,
    parse,
)

ANNA, BEN = "4917000001@c.us", "4917000002@c.us"
OLD, NEW, OTHER = "7000001@lid", "7000002@lid", "7000003@lid"
GROUP = "120363000000000001@g.us"
key = MessageKey


def test_a_number_is_known_by_all_its_lids() -> None:
    people = People([(OLD, ANNA), (NEW, ANNA)])
    assert people.aliases(OLD) == people.aliases(ANNA) == (ANNA, NEW, OLD)
    assert people.number(NEW) == ANNA
    assert people.aliases(OTHER) == (OTHER,)
    assert people.aliases(GROUP) == (GROUP,)


def test_who_is_mentioned_is_known_by_the_other_ids() -> None:
    people = People([(OLD, ANNA), (NEW, ANNA), (OTHER, BEN)])
    known = people.others((ANNA, OTHER, "4917000009@c.us"))
    assert known == {ANNA: (NEW, OLD), OTHER: (BEN,)}


def test_the_newest_number_of_a_lid_wins_and_its_history_is_kept() -> None:
    people = People([(OLD, ANNA)])
    assert not people.learn(OLD, ANNA)
    assert people.learn(OLD, BEN)
    assert people.number(OLD) == BEN
    assert people.aliases(ANNA) == (ANNA,)
    assert people.lids(ANNA) == (OLD,)


@pytest.mark.parametrize(("lid", "number"), [(ANNA, BEN), (OLD, NEW), (GROUP, ANNA), (ANNA, OLD)])
def test_only_a_lid_has_a_number(lid: str, number: str) -> None:
    assert not People().learn(lid, number)


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


def test_a_number_is_asked_for_once_and_again_when_that_was_long_ago() -> None:
    people = People([(OLD, ANNA)])
    assert people.exists(ANNA, 0.0) is True  # whoever has a LID has WhatsApp
    assert people.exists(BEN, 0.0) is None
    people.record(BEN, exists=True, at=100.0)
    assert people.exists(BEN, 100.0 + YES_FOR - 1) is True
    assert people.exists(BEN, 100.0 + YES_FOR) is None
    people.record(BEN, exists=False, at=200.0)
    assert people.exists(BEN, 200.0 + NO_FOR - 1) is False
    assert people.exists(BEN, 200.0 + NO_FOR) is None


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
