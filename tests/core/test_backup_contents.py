"""What may be in a backup, and where it may go."""

from typing import Any, Final

import pytest

from waguard.core.backup_contents import (
    API_KEY,
    DATABASE,
    Manifest,
    Member,
    Place,
    SavedSession,
    limit,
    refusals,
    why_wrong,
)
from waguard.core.replace import replace

SAVED: Final = Manifest(
    waguard="1",
    made_at=1.8e9,
    installation="x",
    database="sqlite",
    revision="0009",
    sessions=(
        SavedSession(session="a", workspace=7, snapshot="1"),
        SavedSession(session="b", workspace=7, why="not paired"),
    ),
    members=(Member(DATABASE, 1, "0f"),),
)
PLACE: Final = Place(sqlite=True, database="sqlite", revision="0009")


@pytest.mark.parametrize(
    "name",
    ["", "manifest", "../x", "state/../api-key", "credentials/1/x", "credentials/x/manifest.json"],
)
def test_a_name_that_no_backup_has(name: str) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        limit(name)


def test_all_but_the_database_is_bounded() -> None:
    assert limit(DATABASE) is None
    assert limit(API_KEY) == 1 << 20
    assert limit("credentials/0/credentials.tar.gz") == 512 << 20


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({}, None),
        ({"rows": 0}, None),
        ({"rows": None}, "cannot be read"),
        ({"rows": 2}, "has 2 sessions"),
        ({"sessions": ["a", "b", "c", "d", "e", "f"]}, "a, b, c, d, e, …"),
        ({"quarantine": True}, "quarantine"),
        ({"sqlite": False}, "database.url names"),
        ({"revision": "0008"}, "install waguard 1"),
    ],
)
def test_where_it_may_go(place: dict[str, Any], why: str | None) -> None:
    found = refusals(SAVED, replace(PLACE, **place))
    assert [why in it for it in found] == [True] if why else found == []


def test_a_member_of_another_size_is_another_one() -> None:
    manifest = replace(SAVED, sessions=())
    assert why_wrong(manifest, {DATABASE: Member(DATABASE, 1, "0f")}) is None
    assert why_wrong(manifest, {DATABASE: Member(DATABASE, 2, "0f")})
    assert why_wrong(manifest, {})


@pytest.mark.parametrize("at", [0.0, -1e300, 1e300, 1e10])
def test_a_time_that_no_calendar_knows_is_no_backup(at: float) -> None:
    found = {DATABASE: Member(DATABASE, 1, "0f")}
    assert why_wrong(replace(SAVED, sessions=(), made_at=at), found) == (
        f"it was made at {at}, which is no time"
    )
    taken = SavedSession(session="a", workspace=7, snapshot="1", taken_at=at)
    assert "no time" in str(why_wrong(replace(SAVED, sessions=(taken,)), found))
