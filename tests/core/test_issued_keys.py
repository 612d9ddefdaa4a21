"""What an issued key may do, who may make it, and when it ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core import issued_keys
from waguard.core.issued_keys import KEPT, IssuedKey, Wanted
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.core.replace import replace as changed

NOW = 1_790_000_000.0
SECRET = "s" * 43
TEXT = f"wg_0a1b2c3d_{SECRET}"
WORKSPACES = {"a": 7, "b": 8}
ROOT = Caller(name="root by the socket", right=Right.ADMIN)
SCOPED = Caller(
    name="ani",
    right=Right.ADMIN,
    workspaces=frozenset({7}),
    sessions=frozenset({"x"}),
    key="ffffffff",
    expires_at=NOW + 100,
)


def key(maker: Caller = ROOT, **wanted: Any) -> IssuedKey:
    asked = Wanted(**{"name": "shop", "right": Right.READ} | wanted)
    return issued_keys.issue(maker, asked, key_id="0a1b2c3d", text=TEXT, now=NOW)


def excess(maker: Caller, **wanted: Any) -> str | None:
    asked = Wanted(**{"name": "shop", "right": Right.READ} | wanted)
    return issued_keys.excess(maker, asked, now=NOW, workspaces=WORKSPACES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, True),
        (f"wg_0a1b2c3d_{'-_aZ9' * 8}abc", True),
        (f"wg_0a1b2c3d_{SECRET}s", False),
        (f"wg_0a1b2c3d_{SECRET[1:]}", False),
        (f"wg_0a1b2c3d_{SECRET}\n", False),
        (f"wg_0A1B2C3D_{SECRET}", False),
        (f"WG_0a1b2c3d_{SECRET}", False),
        (f"wg_0a1b2c3_{SECRET}", False),
        (f" {TEXT}", False),
        ("wg_0a1b2c3d_" + "é" * 43, False),
        ("", False),
    ],
)
def test_the_form_of_a_key(text: str, expected: bool) -> None:  # noqa: FBT001 - of a table
    assert issued_keys.is_key(text) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop", True),
        ("ani@example.org", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("the application", False),
        ("a\n", False),
        (".a", False),
        ("0a1b2c3d", False),
        ("0a1b2c3d4", True),
        (TEXT, False),
        ("wg_x", False),
    ],
)
def test_no_name_is_an_id_a_key_or_somebody_else(name: str, expected: bool) -> None:  # noqa: FBT001 - of a table
    assert issued_keys.is_name(name) is expected


def test_a_key_without_a_scope_sees_all_and_does_not_end() -> None:
    made = key()
    assert made.caller == Caller(name="shop", right=Right.READ, key="0a1b2c3d")
    assert made.caller.sees_all
    assert (made.created_by, made.made_with) == ("root by the socket", None)
    assert SECRET not in repr(made)


def test_a_key_has_the_scope_and_the_end_that_it_was_given() -> None:
    made = key(workspaces=(8, 9), sessions=("a",), lasts=60.0).caller
    assert (made.workspaces, made.sessions) == (frozenset({8, 9}), frozenset({"a"}))
    assert made.expires_at == NOW + 60
    assert [made.sees(*it) for it in (("a", 7), ("b", 8), ("b", 7), ("c", None))] == [
        True,
        True,
        False,
        False,
    ]


def test_without_a_scope_or_an_end_it_has_its_makers() -> None:
    made = key(SCOPED)
    assert (made.workspaces, made.sessions, made.expires_at) == ((7,), ("x",), NOW + 100)
    assert (made.created_by, made.made_with) == ("ani", "ffffffff")
    only_sessions = changed(SCOPED, workspaces=None)
    assert (key(only_sessions).workspaces, key(only_sessions).sessions) == (None, ("x",))


def test_a_scope_of_its_own_takes_nothing_of_its_makers_beside_it() -> None:
    made = key(SCOPED, sessions=("a",))
    assert (made.workspaces, made.sessions) == (None, ("a",))


@pytest.mark.parametrize(
    ("maker", "wanted", "why"),
    [
        (ROOT, {"right": Right.ADMIN, "workspaces": (1,), "lasts": 1e8}, None),
        (SCOPED, {"right": Right.ADMIN}, None),
        (SCOPED, {"workspaces": (7,)}, None),
        (SCOPED, {"sessions": ("a", "x")}, None),
        (SCOPED, {"lasts": 100.0}, None),
        (SCOPED, {"lasts": 100.1}, "a later end"),
        (SCOPED, {"workspaces": (7, 8)}, "workspace 8,"),
        (SCOPED, {"sessions": ("x", "b")}, "session b,"),
        (SCOPED, {"sessions": ("unknown",)}, "session unknown,"),
        (changed(SCOPED, workspaces=None), {"workspaces": (7,)}, "workspace 7,"),
        (changed(SCOPED, sessions=None), {"sessions": ("x",)}, "session x,"),
        (changed(SCOPED, right=Right.OPERATE), {"right": Right.ADMIN}, "the right admin"),
    ],
)
def test_a_key_never_exceeds_its_makers(
    maker: Caller, wanted: dict[str, Any], why: str | None
) -> None:
    found = excess(maker, **wanted)
    assert (found is None) if why is None else (why in (found or ""))


workspaces = st.lists(st.integers(1, 4), min_size=1, max_size=3)
sessions = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3)
makers = st.builds(
    Caller,
    name=st.just("maker"),
    right=st.sampled_from(Right),
    workspaces=st.none() | workspaces.map(frozenset),
    sessions=st.none() | sessions.map(frozenset),
    expires_at=st.none() | st.floats(NOW, NOW + 100),
)
wishes = st.builds(
    Wanted,
    name=st.just("k"),
    right=st.sampled_from(Right),
    workspaces=st.none() | workspaces.map(tuple),
    sessions=st.none() | sessions.map(tuple),
    lasts=st.none() | st.floats(1, 100),
)


@given(makers, wishes)
def test_nothing_is_seen_done_or_outlived_that_the_makers_key_may_not(
    maker: Caller, wanted: Wanted
) -> None:
    known = {"a": 1, "b": 2, "c": 3}
    if issued_keys.excess(maker, wanted, now=NOW, workspaces=known):
        return
    made = issued_keys.issue(maker, wanted, key_id="0a1b2c3d", text=TEXT, now=NOW)
    assert maker.right.includes(made.right)
    assert maker.expires_at is None or (made.expires_at or 1e99) <= maker.expires_at
    every = [*known.items(), *(("d", workspace) for workspace in (1, 2, 3, 4))]
    assert all(maker.sees(*it) for it in every if made.caller.sees(*it))
    assert issued_keys.governs(maker, made, known)


def test_who_has_a_scope_governs_what_is_within_it() -> None:
    governs = issued_keys.governs
    assert governs(ROOT, key(), {})
    assert not governs(SCOPED, key(), WORKSPACES)
    assert governs(SCOPED, key(workspaces=(7,), sessions=("a", "x")), WORKSPACES)
    assert not governs(SCOPED, key(workspaces=(7, 8)), WORKSPACES)
    assert not governs(SCOPED, key(sessions=("b",)), WORKSPACES)
    assert not governs(SCOPED, key(sessions=("unknown",)), WORKSPACES)


def test_what_is_left_is_the_less_of_both_clocks() -> None:
    made = key(lasts=60.0)
    assert issued_keys.left(key(), now=NOW, by_monotonic=0.0) is None
    assert issued_keys.left(made, now=NOW + 50, by_monotonic=30.0) == 10
    assert issued_keys.left(made, now=NOW - 9_000, by_monotonic=30.0) == 30


def test_a_clock_that_is_set_back_moves_the_end_with_it() -> None:
    made = key(lasts=60.0)
    assert issued_keys.corrected(made, now=NOW + 10, left=50.0) is made
    assert issued_keys.corrected(made, now=NOW + 9.5, left=50.0) is made, "clocks drift"
    assert issued_keys.corrected(made, now=NOW - 990, left=50.0).expires_at == NOW - 940
    assert issued_keys.corrected(key(), now=0.0, left=0.0).expires_at is None


def test_what_has_ended_stays_so_whatever_the_file_says() -> None:
    valid = key()
    ended = replace(valid, ended_at=NOW, ended_by="root", used_at=NOW - 5)
    assert issued_keys.merged({}, [valid]) == {valid.id: valid}
    assert issued_keys.merged({valid.id: ended}, [valid]) == {valid.id: ended}
    used = replace(valid, used_at=NOW)
    assert issued_keys.merged({valid.id: ended}, [used])[valid.id].used_at == NOW
    assert issued_keys.merged({valid.id: valid}, []) == {}, "it was taken out by hand"


def test_what_a_file_has_beside_what_all_hosts_know() -> None:
    """It may be older than that, and have another key by the same id."""
    valid = key()
    ended = replace(valid, ended_at=NOW, ended_by="ani")
    assert issued_keys.completed({valid.id: valid}, []) == {valid.id: valid}
    assert issued_keys.completed({}, [valid]) == {valid.id: valid}
    assert issued_keys.completed({valid.id: ended}, [valid]) == {valid.id: ended}
    assert issued_keys.completed({valid.id: valid}, [ended]) == {valid.id: ended}
    renamed = replace(valid, id="0badc0de")
    assert issued_keys.completed({renamed.id: renamed}, [valid]) == {renamed.id: renamed}
    other = replace(valid, sha256="0" * 64)
    assert issued_keys.completed({other.id: other}, [valid]) == {other.id: other}


def test_what_ended_long_ago_is_forgotten() -> None:
    old, fresh = (replace(key(), ended_at=at) for at in (NOW - KEPT, NOW - KEPT + 1))
    assert issued_keys.worth_keeping([old, fresh, key()], now=NOW) == (fresh, key())
    many = [replace(key(), ended_at=NOW - number) for number in range(issued_keys.MOST + 2)]
    assert issued_keys.worth_keeping([*many, key()], now=NOW) == (*many[:-2], key())


def test_keys_of_pages_crowd_out_no_others() -> None:
    pages = [
        replace(key(for_page=True), ended_at=NOW - number)
        for number in range(issued_keys.PAGES + 1)
    ]
    others = [replace(key(), ended_at=NOW - 99 - number) for number in range(issued_keys.MOST)]
    assert issued_keys.worth_keeping([*pages, *others], now=NOW) == (*pages[:-1], *others)


def test_the_oldest_keys_of_pages_end_before_a_new_one() -> None:
    pages = _pages(ROOT)
    ended = replace(pages[0], id="e" * 8, ended_at=NOW, created_at=NOW - 99)
    assert issued_keys.excess_pages(_by_id(ended, *pages, key()), ROOT) == [pages[-1]]
    assert issued_keys.excess_pages(_by_id(ended, *pages[1:], key()), ROOT) == []


def test_nobody_ends_the_keys_of_pages_of_another_maker() -> None:
    first, other = (replace(key(right=Right.ADMIN), id=it * 8, name=it) for it in "ab")
    second = replace(first, id="c" * 8, made_with=first.id)
    owners = replace(key(for_page=True), created_at=NOW - 999)
    theirs = _pages(first.caller)
    known = _by_id(first, second, other, owners, *theirs)
    assert issued_keys.excess_pages(known, first.caller) == [theirs[-1]]
    assert issued_keys.excess_pages(known, second.caller) == [theirs[-1]], "made by the first one"
    assert issued_keys.excess_pages(known, other.caller) == []
    assert issued_keys.excess_pages(known, ROOT) == []
    circle = replace(first, made_with=second.id)
    assert issued_keys.excess_pages(_by_id(circle, second, *theirs), ROOT) == []


def _pages(maker: Caller) -> list[IssuedKey]:
    """As many keys of pages as a maker may have, the newest first."""
    made = key(maker, for_page=True)
    return [
        replace(made, id=f"{number:08x}", created_at=NOW - number)
        for number in range(issued_keys.PAGES)
    ]


def _by_id(*keys: IssuedKey) -> dict[str, IssuedKey]:
    return {it.id: it for it in keys}


@pytest.mark.parametrize(
    ("maker", "name", "lasts"),
    [
        (ROOT, "page-root-20260921T141320.000", issued_keys.PAGE_LASTS),
        (SCOPED, "page-ani-20260921T141320.000", None),
        (
            Caller(name="user 1000 by the socket", right=Right.ADMIN),
            "page-user-1000-20260921T141320.000",
            issued_keys.PAGE_LASTS,
        ),
    ],
)
def test_the_key_of_a_page(maker: Caller, name: str, lasts: float | None) -> None:
    wanted = issued_keys.for_page(maker, Right.OPERATE, now=NOW)
    assert wanted == Wanted(name=name, right=Right.OPERATE, lasts=lasts, for_page=True)
    assert issued_keys.is_name(wanted.name)
    assert issued_keys.excess(maker, wanted, now=NOW, workspaces={}) is None


def test_twins_are_found() -> None:
    one = key()
    assert not issued_keys.has_twins([one, replace(one, id="ffffffff", sha256="0" * 64)])
    assert issued_keys.has_twins([one, replace(one, id="ffffffff")])
    assert issued_keys.has_twins([one, replace(one, sha256="0" * 64)])
