from hypothesis import given
from hypothesis import strategies as st

from waguard.core.messages.backfill import Chat, Read, anchor, by_alias, due, in_order, to_backfill
from waguard.core.messages.people import People


def test_chats_with_something_new_are_read_from_their_own_time_on() -> None:
    chats: list[Chat] = [
        ("new@c.us", 100),
        ("old@c.us", 49),
        ("known@c.us", 80),
        ("known and old@c.us", 80),
        ("empty@c.us", 0),
        ("unreadable@c.us", None),
        ("status@broadcast", 100),
        (None, 100),
    ]
    since = {"known@c.us": 80, "known and old@c.us": 81}
    assert due(chats, since, 50, ("@broadcast",)) == {
        "new@c.us": 50,
        "known@c.us": 80,
        "unreadable@c.us": 50,
    }


def test_a_chat_is_read_from_its_time_on_under_whatever_id_it_has_now() -> None:
    people = People([("7@lid", "anna@c.us"), ("8@lid", "anna@c.us")])
    since = by_alias({"anna@c.us": 40, "7@lid": 60, "ben@c.us": 50}, people)
    assert since == {"anna@c.us": 60, "7@lid": 60, "8@lid": 60, "ben@c.us": 50}


def test_one_without_a_time_stays_beside_its_neighbour() -> None:
    page = [Read("a", None), Read("b", 30), Read("c", None), Read("d", 20), Read("e", None)]
    assert [(one.id, one.at) for one in in_order(page)] == [
        ("d", 20),
        ("e", 20),
        ("a", 30),
        ("b", 30),
        ("c", 30),
    ]
    assert [one.at for one in in_order([Read("a", None)])] == [None]


def test_a_walk_ends_where_it_reaches_far_enough_or_finds_nothing_new() -> None:
    page = [Read("b", 20), Read("a", 10), Read(None, 5)]
    assert anchor(page, 10, ()) == "a"
    assert anchor(page, 11, ()) is None
    assert anchor(page, 0, {"a"}) == "b"
    assert anchor(page, 0, {"a", "b"}) is None
    assert anchor([], 0, ()) is None
    assert anchor([Read("a", None)], 10, ()) == "a"


def test_what_has_no_time_at_all_may_be_new() -> None:
    page = [Read("a", 9, "old"), Read("b", 10, "new"), Read("c", 12, "newer")]
    assert to_backfill(page[::-1], 10) == ["new", "newer"]
    assert to_backfill([Read("a", None, "unknown")], 10) == ["unknown"]


@given(
    times=st.lists(st.none() | st.integers(1, 50), max_size=30),
    since=st.integers(0, 60),
    size=st.integers(1, 7),
)
def test_a_walk_ends_and_leaves_no_message_in_order_out(
    times: list[int | None], since: int, size: int
) -> None:
    """Where the times of a chat do not go back, all from ``since`` on is found."""
    last, rows = 1, []
    for number, at in enumerate(times):
        last = max(last, at or 1)
        rows.append(Read(str(number), None if at is None else last, number))
    seen: set[str] = set()
    before, found = len(rows), set()
    for _ in range(len(rows) + 1):
        page = rows[max(0, before - size) : before]
        found.update(to_backfill(page, since))
        oldest = anchor(page, since, seen)
        seen.update(one.id for one in page if one.id)
        if oldest is None:
            break
        before = int(oldest)
    else:
        raise AssertionError("it never ended")
    assert {row.raw for row in rows if row.at is not None and row.at >= since} <= found
