"""Whether the network is away: only ever an explanation of sessions that are offline."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from waguard.policy.network import AT_ONCE, Reading, outage, shown

GOOD = Reading(route=True, carrier=True)
NO_ROUTE = Reading(route=False)
NO_CARRIER = Reading(route=True, carrier=False)
READINGS = st.builds(Reading, route=st.none() | st.booleans(), carrier=st.none() | st.booleans())
AGES = st.lists(st.floats(0, 1e6), max_size=10)


def look(
    offline: Sequence[float],
    connected: int = 0,
    *,
    reading: Reading = GOOD,
    before: str | None = None,
) -> str | None:
    return outage(before, reading, offline=offline, connected=connected, threshold=0.5)


def test_a_host_without_a_way_out() -> None:
    assert look([1.0], 9, reading=NO_ROUTE) == "the host has no default route"
    assert look([1.0], 9, reading=NO_CARRIER) == "the host's network interface has no carrier"


def test_many_that_lost_it_at_once() -> None:
    assert look([1.0, 3.0, 9.0], 1) == "3 of 4 sessions lost WhatsApp at once"
    assert look([1.0, 3.0]) == "2 of 2 sessions lost WhatsApp at once"
    assert look([1.0, 3.0], 2) is None  # half is not more than half
    assert look([1.0]) is None  # one alone may be its own fault
    assert look([1.0, 1.5 + AT_ONCE]) is None  # one after the other
    assert look([1.0, 2.0], reading=Reading()) is not None  # whatever can be read


def test_it_lasts_until_no_more_than_a_part_is_offline() -> None:
    why = look([1.0, 1.0, 1.0], 1)
    assert why
    assert look([90.0, 200.0, 90.0], 1, before=why) == "3 of 4 sessions are without WhatsApp"
    assert look([90.0, 90.0], 2, before=why) is None
    assert look([], 4, before=why) is None


def test_a_route_that_is_back_does_not_end_it_before_the_sessions_are() -> None:
    why = look([1.0], reading=NO_ROUTE)
    assert look([60.0], before=why) == "1 of 1 sessions are without WhatsApp"
    assert look([60.0], 3, before=why) is None


def test_links() -> None:
    assert shown([]) is None
    assert shown([None]) is None
    assert shown([False, None]) is False
    assert shown([False, True]) is True


@given(READINGS, st.integers(0, 10), st.none() | st.just("why"))
def test_without_a_lost_socket_there_is_nothing_to_explain(
    reading: Reading, connected: int, before: str | None
) -> None:
    assert look([], connected, reading=reading, before=before) is None


@given(AGES, st.integers(0, 10), READINGS)
def test_one_that_is_there_is_told_on_until_it_ends(
    offline: list[float], connected: int, reading: Reading
) -> None:
    first = look(offline, connected, reading=reading)
    if first:
        assert look(offline, connected, reading=reading, before=first)
