"""Where a client of the event stream is in the events of each host."""

import pytest

from waguard.core.cluster import event_places
from waguard.core.cluster.event_places import Change, Extent, Past, Place
from waguard.core.cluster.forwarded_request import MOST_OFF

NOW = 1_000.0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("7", {"a": 7}),
        ("a:7,b-1.x_y:9", {"a": 7, "b-1.x_y": 9}),
        ("7:9", {"7": 9}),
        ("b:9,b:7,b:8", {"b": 7}),
    ],
)
def test_an_id_is_read(text: str, numbers: dict[str, int]) -> None:
    assert event_places.read(text, "a") == numbers
    assert event_places.read(event_places.written(numbers), "a") == numbers


def test_an_id_has_its_hosts_in_one_order() -> None:
    assert event_places.written({"b": 2, "a": 1}) == "a:1,b:2"


def test_an_extent_is_read_as_it_was_written() -> None:
    extent = Extent("h-1.b_c", 5, 9)
    assert event_places.extent_read(event_places.extent_written(extent)) == extent
    for text in ("", "h", "h:5", "h:5-", "h:5-9,", "h i:5-9", "h:-5-9"):
        assert event_places.extent_read(text) is None


@pytest.mark.parametrize(
    ("number", "start"),
    [
        (None, 9),  # what comes
        (0, 5),  # all that is known
        (4, 5),
        (5, 5),
        (7, 7),
        (9, 9),
        (10, 5),  # of a life whose clock was ahead
    ],
)
def test_where_a_client_goes_on(number: int | None, start: int) -> None:
    assert event_places.resumed(number, Extent("a", 5, 9)) == start


def test_who_says_nothing_wants_what_comes_of_hosts_that_live_then() -> None:
    assert event_places.begin(None, {"a"}, now=NOW) == {"a": Place(None, since=NOW)}
    assert event_places.newcomer(since=NOW).number == 0


def test_who_says_where_it_was_wants_all_of_a_host_that_it_does_not_name() -> None:
    """It never had an event of that one: it has joined since, or was away as long as the client had listened."""
    places = event_places.begin({"a": 7, "dead": 3}, {"a", "b"}, now=NOW)
    assert places == {"a": Place(7), "b": Place(0), "dead": Place(3)}


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (None, ()),
        (0, ()),
        (5, ()),
        (9, ()),
        (4, (Change.MISSING,)),
        (10, (Change.MISSING,)),
    ],
)
def test_a_client_knows_where_something_may_be_missing(
    number: int | None, changes: tuple[Change, ...]
) -> None:
    assert event_places.reached(Place(number), Extent("a", 5, 9))[1] == changes


def test_away_and_back_are_said_once() -> None:
    place, changes = event_places.lost(Place(7))
    assert changes == (Change.AWAY,)
    place, changes = event_places.lost(place)
    assert changes == ()
    place, changes = event_places.reached(place, Extent("a", 5, 9))
    assert (place, changes) == (Place(7), (Change.BACK,))
    assert event_places.reached(place, Extent("a", 5, 9)) == (Place(7), ())


def test_an_event_is_got_once() -> None:
    place = event_places.got(Place(7), 8)
    assert place == Place(8)
    assert event_places.got(Place(8), 8) is None
    assert event_places.got(Place(8), 7) is None
    assert event_places.got(Place(None), 1) == Place(1)


def test_a_host_that_was_not_reached_at_first_sends_what_has_happened_since() -> None:
    """All that it knows is asked for, and what is of before the client came is left out."""
    place, _ = event_places.lost(Place(None, since=NOW))
    assert place.number == 0
    place, changes = event_places.reached(place, Extent("a", 5, 9))
    assert (place.number, changes) == (5, (Change.BACK,))
    assert event_places.is_earlier(place, 6, NOW - MOST_OFF - 1)
    assert not event_places.is_earlier(place, 6, NOW - MOST_OFF + 1)
    assert not event_places.is_earlier(place, 10, NOW - 3600)  # its clock was set back
    place, _ = event_places.reached(place, Extent("a", 3, 4))  # in another life, the same
    assert not event_places.is_earlier(place, 4, NOW - 3600)


def test_who_said_where_it_was_gets_what_is_old() -> None:
    place, _ = event_places.reached(Place(0), Extent("a", 5, 9))
    assert not event_places.is_earlier(place, 6, 0.0)


def test_the_past_is_whole_when_each_host_has_sent_it_or_is_away() -> None:
    past = Past(frozenset("abcd"), {})
    past = event_places.past(past, "a", 9, Extent("a", 5, 9))  # nothing of it is left
    past = event_places.past(past, "b", 5, Extent("b", 5, 9))
    past = event_places.past(past, "c", None, None)
    assert past.to_come == frozenset("bd")
    past = event_places.past(past, "b", 8, None)
    past = event_places.past(
        past, "b", 8, Extent("b", 5, 20)
    )  # of a new connection: what came since is none of it
    assert "b" in past.to_come
    past = event_places.past(past, "b", 9, None)
    past = event_places.past(past, "x", None, None)
    assert past.to_come == frozenset("d")


def test_a_life_whose_numbers_are_lower_has_a_past_of_its_own() -> None:
    past = event_places.past(Past(frozenset("a"), {}), "a", 50, Extent("a", 50, 90))
    past = event_places.past(past, "a", 5, Extent("a", 5, 9))
    assert past.to_come
    assert not event_places.past(past, "a", 9, None).to_come
