"""What is done with a profile at a start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.profile.before_start import (
    CARRIED,
    Action,
    CarryOver,
    CredentialsLost,
    CutTornTails,
    Damaged,
    DeadOwner,
    Emptied,
    Found,
    Free,
    Healthy,
    Hold,
    LivingOwner,
    Missing,
    NoRoom,
    OtherHost,
    Quarantine,
    RemoveStaleLock,
    RestoreSnapshot,
    ShowQr,
    Use,
    decide,
    in_words,
    is_severe,
)
from waguard.core.profile.snapshots import Snapshot
from waguard.core.replace import replace

OLD = Snapshot(id="old", taken_at=1.0, pairing="me")
NEW = Snapshot(id="new", taken_at=2.0, pairing="me")
BROKEN = Snapshot(id="broken", taken_at=3.0, pairing="me", intact=False)
OTHERS = Snapshot(id="others", taken_at=4.0, pairing="somebody else")
ALL = (OLD, NEW, BROKEN, OTHERS)
UNREAD = Snapshot(
    id="unread", taken_at=5.0, pairing="me", intact=False, unread="Input/output error"
)
UNKNOWN = replace(UNREAD, pairing="")
DAMAGED = Damaged("MANIFEST is missing")
AWAY = "/s links to /disk, which is not there"


def found(finding: object, **more: object) -> Found:
    return Found(finding=finding, **({"pairing": "me", "snapshots": ALL} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_", "actions"),
    [
        (found(Healthy()), (Use(),)),
        (found(Healthy(("a",))), (CutTornTails(("a",)), Use())),
        (found(Healthy(), owner=LivingOwner(7)), (Hold("Chromium 7 still uses the profile"),)),
        (found(Healthy(), locked=False), (Hold("this process does not hold the profile's lock"),)),
        (
            found(Healthy(), owner=DeadOwner(7)),
            (RemoveStaleLock("its owner 7 no longer runs"), Use()),
        ),
        (
            found(Healthy(), owner=OtherHost("far", 7)),
            (RemoveStaleLock("its owner 7 was on far"), Use()),
        ),
        (found(NoRoom("full")), (Hold("full"),)),
        (found(Missing(), pairing=None, snapshots=()), (ShowQr("there is no profile"),)),
        # nothing is there to be overwritten, so the newest of any pairing will do
        (found(Missing(), pairing=None), (RestoreSnapshot("others"), Use())),
        (found(Missing()), (RestoreSnapshot("new"), Use())),
        # the browser created some files again, but the pairing's token is gone
        (
            found(Emptied(), pairing=None),
            (Quarantine("its folder was removed while it ran"), RestoreSnapshot("others"), Use()),
        ),
        (
            found(Emptied(), pairing=None, snapshots=()),
            (ShowQr("its folder was removed while it ran"),),
        ),
        # what was copied before a logout connects no more
        (
            found(Missing(), pairing=None, logged_out=True),
            (ShowQr("there is no profile"),),
        ),
        (
            found(Emptied(), pairing=None, logged_out=True),
            (ShowQr("its folder was removed while it ran"),),
        ),
        (found(DAMAGED), (Quarantine(DAMAGED.why), RestoreSnapshot("new"), Use())),
        (
            found(DAMAGED, tried=frozenset({"new"})),
            (Quarantine(DAMAGED.why), RestoreSnapshot("old"), Use()),
        ),
        (
            found(DAMAGED, tried=frozenset({"new", "old"})),
            (Quarantine(DAMAGED.why), ShowQr(DAMAGED.why)),
        ),
        # logged out, or never connected: an older account's credentials are not put over it
        (found(DAMAGED, pairing=None), (Quarantine(DAMAGED.why), ShowQr(DAMAGED.why))),
        (
            found(Damaged("it exits at once", whole=True)),
            (Quarantine("it exits at once"), CarryOver(), Use()),
        ),
        (
            found(Damaged("it exits at once", whole=True), tried=frozenset({CARRIED})),
            (Quarantine("it exits at once"), RestoreSnapshot("new"), Use()),
        ),
        (
            found(CredentialsLost("a QR code")),
            (Quarantine("a QR code"), RestoreSnapshot("new"), Use()),
        ),
        (found(CredentialsLost("a QR code"), snapshots=()), (ShowQr("a QR code"),)),
        (
            found(DAMAGED, owner=DeadOwner(7)),
            (
                RemoveStaleLock("its owner 7 no longer runs"),
                Quarantine(DAMAGED.why),
                RestoreSnapshot("new"),
                Use(),
            ),
        ),
    ],
)
def test_what_is_done(given_: Found, actions: tuple[Action, ...]) -> None:
    assert decide(given_) == actions


@pytest.mark.parametrize(
    ("given_", "why"),
    [
        (found(finding, **more), why)
        for finding in (DAMAGED, Missing(), Emptied(), CredentialsLost("a QR code"))
        for more, why in (
            ({"snapshots": (BROKEN, UNREAD)}, "Input/output error"),
            ({"snapshots": (UNKNOWN,)}, "Input/output error"),
            ({"snapshots": (), "snapshots_away": AWAY}, AWAY),
        )
    ],
)
def test_while_a_snapshot_cannot_be_read_nothing_is_done(given_: Found, why: str) -> None:
    """It may be the one that brings the session back."""
    assert decide(given_) == (Hold(why),)
    owned = replace(given_, owner=DeadOwner(7))
    assert decide(owned)[1:] == (Hold(why),)


def test_a_snapshot_that_cannot_be_read_holds_up_nothing_where_it_would_not_be_restored() -> None:
    code = (Quarantine(DAMAGED.why), ShowQr(DAMAGED.why))
    others = replace(OTHERS, intact=False, unread="Input/output error")
    assert decide(found(DAMAGED, snapshots=(others,))) == code
    assert decide(found(DAMAGED, snapshots=(UNREAD,), tried=frozenset({"unread"}))) == code
    for more in ({"snapshots": (UNREAD, UNKNOWN)}, {"snapshots": (), "snapshots_away": AWAY}):
        assert decide(found(DAMAGED, pairing=None, **more)) == code
    readable = (Quarantine(DAMAGED.why), RestoreSnapshot("new"), Use())
    assert decide(found(DAMAGED, snapshots=(*ALL, UNREAD))) == readable
    assert decide(found(Healthy(), snapshots=(), snapshots_away=AWAY)) == (Use(),)


names = st.text("abc", min_size=1, max_size=2)
many_snapshots = st.lists(
    st.builds(
        Snapshot,
        id=st.text("0123456789", min_size=1, max_size=3),
        taken_at=st.floats(0, 10),
        pairing=names,
        intact=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda snapshot: snapshot.id,
).map(tuple)
findings = st.one_of(
    st.builds(Healthy, st.just(()) | st.just(("a",))),
    st.builds(Missing),
    st.builds(Emptied),
    st.builds(NoRoom, st.just("full")),
    st.builds(CredentialsLost, st.just("lost")),
    st.builds(Damaged, st.just("damaged"), st.booleans()),
)
owners = st.one_of(
    st.builds(Free),
    st.builds(DeadOwner, st.just(7)),
    st.builds(LivingOwner, st.just(7)),
    st.builds(OtherHost, st.just("far"), st.just(7)),
)
everything = st.builds(
    Found,
    finding=findings,
    owner=owners,
    locked=st.booleans(),
    pairing=st.none() | names,
    snapshots=many_snapshots,
)


@given(everything)
def test_a_decision_ends_with_one_way_to_go_on(given_: Found) -> None:
    *before, last = decide(given_)
    assert isinstance(last, Use | ShowQr | Hold)
    assert not any(isinstance(action, Use | ShowQr | Hold) for action in before)


@given(everything)
def test_what_may_be_in_use_is_not_touched(given_: Found) -> None:
    actions = decide(given_)
    if isinstance(given_.owner, LivingOwner) or not given_.locked:
        assert len(actions) == 1
        assert isinstance(actions[0], Hold)
    if RemoveStaleLock in map(type, actions):
        assert actions[0] == next(a for a in actions if isinstance(a, RemoveStaleLock))


@given(everything)
def test_nothing_is_put_over_a_profile_that_was_not_quarantined(given_: Found) -> None:
    kinds = [type(action) for action in decide(given_)]
    for kind in (RestoreSnapshot, CarryOver):
        if kind in kinds and not isinstance(given_.finding, Missing):
            assert kinds.index(Quarantine) < kinds.index(kind)


@given(everything)
def test_what_is_restored_is_intact_untried_and_of_this_pairing(given_: Found) -> None:
    known = {snapshot.id: snapshot for snapshot in given_.snapshots}
    for action in decide(given_):
        if isinstance(action, RestoreSnapshot):
            chosen = known[action.id]
            assert chosen.intact
            assert action.id not in given_.tried
            gone = isinstance(given_.finding, Missing | Emptied)
            assert chosen.pairing == given_.pairing or (gone and given_.pairing is None)


@given(everything)
def test_damage_that_stays_ends_with_a_qr_code_after_each_way_was_tried_once(
    given_: Found,
) -> None:
    given_ = replace(given_, owner=Free(), locked=True)
    ways = []
    for _ in range(len(given_.snapshots) + 2):
        actions = decide(given_)
        for action in actions:
            if isinstance(action, RestoreSnapshot | CarryOver):
                way = action.id if isinstance(action, RestoreSnapshot) else CARRIED
                ways.append(way)
                given_ = replace(given_, tried=given_.tried | {way})
    assert len(ways) == len(set(ways))
    if isinstance(given_.finding, Damaged | CredentialsLost | Missing | Emptied):
        assert isinstance(actions[-1], ShowQr)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Use(), None),
        (RemoveStaleLock("its owner 7 no longer runs"), "its owner 7 no longer runs"),
        (CutTornTails(("a", "b")), "a, b"),
        (Quarantine("garbage"), "garbage"),
        (CarryOver(), "carried over"),
        (RestoreSnapshot("s1"), "s1"),
        (ShowQr("no profile"), "no profile"),
        (Hold("disk full"), "disk full"),
    ],
)
def test_each_action_has_its_reason(action: Action, words: str | None) -> None:
    answer = in_words(action)
    assert answer is None if words is None else answer is not None and words in answer


def test_what_any_crash_leaves_is_not_severe() -> None:
    assert not is_severe((RemoveStaleLock("gone"), CutTornTails(("a",)), Use()))
    assert is_severe((Quarantine("garbage"), CarryOver(), Use()))
    assert is_severe((ShowQr("lost"),))
