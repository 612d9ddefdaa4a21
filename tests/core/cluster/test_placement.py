"""Where sessions are to run."""

import pytest

from waguard.core.cluster.placement import BALANCE, Capacity, HostLoad, emptiest, room, turns


def load(host: str, **other: int | bool) -> HostLoad:
    given: dict[str, int | bool] = {"alive": True, "room": 5, "owned": 0, "drain": False}
    return HostLoad(host=host, **{**given, **other})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        ({}, 6),
        ({"max_sessions": 12}, 2),
        ({"unstarted": 4}, 2),
        ({"owned": 60}, 0),
        ({"free_memory": 100}, 0),
        ({"under_pressure": True}, 0),
    ],
)
def test_room_is_what_sessions_and_memory_leave(
    capacity: dict[str, int | bool], expected: int
) -> None:
    given = {
        "max_sessions": 50,
        "owned": 10,
        "unstarted": 0,
        "free_memory": 7_900,
        "reserve": 1_000,
        "session_memory": 1_000,
        "under_pressure": False,
    }
    assert room(Capacity(**{**given, **capacity})) == expected  # type: ignore[arg-type]


def test_who_has_most_room_is_first_for_each_session() -> None:
    hosts = [load("a", room=3), load("b", room=1), load("c", room=2), load("d", room=0)]
    order = turns(hosts, ["s2", "s0", "s1", "s3"])
    assert [order[it][0] for it in ("s0", "s1", "s2", "s3")] == ["a", "a", "c", "a"]
    assert order["s0"] == ["a", "c", "b"]
    assert turns(hosts[::-1], ["s0", "s1", "s2", "s3"]) == order


def test_more_sessions_than_room_have_turns_all_the_same() -> None:
    order = turns([load("a", room=1)], ["s0", "s1"])
    assert order == {"s0": ["a"], "s1": ["a"]}
    assert turns([], ["s0"]) == {"s0": []}


def test_ten_percent_of_many_sessions_are_more_than_three() -> None:
    assert emptiest("a", [load("a", owned=104), load("b", owned=100)], BALANCE) is None
    assert emptiest("a", [load("a", owned=120), load("b", owned=107)], BALANCE) == "b"
