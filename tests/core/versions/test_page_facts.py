"""What is seen of a session becomes facts about its page: each change once."""

from typing import Any, Final

import pytest

from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.versions.facts import (
    Acked,
    Evidence,
    Heard,
    Left,
    Loaded,
    Refused,
    Spent,
    Unhealthy,
    Unreachable,
    VersionFact,
    Well,
)
from waguard.core.versions.page_facts import Page, Seen, Watched, read

WAJS: Final = "a" * 64
PAGE: Final = Page(worker=1, loads=1, revision=1023, wajs=WAJS, stored=False)
LOADED: Final = Loaded("s", 1023, WAJS, "network")
WELL: Final = Well("s")


def seen(**fields: Any) -> Seen:
    usual: dict[str, Any] = {
        "wanted": True,
        "worker": 1,
        "lives": True,
        "page": PAGE,
        "link": Link.CONNECTED,
    }
    return Seen(**(usual | fields))


class Reader:
    """One session over time."""

    def __init__(self) -> None:
        self.watched, self.now = Watched(), 100.0

    def reads(self, **fields: Any) -> list[VersionFact]:
        self.now += 1.0
        self.watched, facts = read("s", self.watched, seen(**fields), self.now)
        return list(facts)


@pytest.fixture
def it() -> Reader:
    """A session whose page is loaded and well."""
    reader = Reader()
    assert reader.reads() == [LOADED, WELL]
    return reader


def test_nothing_is_said_twice(it: Reader) -> None:
    assert it.reads() == []
    assert it.reads(link=Link.SYNCING) == []


def test_another_load_is_another_page(it: Reader) -> None:
    again = replace(PAGE, loads=2)
    assert it.reads(page=again, link=Link.UNKNOWN) == [LOADED]
    assert it.reads(page=again) == [WELL]
    stored = replace(PAGE, worker=2, revision=1022, stored=True)
    assert it.reads(page=stored, worker=2) == [Loaded("s", 1022, WAJS, "store"), WELL]


def test_what_is_seen_while_the_next_page_loads_is_not_the_last_ones(it: Reader) -> None:
    assert it.reads(page=None, threw_at=102.5) == []
    assert it.reads(page=None, link=Link.NEEDS_UPDATE) == []
    bad = replace(PAGE, loads=2, revision=1024)
    assert it.reads(page=bad, threw_at=102.5)[0] == Loaded("s", 1024, WAJS, "network")
    assert it.reads(page=bad, threw_at=106.5) == [Unhealthy("s", Evidence.SEND_THROWS)]


def test_a_throw_is_evidence_until_a_later_send_is_acknowledged(it: Reader) -> None:
    assert it.reads(threw_at=101.5) == [Unhealthy("s", Evidence.SEND_THROWS)]
    assert it.reads(threw_at=101.5) == []
    acked = {"acked_at": 103.9, "acked_from": 103.5}
    assert it.reads(**acked) == [Acked("s"), WELL]
    assert it.reads(**acked) == []


def test_a_throw_of_the_page_before_says_nothing(it: Reader) -> None:
    again = replace(PAGE, loads=2)
    assert it.reads(page=again, threw_at=101.5) == [LOADED, WELL]
    assert it.reads(page=again, unacked_at=101.5) == []


def test_an_ack_of_what_an_earlier_page_sent_proves_nothing(it: Reader) -> None:
    assert it.reads(acked_at=102.0, acked_from=100.5) == []
    assert it.reads(acked_at=103.0, acked_from=102.5) == [Acked("s")]


def test_what_happens_while_a_page_loads_is_not_the_page_befores(it: Reader) -> None:
    assert it.reads(page=None, threw_at=101.5) == []
    assert it.reads(page=None, link=Link.OFFLINE) == []
    new = replace(PAGE, loads=2, revision=1024)
    loaded = Loaded("s", 1024, WAJS, "network")
    assert it.reads(page=new, threw_at=101.5, link=Link.UNKNOWN) == [loaded]
    ended: dict[str, Any] = {"lives": False, "page": None, "failed": "exports_missing"}
    assert it.reads(page=None, closing=True) == []
    assert it.reads(**ended) == [Unhealthy("s", Evidence.EXPORTS_MISSING)]


