"""Which quarantined profiles are deleted."""

from hypothesis import given
from hypothesis import strategies as st

from tests.core.profile.test_before_start import names
from waguard.core.profile.quarantine import Copy, expired

copies = st.lists(
    st.builds(
        Copy,
        name=st.text("0123456789", min_size=1, max_size=3),
        session=names,
        at=st.floats(0, 100),
        size=st.integers(0, 50),
        only=st.booleans(),
    ),
    max_size=10,
    unique_by=lambda copy: copy.name,
)


def copy(name: str, at: float, *, size: int = 10, only: bool = False) -> Copy:
    return Copy(name=name, session=name[0], at=at, size=size, only=only)


def test_the_old_go_then_as_many_as_are_too_much() -> None:
    kept = [copy("a1", 10), copy("a2", 20), copy("a3", 30), copy("b1", 40)]
    assert expired(kept, now=100, keep_for=1000, size_limit=40) == []
    assert expired(kept, now=100, keep_for=75, size_limit=40) == kept[:2]
    assert expired(kept, now=100, keep_for=1000, size_limit=25) == kept[:2]
    assert expired(kept, now=100, keep_for=1000, size_limit=0) == kept


def test_the_last_copy_of_a_session_stays_however_old_and_big() -> None:
    kept = [copy("a1", 1, only=True), copy("a2", 2, size=1 << 40, only=True), copy("b1", 3)]
    assert expired(kept, now=1e9, keep_for=1, size_limit=1) == [kept[0], kept[2]]


@given(copies, st.floats(0, 200), st.floats(0, 200), st.integers(0, 200))
def test_retention_never_deletes_the_last_copy_of_a_session(
    kept: list[Copy], now: float, keep_for: float, size_limit: int
) -> None:
    doomed = expired(kept, now=now, keep_for=keep_for, size_limit=size_limit)
    left = [one for one in kept if one not in doomed]
    assert len(set(doomed)) == len(doomed)
    for session in {one.session for one in kept if one.only}:
        newest = max((c for c in kept if c.session == session), key=lambda c: (c.at, c.name))
        assert newest in left or not newest.only
    deletable = [
        one
        for one in left
        if not one.only
        or one
        is not max((c for c in kept if c.session == one.session), key=lambda c: (c.at, c.name))
    ]
    assert sum(one.size for one in left) <= size_limit or not [c for c in deletable if c.size]
    assert all(now - one.at <= keep_for for one in deletable)
    # and no more than needed
    if sum(one.size for one in kept) <= size_limit:
        assert all(now - one.at > keep_for for one in doomed)
