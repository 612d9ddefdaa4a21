"""People under their numbers and LIDs, and which numbers have WhatsApp."""

import pytest

from tests.core.messages.test_message_ids import ANNA, BEN, GROUP, NEW, OLD, OTHER
from waguard.core.messages.people import NO_FOR, YES_FOR, People


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