def test_a_load_whose_version_nobody_knows_blames_none(it: Reader) -> None:
    assert it.reads(page=None) == []
    ended: dict[str, Any] = {"lives": False, "page": None, "failed": "page_not_ready"}
    assert it.reads(**ended) == [Left("s")]


def test_late_acks_are_evidence(it: Reader) -> None:
    assert it.reads(unacked_at=101.5) == [Unhealthy("s", Evidence.UNACKED)]
    assert it.reads(unacked_at=101.5, acked_at=101.9, acked_from=101.2) == [], "it was before that"
    assert it.reads(acked_at=103.9, acked_from=101.2) == [Acked("s"), WELL]


def test_a_page_that_raises_no_events_is_unhealthy_until_one_comes(it: Reader) -> None:
    assert it.reads(heard_at=100.5) == [], "of the page before"
    assert it.reads(heard_at=102.5) == [Heard("s")]
    assert it.reads(heard_at=102.6) == []
    assert it.reads(deaf_at=104.0, heard_at=102.6) == [Unhealthy("s", Evidence.DEAF)]
    assert it.reads(deaf_at=104.0, heard_at=102.6) == []
    assert it.reads(heard_at=106.5) == [Heard("s"), WELL]


def test_a_version_that_is_too_old_is_refused_once(it: Reader) -> None:
    assert it.reads(link=Link.NEEDS_UPDATE) == [Refused(1023), Unhealthy("s", Evidence.TOO_OLD)]
    assert it.reads(link=Link.NEEDS_UPDATE) == []


@pytest.mark.parametrize("away", [{"unreachable": True}, {"link": Link.OFFLINE}])
def test_what_cannot_be_reached_blames_no_version(it: Reader, away: dict[str, Any]) -> None:
    assert it.reads(**away) == [Unreachable("s")]
    assert it.reads(**away) == []
    assert it.reads() == [WELL]


def test_missing_functions_are_evidence() -> None:
    unhealthy = Unhealthy("s", Evidence.EXPORTS_MISSING)
    assert Reader().reads(missing=("WPP.chat.send",)) == [LOADED, unhealthy]


@pytest.mark.parametrize(
    ("failed", "evidence"),
    [
        ("page_not_ready", Evidence.NEVER_READY),
        ("not_ready", Evidence.NEVER_READY),
        ("link_unknown", Evidence.NEVER_READY),
        ("exports_missing", Evidence.EXPORTS_MISSING),
    ],
)
def test_a_worker_that_ends_for_its_page_leaves_an_unhealthy_session(
    failed: str, evidence: Evidence
) -> None:
    it = Reader()
    assert it.reads(link=Link.UNKNOWN) == [LOADED]
    gone: dict[str, Any] = {"lives": False, "page": None, "failed": failed}
    assert it.reads(**gone) == [Unhealthy("s", evidence)]
    assert it.reads(**gone) == []
    assert it.reads(**gone | {"worker": 2, "lives": True}) == [], "the next one has no page yet"
    assert it.reads(wanted=False, lives=False, page=None) == [Left("s")]


def test_a_worker_that_ends_for_something_else_has_left(it: Reader) -> None:
    gone: dict[str, Any] = {"lives": False, "page": None, "failed": "browser_gone"}
    assert it.reads(**gone) == [Left("s")]
    assert it.reads(**gone | {"failed": "page_not_ready"}) == [], "of a worker that had no page"
    assert it.reads(page=replace(PAGE, worker=2), worker=2) == [LOADED, WELL]


def test_a_session_that_is_stopped_has_left_once(it: Reader) -> None:
    assert it.reads(wanted=False) == [Left("s")]
    assert it.reads(wanted=False) == []
    assert it.reads() == [LOADED, WELL]


def test_a_stored_document_whose_scripts_are_gone_is_spent() -> None:
    page = replace(PAGE, spent=1021)
    assert Reader().reads(page=page) == [Spent(1021), LOADED, WELL]


def test_a_session_without_a_page_says_nothing() -> None:
    it = Reader()
    assert it.reads(page=None) == []
    assert it.reads(page=None, lives=False, failed="page_not_ready") == []
