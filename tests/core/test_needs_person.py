"""Which conditions a person must act on: every type and reason that exists has decided it."""

from collections.abc import Iterable

import pytest

from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.host.admission import Cause
from waguard.core.link import Link
from waguard.core.needs_person import NEEDS_PERSON, needs_person
from waguard.core.page_care import Kind
from waguard.core.reconcile import Kind as FindingKind
from waguard.core.row_status import ParkCause

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


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("parked", set(ParkCause)),
        ("link", set(Link) - {Link.CONNECTED}),
        ("start", {*Cause, *remedies.FAILED}),
    ],
)
def test_every_reason_has_decided(kind: str, reasons: Iterable[str]) -> None:
    decided = NEEDS_PERSON[kind]
    assert not isinstance(decided, bool)
    assert set(decided) == set(map(str, reasons))


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
        ("link", "offline", False),
        ("database_down", "anything", True),
        ("not_known_yet", "", True),
    ],
)
def test_a_condition_says_it_of_itself(kind: str, reason: str, *, needed: bool) -> None:
    it = Condition(
        type=kind, blame=Blame.HOST, reason=reason, message="", since=0.0, remedy="Do it."
    )
    assert it.needs_person is needed
