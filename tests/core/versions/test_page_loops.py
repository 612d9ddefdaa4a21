"""A page that loads itself again and again is unhealthy with its version, as one failure, until it stays."""

from typing import Any, Final

import pytest

from tests.core.versions.test_page_facts import LOADED, PAGE, WAJS, WELL, seen
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.versions.facts import (
    Acked,
    Evidence,
    Left,
    Loaded,
    Unhealthy,
    Unreachable,
    VersionFact,
)
from waguard.core.versions.page_facts import Page, Watched, read
from waguard.core.versions.page_loops import FORGOTTEN, MARGIN, PROVES, STAYS

EVERY: Final = 5.0
OLDER: Final = replace(PAGE, worker=2, revision=1022, stored=True)
UNHEALTHY: Final = Unhealthy("s", Evidence.NEVER_READY)


class Session:
    """One that is watched once a second."""

    def __init__(self) -> None:
        self.page, self.watched, self.now = PAGE, Watched(), 100.0
        self.loads: tuple[float, ...] = ()
        self.facts: list[VersionFact] = []

    def lives(self, seconds: float, **fields: Any) -> list[VersionFact]:
        """What is reported meanwhile."""
        self.facts, until = [], self.now + seconds
        while self.now < until:
            self.now += 1.0
            usual: dict[str, Any] = {
                "page": self.page,
                "worker": self.page.worker,
                "loads": self.loads,
            }
            self.watched, facts = read("s", self.watched, seen(**usual | fields), self.now)
            self.facts += facts
        return self.facts

    def loads_itself(self) -> None:
        self.loads = (*self.loads, self.now)
        self.page = replace(self.page, loads=self.page.loads + 1)

    def loops(self, times: int, **fields: Any) -> list[VersionFact]:
        facts = []
        for _ in range(times):
            self.loads_itself()
            facts += self.lives(EVERY, **fields)
        return facts

    def is_loaded_with(self, page: Page) -> None:
        """By a new worker."""
        self.page = page


@pytest.fixture
def it() -> Session:
    session = Session()
    assert session.lives(10.0) == [LOADED, WELL]
    return session


def test_from_its_third_load_on_it_is_unhealthy_once(it: Session) -> None:
    assert it.loops(2) == [LOADED, WELL] * 2
    assert it.loops(20) == [UNHEALTHY]


def test_a_load_that_is_counted_only_after_it_was_seen_counts(it: Session) -> None:
    for _ in range(3):
        it.page = replace(it.page, loads=it.page.loads + 1)
        it.lives(1.0)
        it.loads = (*it.loads, it.now)
        it.lives(EVERY - 1.0)
    assert it.facts == [UNHEALTHY]


def test_what_it_acknowledges_between_two_loads_proves_nothing(it: Session) -> None:
    it.loops(3)
    acks = {"acked_at": it.now + 2.0, "acked_from": it.now + 1.0}
    assert it.loops(1, **acks) == []
    # the page that stays sends, too
    assert it.lives(STAYS * EVERY + MARGIN) == [WELL]
    later = {"acked_at": it.now + 2.0, "acked_from": it.now + 1.0}
    assert it.lives(1.0, **later) == [Acked("s")]


def test_a_page_that_stays_is_well_again(it: Session) -> None:
    it.loops(3)
    assert it.lives(STAYS * EVERY + MARGIN - EVERY - 2.0) == []
    assert it.lives(4.0) == [WELL]
    assert it.loops(2) == [LOADED, WELL] * 2
    assert it.loops(1) == [UNHEALTHY]


def test_with_another_version_it_has_to_stay_for_longer(it: Session) -> None:
    it.loops(3)
    it.is_loaded_with(OLDER)
    loaded = Loaded("s", 1022, WAJS, "store")
    assert it.lives(PROVES * EVERY + MARGIN - 1.0) == [loaded]
    assert it.lives(4.0) == [WELL]


def test_loads_with_the_version_before_are_not_held_against_the_next(it: Session) -> None:
    it.loops(3)
    it.is_loaded_with(OLDER)
    it.lives(EVERY)
    assert UNHEALTHY not in it.loops(2)
    assert it.loops(1) == [UNHEALTHY]


def test_so_it_is_with_another_worker(it: Session) -> None:
    it.loops(3)
    it.loads = ()
    it.is_loaded_with(replace(PAGE, worker=2))
    assert it.lives(EVERY) == [LOADED]
    assert it.loops(2) == [LOADED] * 2, "nor is it well yet"
    assert it.loops(1) == [UNHEALTHY]


def test_who_was_parked_for_it_is_not_well_at_once(it: Session) -> None:
    it.loops(3)
    assert it.lives(60.0, wanted=False) == [Left("s")]
    it.is_loaded_with(replace(PAGE, worker=2))
    it.loads = ()
    assert it.lives(PROVES * EVERY) == [LOADED]


def test_once_a_page_has_stayed_for_long_a_load_is_a_load(it: Session) -> None:
    it.loops(3)
    it.is_loaded_with(OLDER)
    it.lives(FORGOTTEN + 2.0)
    it.is_loaded_with(replace(OLDER, worker=3))
    assert it.lives(1.0) == [Loaded("s", 1022, WAJS, "store"), WELL]


def test_its_link_between_two_loads_is_no_news_but_whatsapp_away_is(it: Session) -> None:
    it.loops(3)
    assert it.loops(1, link=Link.OFFLINE) == []
    assert it.loops(1, unreachable=True) == [Unreachable("s")]
