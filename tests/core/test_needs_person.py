"""Which conditions a person must act on: every type and reason that exists has decided it."""

import pytest

from tests.core.made_reasons import made_reasons
from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.needs_person import NEEDS_PERSON, needs_person
from waguard.core.page_care import Kind
from waguard.core.reconcile import Kind as FindingKind

OTHERS = {
    "unlinked",
    "page",
    "supervision_failed",
    "acks_late",
    "sends_throw",
    "deaf",
    "sentinel_failed",
}
"""Types of one session that are in no table of remedies."""


def test_every_type_of_condition_has_decided() -> None:
    by_reason = {"parked", "link", "start"}
    types = {*remedies.FLEET, *map(str, FindingKind), *map(str, Kind), *OTHERS, *by_reason}
    assert types == set(NEEDS_PERSON)
    assert {kind for kind, it in NEEDS_PERSON.items() if not isinstance(it, bool)} == by_reason


MADE = made_reasons()


@pytest.mark.parametrize("kind", ["parked", "link", "start"])
def test_every_reason_that_is_made_has_decided(kind: str) -> None:
    decided = NEEDS_PERSON[kind]
    assert not isinstance(decided, bool)
    assert set(decided) == MADE[kind]


@pytest.mark.parametrize("reason", sorted(MADE["start"]))
def test_who_needs_a_person_to_start_says_what_to_do(reason: str) -> None:
    waits = {str(cause): text for cause, text in remedies.STARTS.items()}
    remedy = (waits | remedies.FAILED).get(reason, remedies.RETRIED)
    assert not (needs_person("start", reason) and remedy.startswith("Nothing to do"))
    assert remedies.FAILED.keys() <= MADE["start"]


@pytest.mark.parametrize("kind", [it for it in NEEDS_PERSON if it in remedies.FLEET])
def test_whose_remedy_is_to_do_nothing_needs_nobody(kind: str) -> None:
    if remedies.FLEET[kind].startswith("Nothing to do"):
        assert not needs_person(kind, kind)


@pytest.mark.parametrize(
    ("kind", "reason", "needed"),
    [
        ("parked", "blocked", True),
        ("parked", "qr_expired", False),
        ("start", "page_not_ready", False),  # retried
        ("start", "memory", True),
        ("start", "not_known_yet", True),
        ("link", "offline", False),
        ("link", "proxy", True),
        ("database_down", "anything", True),
        ("not_known_yet", "", True),
    ],
)
def test_a_condition_says_it_of_itself(kind: str, reason: str, *, needed: bool) -> None:
    it = Condition(
        type=kind, blame=Blame.HOST, reason=reason, message="", since=0.0, remedy="Do it."
    )
    assert it.needs_person is needed
