"""Whose an old profile is, and which of several is used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.profile.old_profiles import (
    Credentials,
    Identity,
    Kept,
    Outcome,
    Profile,
    archives,
    at_start,
    best,
    decide,
    identify,
    places,
)
from waguard.core.replace import replace

SPEAKING = "webjs_7_1732233600_ab12cd34"


@pytest.mark.parametrize(
    ("path", "session", "workspace"),
    [
        # LocalAuth with the data path of the service that waguard replaces
        ("workspace_7/session-abc", "abc", 7),
        ("7/abc/session-abc", "abc", 7),
        ("workspace_7/abc/session-abc", "abc", 7),
        ("7/session-abc/session-abc", "abc", 7),
        ("7/abc", "abc", 7),
        ("7/session-7", "7", 7),
        ("7/8/session-8", "8", 7),
        ("workspace_7/abc", "abc", 7),
        # LocalAuth's own data path, with and without a clientId
        (".wwebjs_auth/session-abc", "abc", None),
        (f".wwebjs_auth/session-{SPEAKING}", SPEAKING, 7),
        (".wwebjs_auth/session", None, None),
        ("7/abc/session", "abc", 7),
        # RemoteAuth
        (".wwebjs_auth/RemoteAuth-abc", "abc", None),
        ("service/RemoteAuth-abc.zip", "abc", None),
        (f"RemoteAuth-{SPEAKING}.zip", SPEAKING, 7),
        ("7/RemoteAuth-abc.zip", "abc", 7),
        ("RemoteAuth.zip", None, None),
        # somebody kept only the inner folder
        ("7/session-abc/Default", "abc", 7),
        ("Default", None, None),
        # any folder may have such a name
        (".config/chromium", None, None),
        (SPEAKING, SPEAKING, 7),
        # no name of a session that waguard could have
        ("7/session-a b", None, 7),
        ("7/session-", None, 7),
        ("workspace_12345678901/abc", None, None),
        # a number that is a date, and one that the session's id knows better
        ("20241122/session-abc", "abc", None),
        (f"2024/session-{SPEAKING}", SPEAKING, 7),
        (f"workspace_8/session-{SPEAKING}", SPEAKING, 8),
        ("", None, None),
    ],
)
def test_a_path_says_whose_a_profile_is(
    path: str, session: str | None, workspace: int | None
) -> None:
    assert identify(path.split("/")) == Identity(session, workspace)


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


@given(session=NAMES, workspace=st.integers(0, 10**7 - 1), known=st.booleans())
def test_a_start_searches_where_an_import_finds(
    *, session: str, workspace: int, known: bool
) -> None:
    own = f"workspace_{workspace}/session-{session}"
    found = (*places(workspace, session, known=known), *archives(workspace, session))
    assert own not in found
    assert len(set(found)) == len(found)
    for place in places(workspace, session, known=known):
        whose = identify(place.split("/"))
        assert whose.session == session
        assert whose.workspace == workspace or (known and whose.workspace is None)


def test_a_new_session_is_given_nothing_that_may_be_another_customers() -> None:
    assert "session-abc" in places(7, "abc", known=True)
    assert not [place for place in places(7, "abc", known=False) if "7" not in place]


# ---- one of several ----

PAIRED = Profile(path="/paired", credentials=Credentials.PAIRED, used_at=10)
NEWER = replace(PAIRED, path="/newer", used_at=20)
UNPAIRED = Profile(path="/new", credentials=Credentials.UNPAIRED, used_at=30, why="no account")
DAMAGED = Profile(path="/damaged", credentials=Credentials.DAMAGED, used_at=40, why="no CURRENT")
UNKNOWN = Profile(path="/unknown", credentials=Credentials.UNKNOWN, used_at=5, why="EIO")


@pytest.mark.parametrize(
    ("profiles", "chosen"),
    [
        ((), None),
        ((UNPAIRED, PAIRED), PAIRED),
        ((PAIRED, NEWER, UNPAIRED, DAMAGED, UNKNOWN), NEWER),
        ((UNPAIRED, DAMAGED, UNKNOWN), UNKNOWN),
        ((UNPAIRED, replace(DAMAGED, used_at=1)), replace(DAMAGED, used_at=1)),
        ((PAIRED, replace(PAIRED, path="/equal")), PAIRED),
    ],
)
def test_the_newest_paired_one_is_used(
    profiles: tuple[Profile, ...], chosen: Profile | None
) -> None:
    assert best(profiles) == chosen


@pytest.mark.parametrize(
    ("own", "old", "chosen"),
    [
        (None, (PAIRED, UNPAIRED), PAIRED),
        (None, (UNPAIRED,), UNPAIRED),
        (UNPAIRED, (PAIRED,), PAIRED),
        (DAMAGED, (PAIRED,), PAIRED),
        (PAIRED, (NEWER,), NEWER),
        (NEWER, (PAIRED,), None),
        (PAIRED, (replace(PAIRED, path="/equal"),), None),
        # what could not be read is not "not paired"
        (UNKNOWN, (PAIRED,), None),
        # and is worth no move by itself
        (UNPAIRED, (UNKNOWN,), None),
        (UNPAIRED, (replace(UNPAIRED, used_at=99),), None),
    ],
)
def test_only_a_paired_one_takes_the_place_of_another(
    own: Profile | None, old: tuple[Profile, ...], chosen: Profile | None
) -> None:
    assert at_start(own, old) == chosen


def outcomes(*old: Profile, own: Profile | None = None, kept: Kept | None = None) -> list[object]:
    return [(it.profile, it.outcome, it.why) for it in decide(old, own, kept=kept)]


def test_an_import_takes_the_paired_one_and_says_why_the_others_are_left() -> None:
    assert outcomes(PAIRED, NEWER, UNPAIRED) == [
        (PAIRED, Outcome.LEFT, "/newer was used later"),
        (NEWER, Outcome.TAKEN, "it is paired"),
        (UNPAIRED, Outcome.LEFT, "it is not paired: no account"),
    ]
    assert outcomes() == []


@pytest.mark.parametrize(
    ("profile", "outcome", "why"),
    [
        (UNPAIRED, Outcome.LEFT, "it is not paired: no account"),
        (DAMAGED, Outcome.LEFT, "it is damaged: no CURRENT"),
        (UNKNOWN, Outcome.FAILED, "it cannot be checked (EIO), and no paired one was found"),
        (
            replace(PAIRED, in_use="Chromium 12"),
            Outcome.FAILED,
            "Chromium 12 uses it: stop the old service",
        ),
    ],
)
def test_what_an_import_does_with_a_single_one(
    profile: Profile, outcome: Outcome, why: str
) -> None:
    assert outcomes(profile) == [(profile, outcome, why)]


OWN = replace(NEWER, path="/own")
KEPT = Kept(why="waguard has it", used_at=20, remedy="quarantine it")


@pytest.mark.parametrize(
    ("own", "kept", "why"),
    [
        (OWN, None, "a paired profile is in its place, /own"),
        # a copy may have its times in whole seconds
        (replace(OWN, used_at=19), None, "a paired profile is in its place, /own"),
        (UNKNOWN, None, "the profile in its place, /unknown, cannot be read: EIO"),
        (None, KEPT, "waguard has it"),
        (UNPAIRED, KEPT, "waguard has it"),
    ],
)
def test_an_import_overwrites_nothing_that_may_be_paired(
    own: Profile | None, kept: Kept | None, why: str
) -> None:
    assert outcomes(NEWER, own=own, kept=kept) == [(NEWER, Outcome.LEFT, why)]


def test_an_import_takes_one_that_was_used_after_it_was_copied() -> None:
    own = replace(OWN, used_at=10)
    assert outcomes(NEWER, own=own) == [
        (NEWER, Outcome.TAKEN, "it was used later than /own, which waguard never connected")
    ]


def test_one_that_was_used_after_waguard_connected_its_own_is_left_to_a_person() -> None:
    kept = replace(KEPT, used_at=10)
    why = (
        "it was used until 1970-01-01T00:00:20Z, waguard's until 1970-01-01T00:00:10Z, and waguard has it: only if"
        " the old service ran after that (the times of a copy made without -a say nothing), quarantine it"
    )
    for own in (replace(OWN, used_at=10), UNPAIRED, None):
        assert outcomes(NEWER, own=own, kept=kept) == [(NEWER, Outcome.FAILED, why)]
    unpaired = replace(UNPAIRED, path="/old")
    assert outcomes(unpaired, kept=kept) == [(unpaired, Outcome.LEFT, "waguard has it")]


@pytest.mark.parametrize("own", [None, UNPAIRED, DAMAGED])
def test_an_import_takes_the_place_of_what_connects_nobody(own: Profile | None) -> None:
    assert outcomes(NEWER, own=own) == [(NEWER, Outcome.TAKEN, "it is paired")]
