"""A map that never changes, however its next values are made."""

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.persistent_map import PersistentMap

Change = tuple[int, int | None]
CHANGES = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers()), max_size=6)


def changed(before: PersistentMap[int, int], changes: list[Change]) -> PersistentMap[int, int]:
    builder = before.builder()
    for key, value in changes:
        if value is None:
            builder.pop(key)
        else:
            builder[key] = value
    return builder.finish()


def by_copies(before: dict[int, int], changes: list[Change]) -> dict[int, int]:
    after = dict(before)
    for key, value in changes:
        if value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


@given(st.lists(st.tuples(st.integers(0, 9), CHANGES), max_size=12), st.randoms())
def test_every_value_stays_as_it_was(steps: list[tuple[int, list[Change]]], chance: object) -> None:
    """Also one from which several were made, and in their order."""
    maps, copies = [PersistentMap[int, int]()], [dict[int, int]()]
    for place, changes in steps:
        base = place % len(maps)
        maps.append(changed(maps[base], changes))
        copies.append(by_copies(copies[base], changes))
    order = list(range(len(maps)))
    chance.shuffle(order)  # type: ignore[attr-defined] # a Random
    for number in order:
        assert list(maps[number].items()) == list(copies[number].items())
        assert maps[number] == copies[number]
        assert len(maps[number]) == len(copies[number])


def test_what_was_not_changed_is_the_same_value() -> None:
    first = changed(PersistentMap(), [(1, 1)])
    builder = first.builder()
    builder.pop(7)
    assert builder.finish() is first


def test_a_draft_that_was_given_up_changes_nothing() -> None:
    first = changed(PersistentMap(), [(1, 1), (2, 2)])
    builder = first.builder()
    builder[1] = 5
    del builder[2]
    builder[3] = 3
    assert list(first.items()) == [(1, 1), (2, 2)]
    assert list(changed(first, [(4, 4)]).items()) == [(1, 1), (2, 2), (4, 4)]


def test_whoever_reads_on_has_what_was_there() -> None:
    first = changed(PersistentMap(), [(n, n) for n in range(4)])
    reading = iter(first.items())
    seen = [next(reading)]
    changed(first, [(0, None), (3, None), (9, 9)])
    assert [*seen, *reading] == [(n, n) for n in range(4)]


def test_the_newest_value_keeps_none_of_the_older_ones() -> None:
    """Else a queue would keep all that ever was in it."""
    value = PersistentMap[int, int]()
    for number in range(100):
        value = changed(value, [(number, number), (number - 1, None)])
    assert repr(value) == "PersistentMap({99: 99})"
    assert value._undo == []
    assert value._newer is None
